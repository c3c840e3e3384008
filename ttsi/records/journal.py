"""The append-only record of finished samples: crash-safe and resumable.

A record is on disk (fsync) before it counts. A torn last line, the mark of a killed process, is cut
off; a damaged line anywhere else is an error, since something other than a crash has been there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from ttsi._common.files import storage, write_atomically
from ttsi.errors import CorruptAsset, RunError, StorageError
from ttsi.records.lines import from_json, to_line
from ttsi.types import Record, Sample

SAMPLES = "samples.jsonl"
ESTIMATES = "estimates.jsonl"
"""Records without adaptation: what a budget is shared out by, and what calibration looks at."""


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Make `folder`, and let this process alone write in it; raises RunError where another does.

    What a killed writer left half written is removed.
    """
    with storage(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("ab")
    with lock:
        _take(lock, folder)
        with storage(folder):
            for partial in folder.glob(".*.part"):
                partial.unlink(missing_ok=True)
        yield


class Journal:
    """One seed's records, in `name` in its folder, of which this process is the `only_writer`.

    Use as a context manager.
    """

    def __init__(self, folder: Path, name: str = SAMPLES) -> None:
        self.folder = folder
        self.path = folder / name
        self._file: FileIO | None = None

    def __enter__(self) -> Self:
        with storage(self.path):
            self.folder.mkdir(parents=True, exist_ok=True)
            heal(self.path)
            self._open()
        return self

    def _open(self) -> None:
        # Unbuffered: what the disk refused must not linger and be written later.
        self._file = self.path.open("ab", buffering=0)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, record: Record) -> None:
        """On disk when this returns; on failure the file is as it was."""
        if self._file is None:
            raise RunError("The journal is not open.", where=str(self.path))
        size = os.fstat(self._file.fileno()).st_size
        line = (to_line(record) + "\n").encode()
        try:
            with storage(self.path):
                written = 0
                while written < len(line):
                    written += self._file.write(line[written:]) or 0
                os.fsync(self._file.fileno())
        except StorageError:
            os.ftruncate(self._file.fileno(), size)
            raise

    def finished(self, samples: Sequence[Sample]) -> dict[str, Record]:
        """The records that count, by id: the last of each sample, errors left out."""
        wanted = {sample.id: sample.digest for sample in samples}
        kept: dict[str, Record] = {}
        for record in read(self.path):
            if record.id not in wanted:
                continue
            if record.digest != wanted[record.id]:
                raise RunError(
                    f"Sample {record.id} is not what it was when this run began: the benchmark's "
                    "data or its prompt changed.",
                    where=str(self.path),
                    cure="Start anew with `ttsi eval --fresh`, or in another folder with --out "
                    "FOLDER.",
                )
            kept[record.id] = record
        return {name: record for name, record in kept.items() if not record.error}

    def failures(self) -> dict[str, Record]:
        """By id, the samples whose last record is an error: they are tried again, and have cost."""
        last = {record.id: record for record in read(self.path)}
        return {name: record for name, record in last.items() if record.error}

    def compact(self, records: Iterable[Record]) -> None:
        """Rewrite the file with one line a sample, in the order given."""
        lines = "".join(to_line(record) + "\n" for record in records)
        write_atomically(self.path, lines)
        if self._file is not None:
            self._file.close()
        self._open()


def read(path: Path) -> Iterator[Record]:
    """Every record of a journal, in the order written; a torn last line is none."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield from_json(json.loads(line))
            except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
                raise CorruptAsset(
                    f"Line {number} of the journal is damaged ({type(error).__name__}).",
                    where=str(path),
                    cure="Delete that line to run its sample again, or start anew with --fresh.",
                ) from error


def forget(folder: Path, *names: str) -> None:
    """Remove these files of `folder`, those that are there, in this order."""
    with storage(folder):
        for name in names:
            (folder / name).unlink(missing_ok=True)


def heal(path: Path) -> None:
    """Cut off what follows the last newline: a record that was being written at a crash."""
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


def _take(lock: IO[bytes], folder: Path) -> None:
    """One process a folder; the lock goes with the process, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows: two writers at once are the user's care
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise RunError(
            "Another ttsi process is writing this run.",
            where=str(folder),
            cure="Wait for it, or stop it; then run the same command: it resumes.",
        ) from error
