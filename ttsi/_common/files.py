"""Files that are written whole or not at all, and disk errors with a cure."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ttsi.errors import StorageError

_PARTIAL = re.compile(r"\.(?P<of>.+\..+)-(?P<process>[0-9]{1,10})\.part")
"""Of `writing`: .FILE.MACHINE-PROCESS.part"""
_DAY = 24 * 60 * 60
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file whose content becomes that of `path` at the end, all of it or nothing.

    It is a file beside `path`, which is fsynced and then renamed, and removed after an error.
    """
    if path.exists() and not path.is_file():
        with _opened(path) as file:
            yield file
        return
    partial = path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}.part")
    with storage(path):
        sweep(path.parent)
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a device or a pipe, which renaming a file over it would destroy."""
    with storage(path):
        # Without O_NONBLOCK, opening a pipe that nobody reads would block forever.
        handle = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
        with open(handle, "wb") as file:
            os.set_blocking(handle, True)
            yield file


def write_atomically(path: Path, text: str) -> None:
    """Write all of `text` or nothing."""
    with writing(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace the file at `path` with `value` as indented JSON; one that has it is left alone.

    So what is finished can be looked at where nothing can be written.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if _has(path, text.encode()):
        sweep(path.parent)
    else:
        write_atomically(path, text)


def _has(path: Path, data: bytes) -> bool:
    try:
        return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def sweep(folder: Path) -> None:
    """Remove the partial files in `folder` of writers that were killed, if that can be done.

    Those of other machines count as left behind when they are a day old.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            found = _PARTIAL.fullmatch(path.name)
            if found is None:
                continue
            here = found["of"].endswith(f".{platform.node()}")
            old = time.time() - path.stat().st_mtime > _DAY
            if _is_dead(int(found["process"])) if here else old:
                path.unlink(missing_ok=True)


def _is_dead(process: int) -> bool:
    if os.name == "nt":  # there os.kill ends the process
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


@contextmanager
def storage(place: Path) -> Iterator[None]:
    """Turn disk errors at `place` into a StorageError with a cure."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            what, cure = (
                "The disk is full.",
                "Free some space and give the same command again: a run resumes.",
            )
        elif error.errno == errno.ENXIO:
            what = "It is a pipe that no process reads."
            cure = "Start its reader first, or name a file."
        else:
            reason = error.strerror or str(error)
            what = f"Cannot write there: {reason[:1].lower()}{reason[1:]}."
            cure = "Choose a place that can be written; of a run, with --out FOLDER."
        raise StorageError(what, where=str(place), cure=cure) from error
