"""Files of lines that are whole after a crash: the journal and the labelled rows."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from ttsi._common.files import storage
from ttsi.records.journal import Lines, only_writer_of


class Log(Lines):
    """A file to which objects are appended, one a line; a context manager.

    A line is written as a whole, and is on disk within a tenth of a second of the next line, or at
    the end. What a killed process left of its last line is cut off. Raises RunError if another
    process writes the file, StorageError if it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent, path.name)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"ttsi-{path.name}")

    def __enter__(self) -> Self:
        with storage(self.path):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._open()
        assert self._file is not None
        try:
            only_writer_of(self._file, self.path)
            return super().__enter__()
        except BaseException:
            self._file.close()
            raise

    def __exit__(self, *error: Any) -> None:
        self._thread.shutdown()
        super().__exit__(*error)

    async def append(self, row: Any) -> None:
        """Write a line before returning; on failure the file stays as it was."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, row)

    def _write(self, row: Any) -> None:
        self._append(json.dumps(row, ensure_ascii=False, allow_nan=False))
