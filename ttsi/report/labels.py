"""What several runs are called so that they can be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ttsi.pages import text
from ttsi.results.runs import Run

_MOST = 4


def labels(runs: Sequence[Run]) -> list[str]:
    """The runs' names; where these are the same, the settings in which the runs differ as well.

    Runs that differ in nothing go by their folders.
    """
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return names
    flat = [dict(_flat(run.spec)) for run in runs]
    differing = _differing(flat)
    found = []
    for name, one in zip(names, flat, strict=True):
        said = [
            f"{_short(key, differing)} {text.setting(one[key])}" for key in differing if key in one
        ]
        first = [] if len(set(names)) == 1 and said else [name]
        found.append(", ".join([*first, *said[:_MOST]]))
    if len(set(found)) == len(found):
        return found
    folders = [run.folder.resolve() for run in runs]
    return [
        f"{label} ({folder.parent.name}/{folder.name})"
        for label, folder in zip(found, folders, strict=True)
    ]


def _differing(flat: Sequence[Mapping[str, Any]]) -> list[str]:
    """The dotted keys whose values differ, components before options.

    The options of a component that is another in each run are no difference worth telling.
    """
    keys = {key for one in flat for key in one} - {"name", "seeds"}
    differing = {key for key in keys if len({text.setting(one.get(key)) for one in flat}) > 1}
    others = {key.removesuffix("name") for key in differing if key.endswith(".name")}
    telling = [
        key
        for key in differing
        if key.endswith(".name") or not any(key.startswith(other) for other in others)
    ]
    return sorted(telling, key=lambda key: (not key.endswith((".name", ".id")), key))


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
    if last in ("name", "id") and kind:
        return kind
    return last if sum(other.rpartition(".")[2] == last for other in others) == 1 else key
