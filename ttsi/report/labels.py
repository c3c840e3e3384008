"""Labels that tell several runs apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ttsi.pages import text
from ttsi.results.runs import Run

_MOST = 4


def labels(runs: Sequence[Run]) -> list[str]:
    """Return the runs' names or, where two are the same, labels with the settings that differ.

    Where that does not tell all runs apart, their folders are added.
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
    """Return the dotted keys whose values differ, components before options.

    Options of a component whose name differs are left out: the name tells the runs apart.
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
    """Return a key's last word where it is unique; "kind.name" and "kind.id" become the kind."""
    kind, _, last = key.rpartition(".")
    if last in ("name", "id") and kind:
        return kind
    return last if sum(other.rpartition(".")[2] == last for other in others) == 1 else key
