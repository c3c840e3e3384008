"""How large a run's submission is at least, found out before any work on it is done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ttsi.errors import UsageError
from ttsi.leaderboard import safe
from ttsi.leaderboard.publishing import least
from ttsi.leaderboard.submission import CONTENT
from ttsi.records.journal import SAMPLES

_CURE = "Run its spec with a limit, which boards list without a rank, or with fewer examples."


def check_sizes(seeds: Sequence[Path]) -> None:
    """Raise UsageError if a submission of these seeds' folders would be larger than boards take.

    Lines are looked at until they are too many, so that this ends early however long a run is.
    Damaged files are left to whoever reads them.
    """
    total = 0
    for seed in seeds:
        for name in CONTENT:
            path = seed / name
            size = path.stat().st_size if path.is_file() else 0
            if size > safe.largest(name) and name == SAMPLES:
                size = _least(path)
            if size > safe.largest(name):
                what = f"{name} has {size:,} bytes; boards take {safe.largest(name):,}."
                raise UsageError(what, where=str(seed), cure=_CURE)
            total += size
    if total > safe.MAX_TOTAL:
        what = f"The run has {total:,} bytes or more; boards take {safe.MAX_TOTAL:,} of all seeds."
        raise UsageError(what, where=str(seeds[0].parent), cure="Submit fewer seeds.")


def _least(path: Path) -> int:
    """Return the bytes that the samples have at least when published. Raises UsageError."""
    size = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            size += _published(line)
            if size > safe.MAX_LINES:
                what = f"The first {number:,} samples fill {size:,} bytes as they would be "
                what += f"published; boards take {safe.MAX_LINES:,} of a seed."
                raise UsageError(what, where=str(path), cure=_CURE)
    return size


def _published(line: bytes) -> int:
    try:
        row: Mapping[str, Any] = json.loads(line)
        return len(json.dumps(least(row))) + 1
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return 0
