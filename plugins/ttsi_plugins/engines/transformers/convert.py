"""A GGUF file as a folder of safetensors: converted once, cached, checked at every use.

    <cache>/models/<first 16 hex digits of the file's SHA-256>-<dtype>/
        config.json  generation_config.json  model.safetensors  tokenizer.json  ...
        manifest.json    size and SHA-256 of each of them, written last

A folder appears under its name only when whole and on disk: it is made beside it as NAME.tmp, under
the lock NAME.lock, and renamed. What a killed process left is removed by the next one.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ttsi import JSON, CorruptAsset, StorageError, file_digest
from ttsi._common.console import note
from ttsi.assets import cache_root

from . import gguf

_LAYOUT = 1
"""Increased when a conversion writes other bytes; folders of another layout are converted again."""

_MANIFEST = "manifest.json"
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_TOKENIZER_BYTES = 64 * 2**20  # the largest vocabularies take half of it
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def converted(source: Path, digest: str, dtype: str) -> Path:
    """Return the folder of `source`, a GGUF file with file_digest `digest`, in `dtype`.

    Raises CorruptAsset (the file, or the cached folder, is damaged), StorageError (the cache cannot
    be written, or is too small), MissingAsset (a package is not installed).
    """
    models = cache_root() / "models"
    folder = models / f"{digest.removeprefix('sha256:')[:16]}-{dtype}"
    with _storage(models):
        if not _is_current(folder):
            models.mkdir(parents=True, exist_ok=True)
            with _locked(folder):
                if not _is_current(folder):
                    _convert(source, digest, folder, dtype)
        _check(folder)
    return folder


def source_digest(folder: Path) -> str | None:
    """Return the digest of the GGUF file that a folder of `converted` holds; None for any other."""
    if folder.parent != cache_root() / "models":
        return None
    return str(_manifest(folder)["source"]["digest"])


def _is_current(folder: Path) -> bool:
    return folder.exists() and _manifest(folder)["layout"] == _LAYOUT


def _convert(source: Path, digest: str, folder: Path, dtype: str) -> None:
    """Convert `source` into `folder`; the caller holds the lock."""
    partial = folder.with_name(f"{folder.name}.tmp")
    if partial.exists():
        shutil.rmtree(partial)
    reader = gguf.read(source)
    _check_space(source, folder.parent, gguf.parameter_count(reader) * _BYTES[dtype])
    partial.mkdir()
    try:
        with _progress(source, len(reader.tensors)) as advance:
            gguf.write_folder(reader, source, partial, dtype, advance)
            _seal(partial, source=source.name, digest=digest, dtype=dtype)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
        _sync(folder.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _seal(folder: Path, *, source: str, digest: str, dtype: str) -> None:
    """Sync every file to disk, then write the manifest with their sizes and digests."""
    files = {}
    # safetensors makes its files private; they get the read permissions of the folder.
    readable = folder.stat().st_mode & 0o444
    for path in sorted(folder.iterdir()):
        path.chmod(path.stat().st_mode | readable)
        _sync(path)
        files[path.name] = {"size": path.stat().st_size, "digest": file_digest(path)}
    manifest = {
        "layout": _LAYOUT,
        "source": {"name": source, "digest": digest},
        "dtype": dtype,
        "files": files,
    }
    path = folder / _MANIFEST
    path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(folder: Path) -> None:
    """Raise CorruptAsset unless the folder holds exactly the manifest's files, unchanged.

    An extra adapter_config.json, for example, would change what transformers loads.
    """
    files = _manifest(folder)["files"]
    strangers = {path.name for path in folder.iterdir()} - files.keys() - {_MANIFEST}
    if strangers:
        raise _damaged(folder / min(strangers), "does not belong to the converted model")
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise _damaged(path, "is missing from the converted model")
        if path.stat().st_size != expected["size"] or file_digest(path) != expected["digest"]:
            raise _damaged(path, "is not as it was written: its bytes have changed")


def _manifest(folder: Path) -> dict[str, JSON]:
    path = folder / _MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        if manifest.keys() >= {"layout", "files"} and isinstance(manifest["files"], dict):
            return dict(manifest)
    except (FileNotFoundError, ValueError, AttributeError) as error:
        raise _damaged(path, "is missing or unreadable") from error
    raise _damaged(path, "is incomplete")


def _damaged(path: Path, what: str) -> CorruptAsset:
    return CorruptAsset(
        f"The cached file {path.name} {what}.",
        where=str(path),
        cure=f"`rm -r {shlex.quote(str(path.parent))}`, and run again: ttsi converts it anew.",
    )


def _check_space(source: Path, models: Path, weights: int) -> None:
    needed, free = weights + _TOKENIZER_BYTES, shutil.disk_usage(models).free
    if free < needed:
        raise StorageError(
            f"Converting {source.name} needs {_gigabytes(needed)} of disk, and "
            f"{_gigabytes(free)} are free.",
            where=str(models),
            cure="Free that space, or set TTSI_CACHE_DIR to a folder on a larger disk.",
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"


@contextmanager
def _storage(place: Path) -> Iterator[None]:
    """Raise StorageError, with a cure, for disk errors in the block."""
    try:
        yield
    except OSError as error:
        where = str(error.filename or place)
        cure = "Set TTSI_CACHE_DIR to a folder that can be written."
        what = f"The model cache cannot be used: {error.strerror or error}."
        if error.errno in _FULL:
            what = "The disk is full: the converted model does not fit into the cache."
            cure = "Free some space, or set TTSI_CACHE_DIR to a folder on a larger disk."
        raise StorageError(what, where=where, cure=cure) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        note("Another process converts this model; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _progress(source: Path, tensors: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar on a terminal, one line elsewhere, both on stderr."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    title = f"Converting {source.name} (once)"
    if not console.is_terminal:
        note(f"{title} ...")
        yield lambda: None
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(title, total=tensors)
        yield lambda: bar.advance(task)
