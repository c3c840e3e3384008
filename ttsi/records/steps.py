"""The steps of episodes that have no record yet, so that a stopped run goes on behind them.

The file has a line for each step that was played. It is removed when all episodes have a record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ttsi._common.files import storage
from ttsi.records.journal import STEPS, Lines, forget, parsed
from ttsi.records.lines import played_from_json, played_to_json
from ttsi.types import JSON, Played, Sample


class Steps(Lines):
    """The steps of one seed's episodes; without any there is no file."""

    def __init__(self, folder: Path, name: str = STEPS) -> None:
        super().__init__(folder, name)
        self._held: set[str] = set()

    def append(self, step: Played) -> None:
        """Write a step before returning; if the disk refuses it, the file stays as it was."""
        self._write(played_to_json(step))
        self._held.add(step.id)

    def drop(self, sample: str) -> None:
        """Let the steps of a sample count no more: its record is an error and has their costs."""
        if sample in self._held:
            self._write({"id": sample, "dropped": True})
            self._held.remove(sample)

    def of(self, samples: Iterable[Sample]) -> dict[str, list[Played]]:
        """Return, by id, the steps of those samples that are what they were, of both plays."""
        found: dict[tuple[str, bool], list[Played]] = {}
        for step in parsed(self.path, _parse):
            if isinstance(step, str):
                found = {key: steps for key, steps in found.items() if key[0] != step}
                continue
            steps = found.setdefault((step.id, step.alone), [])
            # What was played anew replaces all that came after it.
            if step.number <= len(steps):
                steps[step.number :] = [step]
        self._held = {name for name, _ in found}
        wanted = {sample.id: sample.digest for sample in samples} if found else {}
        usable: dict[str, list[Played]] = {}
        for (name, _), steps in found.items():
            if all(step.digest == wanted.get(name) for step in steps):
                usable.setdefault(name, []).extend(steps)
        return usable

    def remove(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        forget(self.folder, self.path.name)

    def _write(self, line: JSON) -> None:
        if self._file is None:
            with storage(self.path):
                self._open()
        self._append(json.dumps(line, ensure_ascii=True, allow_nan=False))


def _parse(data: Any) -> Played | str:
    """Return a step, or the id of a sample whose steps before this line count no more."""
    return str(data["id"]) if "dropped" in data else played_from_json(data)
