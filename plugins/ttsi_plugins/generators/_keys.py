"""Which key goes to which endpoint: the user configures that, and a spec cannot.

A spec may come from a stranger. It names an endpoint; that endpoint gets the key that the user has
configured for it, or none. Each key has a URL. The first that fits is used:

    TTSI_TEACHER_KEY    with TTSI_TEACHER_URL
    endpoints.json      in ttsi's config folder: {URL: {"key_env": NAME} or {"key": KEY}, ...}
    OPENAI_API_KEY      with OPENAI_BASE_URL, or OpenAI's own URL where that is not set

A key goes only to its URL's scheme, host and port, and to the URL's path and paths under it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ttsi import MissingAsset, UsageError

OPENAI = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"

# Only what all parsers of URLs read alike: no user, query, escape or dot segment.
_PLAIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>(?:/[\w.~:+=,-]*)*)",
    re.ASCII | re.IGNORECASE,
)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """An endpoint's address: scheme and host in lower case, printed without a default port."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def read(cls, url: str) -> Address | None:
        """Return the address of `url`, or None if it is no plain URL."""
        found = _PLAIN.fullmatch(url)
        if found is None:
            return None
        scheme, path = found["scheme"].lower(), found["path"].rstrip("/")
        port = int(found["port"] or _PORTS[scheme])
        if not 0 < port < 65536 or {".", "..", ""} & set(path.split("/")[1:]):
            return None
        return cls(scheme, found["host"].lower(), port, path)

    def __str__(self) -> str:
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.path}"

    def covers(self, other: Address) -> bool:
        """Return whether `other` is at this address or under it."""
        origins = [(each.scheme, each.host, each.port) for each in (self, other)]
        return origins[0] == origins[1] and f"{other.path}/".startswith(f"{self.path}/")


@dataclass(frozen=True, slots=True)
class Key:
    """A secret, and a description of where it comes from.

    `ambient`: it is the key of OpenAI's own client, whose other variables may be sent with it.
    """

    secret: str = field(repr=False)
    source: str
    ambient: bool = False


def key_for(address: Address) -> Key | None:
    """Return the key that the user has configured for this address, or None.

    Raises MissingAsset if the user's configuration cannot be used.
    """
    return _of_environment(address) or _of_file(address) or _of_openai(address)


def how_to_set(address: Address) -> str:
    """Return the cure for a missing key."""
    own = f"TTSI_TEACHER_URL={address} TTSI_TEACHER_KEY=..."
    if str(address) == OPENAI == _openai_url():
        own = f"{OPENAI_KEY}=..."
    return f"export {own}, or name the URL in {config_file()} (docs/teacher.md tells how)."


def _openai_url() -> str:
    return os.environ.get("OPENAI_BASE_URL", "").strip() or OPENAI


def config_file() -> Path:
    import platformdirs

    return Path(platformdirs.user_config_dir("ttsi")) / "endpoints.json"


def _of_environment(address: Address) -> Key | None:
    url, secret = (os.environ.get(f"TTSI_TEACHER_{each}", "").strip() for each in ("URL", "KEY"))
    if secret and not url:
        raise MissingAsset(
            "TTSI_TEACHER_KEY is set and TTSI_TEACHER_URL is not: a key goes with its endpoint.",
            where="the environment",
            cure="export TTSI_TEACHER_URL=https://HOST/v1, or unset TTSI_TEACHER_KEY.",
        )
    if not secret or not _address(url, "TTSI_TEACHER_URL").covers(address):
        return None
    return _key(secret, "the environment variable TTSI_TEACHER_KEY")


def _of_openai(address: Address) -> Key | None:
    secret = os.environ.get(OPENAI_KEY, "").strip()
    if not secret or not _address(_openai_url(), "OPENAI_BASE_URL").covers(address):
        return None
    return replace(_key(secret, f"the environment variable {OPENAI_KEY}"), ambient=True)


def _of_file(address: Address) -> Key | None:
    path = config_file()
    fitting = {
        own: entry
        for url, entry in _entries(path).items()
        if (own := _address(url, str(path))).covers(address)
    }
    if not fitting:
        return None
    own = max(fitting, key=lambda each: len(each.path))
    match fitting[own]:
        case {"key": str(secret), **rest} if not rest:
            return _key(secret.strip(), str(path))
        case {"key_env": str(name), **rest} if not rest:
            secret = os.environ.get(name, "").strip()
            if not secret:
                what = f"The environment variable {name} is not set, which holds the key of {own}."
                raise MissingAsset(what, where=str(path), cure=f"export {name}=...")
            return _key(secret, f"the environment variable {name}")
    raise _faulty(path, f"the entry of {own} has neither a key nor a key_env, or more than one.")


def _entries(path: Path) -> Mapping[str, object]:
    try:
        # Non-blocking, so as not to wait for a writer if the path is a pipe.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise _faulty(path, f"it cannot be read: {error.strerror}.") from error
    try:
        _check_private(path, os.fstat(handle))
        with open(handle, "rb", closefd=False) as file:
            entries = json.loads(file.read())
    except (ValueError, RecursionError):
        entries = None
    finally:
        os.close(handle)
    if not isinstance(entries, dict):
        raise _faulty(path, "it is no JSON object.")
    return entries


def _check_private(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _faulty(path, "it is no file.")
    if os.name == "posix" and (found.st_mode & 0o077 or found.st_uid not in (0, os.getuid())):
        raise MissingAsset(
            "The file of endpoints can be read or written by others than you.",
            where=str(path),
            cure=f"chmod 600 {shlex.quote(str(path))}",
        )


def _faulty(path: Path, why: str) -> MissingAsset:
    cure = 'Write {"https://HOST/v1": {"key_env": "NAME"}}, or "key" and the key itself.'
    return MissingAsset(f"The file of endpoints cannot be used: {why}", where=str(path), cure=cure)


def _address(url: str, where: str) -> Address:
    address = Address.read(url)
    if address is None:
        # The URL is not shown: one that is not plain may hold a password.
        what = "What is configured as a teacher's endpoint is no plain URL."
        raise MissingAsset(what, where=where, cure='Such as "https://HOST/v1".')
    return address


def _key(secret: str, source: str) -> Key:
    if not secret or not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise MissingAsset(
            f"What is in {source} cannot be a key.",
            where="the teacher's key",
            cure="Set it to the key alone: one word of ASCII characters.",
        )
    return Key(secret, source)


def plain_address(url: str, where: str) -> Address:
    """Return the address in a spec. Raises UsageError for what is no plain URL."""
    address = Address.read(url)
    if address is None:
        raise UsageError(
            "The teacher's base_url is not a plain URL: scheme, host, port and path, without "
            "user, query or escapes.",
            where=where,
            cure='Set it to something like "http://127.0.0.1:8000/v1".',
        )
    return address
