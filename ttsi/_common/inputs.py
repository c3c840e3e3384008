"""Files that a person names: read as bytes, or refused with a UsageError."""

from __future__ import annotations

import gzip
import os
import shlex
import stat
import zlib
from pathlib import Path

from ttsi.errors import UsageError

_GZIP = b"\x1f\x8b"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_input(path: Path, *, noun: str, cure: str) -> bytes:
    """Return all bytes of a file or pipe.

    `noun` says what the file should be, `cure` what to name instead. Raises UsageError for a
    device, which may never end, for a pipe into which nobody writes, and for a file that cannot be
    read.
    """
    try:
        # Do not wait for a writer: a pipe without one is an error.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            data, fault = _read(handle)
        finally:
            os.close(handle)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"There is no {noun} {shown(path)}.", cure=cure) from None
    except (OSError, ValueError) as error:  # a ValueError: the path holds a NUL
        what = f"The {noun} cannot be read: {reason(error)}."
        raise UsageError(what, where=shown(path), cure=cure) from error
    if fault:
        raise UsageError(f"The {noun} is {fault}.", where=shown(path), cure=cure)
    return data


def _read(handle: int) -> tuple[bytes, str]:
    """Return (all bytes, "") or (nothing, why it cannot be read)."""
    mode = os.fstat(handle).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        return b"", "a folder" if stat.S_ISDIR(mode) else "a device, not a file"
    with open(handle, "rb", buffering=0, closefd=False) as file:
        first = file.read(1)  # None: there is a writer that has written nothing yet
        if first == b"" and stat.S_ISFIFO(mode):
            return b"", "a pipe, and nobody writes into it"
        os.set_blocking(handle, True)
        return (first or b"") + file.readall(), ""


def unpacked(data: bytes, path: Path, *, noun: str) -> bytes:
    """Return `data`, decompressed if gzip has packed it. Raises UsageError if it is damaged."""
    if not data.startswith(_GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        what = f"The {noun} is packed by gzip, and damaged: {reason(error)}."
        cure = f"Pack it again; `gzip -t {quoted(path)}` tells whether it is whole."
        raise UsageError(what, where=shown(path), cure=cure) from error


def to_utf8(data: bytes, path: Path) -> str:
    """Return a command that converts the file to UTF-8 from the encoding that it seems to have."""
    encoding = "utf-16" if data.startswith(_UTF16) else "windows-1252"
    return f"iconv -f {encoding} -t utf-8 {quoted(path)} > utf-8.txt"


def reason(error: BaseException) -> str:
    """Say why a file cannot be used, as the end of a sentence."""
    text = str(getattr(error, "strerror", None) or error).rstrip(".")
    return f"{text[:1].lower()}{text[1:]}"


def quoted(path: Path) -> str:
    """Quote the path for a shell; a leading dash must not read as an option."""
    text = shown(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def shown(path: str | bytes | os.PathLike[str] | int) -> str:
    """Return the path for a message: of bounded length, without terminal control characters."""
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in _text(path))
    return text if len(text) <= 300 else f"{text[:140]}…{text[-140:]}"


def _text(path: str | bytes | os.PathLike[str] | int) -> str:
    return os.fsdecode(path) if isinstance(path, bytes) else str(path)
