"""Data files with a known digest: found in a folder, in the cache, or downloaded once.

If `TTSI_DATA_DIR` is set, only that folder is searched. Otherwise the cache is used
(`TTSI_CACHE_DIR`, by default the user's cache folder) and filled from the asset's URL. Bytes whose
SHA-256 differs from the recorded one are never used. With `TTSI_OFFLINE=1` nothing is downloaded.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ttsi.digests import file_digest
from ttsi.errors import CorruptAsset, MissingAsset, StorageError

_PART = r"[A-Za-z0-9](?:[\w.-]*\w)?"
_HUB_ID = re.compile(rf"(?!.*(?:--|\.\.)){_PART}/{_PART}", re.ASCII)
_LONGEST_ID = 96
_FILES = (".gguf", ".safetensors", ".git")


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of a data set.

    `name` is its path under a data folder ("hammer/sealtool.json"), `sha256` has 64 hex digits, and
    `license` is the licence under which its owners publish it. An empty `url` means that the file
    cannot be downloaded by itself.
    """

    name: str
    url: str
    sha256: str
    license: str


def github_asset(
    name: str, repository: str, commit: str, path: str, sha256: str, licence: str
) -> Asset:
    """Return an Asset whose bytes are a file of a public GitHub repository at one commit."""
    url = f"https://raw.githubusercontent.com/{repository}/{commit}/{path}"
    return Asset(name, url, sha256, licence)


def offline() -> bool:
    """Whether the environment forbids the network (`TTSI_OFFLINE`)."""
    return os.environ.get("TTSI_OFFLINE", "").lower() not in ("", "0", "false", "no")


def cache_root() -> Path:
    """Return the folder of everything that ttsi keeps between runs, without creating it."""
    own = os.environ.get("TTSI_CACHE_DIR")
    if own:
        return Path(own).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("ttsi"))


def local_copy(asset: Asset) -> Path | None:
    """Return the asset under `TTSI_DATA_DIR` with its digest checked; None if that is not set.

    Raises MissingAsset if the folder is set and lacks the file, CorruptAsset if the bytes differ.
    """
    folder = os.environ.get("TTSI_DATA_DIR")
    if not folder:
        return None
    path = Path(folder).expanduser() / asset.name
    if not path.is_file():
        raise MissingAsset(
            f"The data file {asset.name} is not in the folder that TTSI_DATA_DIR names.",
            where=str(path),
            cure="Put the file there, or unset TTSI_DATA_DIR to have it fetched.",
        )
    _check(asset, path, cure="Restore the file, or unset TTSI_DATA_DIR to have it fetched.")
    return path


def data_file(asset: Asset) -> Path:
    """Return a path to exactly the asset's bytes.

    Raises MissingAsset (the file is not here and cannot be downloaded), CorruptAsset (wrong bytes)
    and StorageError (the cache cannot be written).
    """
    return local_copy(asset) or _cached(asset)


def _cached(asset: Asset) -> Path:
    path = cache_root() / "data" / asset.name
    if path.is_file():
        _check(asset, path, cure="Delete the file and run again online: it is fetched anew.")
        return path
    if offline():
        raise MissingAsset(
            f"The data file {asset.name} is not in the cache and TTSI_OFFLINE forbids fetching it.",
            where=str(path),
            cure="Run once with TTSI_OFFLINE unset, or point TTSI_DATA_DIR at local copies.",
        )
    if not asset.url:
        raise MissingAsset(
            f"The data file {asset.name} cannot be fetched.",
            where=str(path),
            cure="Point TTSI_DATA_DIR at a folder that holds it.",
        )
    _download(asset, path)
    return path


def _download(asset: Asset, path: Path) -> None:
    import pooch
    import requests

    try:
        pooch.retrieve(
            asset.url,
            known_hash=f"sha256:{asset.sha256}",
            fname=path.name,
            path=path.parent,
        )
    except requests.exceptions.RequestException as error:
        if error.response is not None:  # an open response holds its socket until collected
            error.response.close()
        raise MissingAsset(
            f"The data file {asset.name} could not be fetched: {type(error).__name__}.",
            where=asset.url,
            cure="Run again with a network (behind a proxy set HTTPS_PROXY), or point "
            "TTSI_DATA_DIR at local copies.",
        ) from error
    except ValueError as error:  # pooch raises this for a digest that does not match
        raise CorruptAsset(
            f"What was fetched as {asset.name} is not the file that ttsi knows.",
            where=asset.url,
            cure="Run again; if it stays so, point TTSI_DATA_DIR at a good copy.",
        ) from error
    except OSError as error:
        raise StorageError(
            f"The data file {asset.name} could not be written: {error}.",
            where=str(path.parent),
            cure="Free some disk space, or set TTSI_CACHE_DIR to a folder that can be written.",
        ) from error


def _check(asset: Asset, path: Path, *, cure: str) -> None:
    try:
        found = file_digest(path).removeprefix("sha256:")
    except OSError as error:
        raise StorageError(
            f"The data file {asset.name} cannot be read: {error}.", where=str(path), cure=cure
        ) from error
    if found != asset.sha256:
        raise CorruptAsset(
            f"The data file {asset.name} is damaged or of another version: its SHA-256 is "
            f"{found[:12]}…, not {asset.sha256[:12]}….",
            where=str(path),
            cure=cure,
        )


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form ORG/NAME of a model on the Hub and is not a file name.

    The Hub takes no id with two dots or hyphens in a row, with one at an end, or of over 96
    characters.
    """
    whole = _HUB_ID.fullmatch(name) is not None and len(name) <= _LONGEST_ID
    return whole and not name.lower().endswith(_FILES)
