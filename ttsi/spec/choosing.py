"""Some cells of a grid, chosen by the values or labels of its axes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ttsi._common.suggest import did_you_mean
from ttsi.errors import UsageError
from ttsi.spec import Spec
from ttsi.types import JSON


def chosen(specs: Sequence[Spec], cells: Mapping[str, Sequence[JSON]]) -> list[Spec]:
    """Return the specs whose cell has one of the given values on each given axis.

    Raises UsageError for an axis or a value that the grid does not have.
    """
    for axis, values in cells.items():
        found = [_text(spec.cell[axis]) for spec in specs if axis in spec.cell]
        if not found:
            axes = list(specs[0].cell) if specs else []
            what = f'The matrix has no axis "{axis}".'
            raise UsageError(what, cure=did_you_mean(axis, axes, noun="axes"))
        for value in map(_text, values):
            if value not in found:
                what = f'No cell of the matrix has "{value}" on the axis "{axis}".'
                known = list(dict.fromkeys(found))
                raise UsageError(what, cure=did_you_mean(value, known, noun="values"))
    wanted = {axis: set(map(_text, values)) for axis, values in cells.items()}
    return [spec for spec in specs if all(_text(spec.cell[axis]) in wanted[axis] for axis in cells)]


def _text(value: JSON) -> str:
    """Return a label as it is, and any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
