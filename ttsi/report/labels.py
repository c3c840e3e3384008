"""Labels that tell several runs apart."""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.pages import text
from ttsi.results.differences import differing, short
from ttsi.results.runs import Run

_MOST = 4


def labels(runs: Sequence[Run]) -> list[str]:
    """Return the runs' names or, where two are the same, labels with the settings that differ.

    Where that does not tell all runs apart, their folders are added.
    """
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return names
    settings = differing([run.spec for run in runs])
    found = []
    for place, name in enumerate(names):
        said = [
            f"{short(key, list(settings))} {text.setting(values[place])}"
            for key, values in settings.items()
            if values[place] is not None
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
