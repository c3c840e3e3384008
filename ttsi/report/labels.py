"""What several runs are called so that they can be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ttsi.report import text
from ttsi.runs import Run

_MOST = 4


def labels(runs: Sequence[Run]) -> list[str]:
    """What tells each run from the others: its name, and the settings in which they differ."""
    flat = [dict(_flat(run.spec)) for run in runs]
    keys = sorted({key for one in flat for key in one} - {"name", "seeds"})
    differing = [key for key in keys if len({text.setting(one.get(key)) for one in flat}) > 1]
    found = []
    for run, one in zip(runs, flat, strict=True):
        said = [
            f"{_short(key, differing)} {text.setting(one[key])}" for key in differing if key in one
        ]
        names = [] if len({run.name for run in runs}) == 1 and said else [run.name]
        found.append(", ".join([*names, *said[:_MOST]]))
    if len(set(found)) < len(found):
        return [
            f"{label} ({run.folder.resolve().name})" for label, run in zip(found, runs, strict=True)
        ]
    return found


def _flat(document: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in document.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", value))
    return pairs


def _short(key: str, others: Sequence[str]) -> str:
    """The last word of a dotted key where no other ends in it; a component's name by its kind."""
    kind, _, last = key.rpartition(".")
    if last == "name" and kind:
        return kind
    return last if sum(other.rpartition(".")[2] == last for other in others) == 1 else key
