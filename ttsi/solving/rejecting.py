"""Keep what G wrote and did not become an example, so that a record can say why there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ttsi.types import Rejected, Rejections

MOST = 5
"""How many outputs are kept for each task, or step of an episode; the others are counted."""
LONGEST, LONGEST_DETAIL = 1000, 200
"""Characters that are kept of an output, and of what is said of it."""


class Notes:
    """What was rejected since the stage began, by task id."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}
        self._kept: dict[str, list[Rejected]] = {}

    def add(self, task_id: str, rejected: Rejected) -> None:
        self._counts.setdefault(task_id, Counter())[rejected.reason] += 1
        kept = self._kept.setdefault(task_id, [])
        if len(kept) < MOST:
            kept.append(rejected)

    def of(self, task_id: str) -> Rejections:
        counts = self._counts.get(task_id, Counter())
        return Rejections(dict(sorted(counts.items())), tuple(self._kept.get(task_id, ())))


_notes: ContextVar[Notes | None] = ContextVar("notes", default=None)


def reject(task_id: str, reason: str, text: str, detail: str = "") -> None:
    """Report an output of G that is no example for a task, for the task's record.

    `reason` is one of the generator's own few words, by which outputs are counted; `text` is what
    was written, and `detail` says what is wrong with it. Call it in the thread in which `generate`
    was called. Outside a run it does nothing.
    """
    notes = _notes.get()
    if notes is not None:
        notes.add(task_id, Rejected(reason, _cut(text, LONGEST), _cut(detail, LONGEST_DETAIL)))


@contextmanager
def rejecting() -> Iterator[Notes]:
    """Collect what is rejected in this context."""
    notes = Notes()
    before = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(before)


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    return f"{text[:longest]} [... {len(text) - longest:,} characters more]"
