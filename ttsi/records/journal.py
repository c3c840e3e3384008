"""The append-only record of finished samples: crash-safe and resumable.

A record counts once it is written. Files are synced (fsync) at most ten times a second, so that
records which take longer are each on disk before they count: a killed process loses none, and where
the machine itself stops, at most the records since the last fsync are missing.

A torn last line, left by a killed process, is cut off. A damaged line anywhere else is an error,
because a crash cannot have caused it.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

from ttsi._common.collection import long_lived
from ttsi._common.files import storage, write_atomically
from ttsi.errors import CorruptAsset, RunError, StorageError
from ttsi.records.lines import from_json, to_line
from ttsi.types import Record, Sample

SAMPLES = "samples.jsonl"
ESTIMATES = "estimates.jsonl"
"""Records without adaptation, for budgets and calibration."""
STEPS = "steps.jsonl"
STEPS_OF_ESTIMATES = "estimates.steps.jsonl"
"""Steps of episodes that have no record yet (`ttsi.records.steps`)."""
SUMMARY = "results.json"
LOCK = ".lock"
_BESIDE = (
    *("identity.json", "sessions.json", "estimates.sessions.json", "spec.json"),
    *("spec.resolved.json", "manifest.json", SUMMARY, LOCK),
)
"""The files of a seed's folder that say nothing without lines."""

SYNC_EVERY = 0.1
"""Seconds between two fsyncs of a file of lines, at least."""

Parsed = TypeVar("Parsed")


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Make `folder` and lock it for this process; raises RunError if another process holds it.

    Partial files of killed writers are removed. If the context ends with an error and the folder
    has no line, it goes again.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    with storage(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("ab")
    with lock:
        only_writer_of(lock, folder)
        with storage(folder):
            for partial in folder.glob(".*.part"):
                partial.unlink(missing_ok=True)
        try:
            yield
        except BaseException:
            _undo(folder, made)
            raise


def _undo(folder: Path, made: Sequence[Path]) -> None:
    """Remove a run's folder that has no line, and those above it that were `made` for it.

    What is not a run's stays, and so does the folder that it lies in.
    """
    left = [path for path in folder.iterdir() if path.stat().st_size]
    if any(path.suffix == ".jsonl" or path.name not in _BESIDE for path in left):
        return
    shutil.rmtree(folder, ignore_errors=True)
    run = folder.parent
    # A run's summary of seeds that are not there says nothing.
    if {path.name for path in run.iterdir()} == {SUMMARY}:
        (run / SUMMARY).unlink()
        made = [run, *made]
    for above in folder.parents:
        if above not in made or any(above.iterdir()):
            return
        above.rmdir()


class Lines:
    """A file of lines in a folder that this process has locked; a context manager."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.path = folder / name
        self._file: FileIO | None = None
        self._synced = 0.0

    def __enter__(self) -> Self:
        with storage(self.path):
            self.folder.mkdir(parents=True, exist_ok=True)
            heal(self.path)
        if self._file is not None:
            self._safe = _size(self._file)
        return self

    def _open(self) -> None:
        # Unbuffered: data that the disk refused must not be written later.
        self._file = self.path.open("ab", buffering=0)
        self._safe = _size(self._file)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            with self._file:
                self._sync(self._file)

    def _append(self, text: str) -> None:
        """Write a line before returning; if the disk refuses it, the file stays as it was."""
        if self._file is None:
            raise RunError("The journal is not open.", where=str(self.path))
        size = _size(self._file)
        line = (text + "\n").encode()
        try:
            with storage(self.path):
                written = 0
                while written < len(line):
                    written += self._file.write(line[written:]) or 0
        except StorageError:
            os.ftruncate(self._file.fileno(), size)
            raise
        if time.monotonic() - self._synced >= SYNC_EVERY:
            self._sync(self._file)

    def _sync(self, file: FileIO) -> None:
        """Put all lines on disk; what cannot be put there is cut off."""
        try:
            with storage(self.path):
                os.fsync(file.fileno())
        except StorageError:
            os.ftruncate(file.fileno(), self._safe)
            raise
        self._safe, self._synced = _size(file), time.monotonic()


def _size(file: FileIO) -> int:
    """Return the bytes that a file has now."""
    return os.fstat(file.fileno()).st_size


class Journal(Lines):
    """One seed's records."""

    def __init__(self, folder: Path, name: str = SAMPLES) -> None:
        super().__init__(folder, name)

    def __enter__(self) -> Self:
        super().__enter__()
        with storage(self.path):
            self._open()
        return self

    def append(self, record: Record) -> None:
        """Write a record before returning; if the disk refuses it, the file stays as it was."""
        self._append(to_line(record))

    def finished(self, samples: Sequence[Sample], seed: int) -> dict[str, Record]:
        """Return the last record of each sample by id, without errors.

        Raises RunError if a sample has changed since its record was written, and for a record of
        another seed.
        """
        wanted = {sample.id: sample for sample in samples}
        kept: dict[str, Record] = {}
        with long_lived():
            for record in read(self.path):
                if record.id in wanted:
                    self._check(record, wanted[record.id], seed)
                    kept[record.id] = record
        return {name: record for name, record in kept.items() if not record.error}

    def _check(self, record: Record, sample: Sample, seed: int) -> None:
        if record.seed != seed:
            raise RunError(
                f"The record of sample {record.id} is of seed {record.seed}, in the folder of "
                f"seed {seed}: it was made elsewhere.",
                where=str(self.path),
                cure="Delete that line to run its sample again, or start anew with --fresh.",
            )
        if record.digest != sample.digest:
            raise RunError(
                f"Sample {record.id} is not what it was when this run began: the benchmark's "
                "data or its prompt changed.",
                where=str(self.path),
                cure="Start anew with `ttsi eval --fresh`, or in another folder with --out FOLDER.",
            )

    def failures(self) -> dict[str, Record]:
        """Return, by id, the last records that are errors; these samples are tried again."""
        last = {record.id: record for record in read(self.path)}
        return {name: record for name, record in last.items() if record.error}

    def compact(self, records: Iterable[Record]) -> None:
        """Rewrite the file with one line per sample, in the given order."""
        lines = "".join(to_line(record) + "\n" for record in records)
        write_atomically(self.path, lines)
        if self._file is not None:
            self._file.close()
        self._open()


def read(path: Path) -> Iterator[Record]:
    """Yield every record of a journal in the order written, without a torn last line.

    Raises CorruptAsset for a damaged line.
    """
    return parsed(path, from_json)


def parsed(path: Path, parse: Callable[[Any], Parsed]) -> Iterator[Parsed]:
    """Yield the parsed lines of a file, if it exists, without a torn last line.

    Raises CorruptAsset for a damaged line.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        yield from _parsed(file, path, parse)


def read_last(path: Path) -> Iterator[Record]:
    """Yield the last record of each sample, since a failed sample may have been tried again.

    One record at a time is in memory, and all ids. What a run appends meanwhile is left out.
    Raises CorruptAsset for a damaged line, before the first record.
    """
    with path.open("rb") as file:
        last = {record.id: at for at, record in enumerate(_parsed(file, path, from_json))}
        wanted = sorted(last.values())
        file.seek(0)
        records = enumerate(_parsed(file, path, from_json))
        for at in wanted:
            yield next(record for number, record in records if number == at)


def _parsed(file: IO[bytes], path: Path, parse: Callable[[Any], Parsed]) -> Iterator[Parsed]:
    for number, line in enumerate(file, start=1):
        if not line.endswith(b"\n"):
            return
        try:
            yield parse(json.loads(line))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise CorruptAsset(
                f"Line {number} of the journal is damaged ({type(error).__name__}).",
                where=str(path),
                cure="Delete that line to run its sample again, or start anew with --fresh.",
            ) from error


def forget(folder: Path, *names: str) -> None:
    """Remove these files of `folder`, if they exist, in this order."""
    with storage(folder):
        for name in names:
            (folder / name).unlink(missing_ok=True)


def heal(path: Path) -> None:
    """Cut off the text after the last newline: a record that a crash left incomplete."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        position = end
        while position > 0:
            start = max(0, position - 65536)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                position = start + newline + 1
                break
            position = start
        if position < end:
            file.truncate(position)


def only_writer_of(lock: IO[bytes] | FileIO, place: Path) -> None:
    """Lock a file, which stands for `place`, for one process; the lock ends with the process.

    Raises RunError if another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows: not locked, the user has to avoid two writers
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(lock.fileno()), os.stat(lock.name)):
            raise OSError("its last writer has just removed the folder")
    except OSError as error:
        raise RunError(
            "Another ttsi process is writing there.",
            where=str(place),
            cure="Wait for it, or stop it; then run the same command: it resumes.",
        ) from error
