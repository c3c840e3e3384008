"""The cells of a grid that a command wants: some of them, or with other estimators."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ttsi._common.suggest import did_you_mean
from ttsi.errors import UsageError
from ttsi.spec import Spec, load_spec, read_spec, resolved
from ttsi.types import JSON


def read_cells(
    source: Path | Mapping[str, JSON] | str,
    overrides: Mapping[str, JSON] | None = None,
    cells: Mapping[str, Sequence[JSON]] | None = None,
    estimators: Sequence[str] = (),
) -> tuple[list[Spec], JSON]:
    """Return the cells of a spec that are wanted, each with each of `estimators`; and as written.

    Cells are chosen as the spec has them; then overrides of the estimator's options are set in
    `estimators`. Raises as `read_spec`, `chosen` and `with_estimators` do.
    """
    changed, options = dict(overrides or {}), {}
    if estimators:
        own = [key for key in changed if key.startswith("estimator.")]
        options = {key.removeprefix("estimator."): changed.pop(key) for key in own}
    every, document = read_spec(source, changed)
    specs = chosen(every, cells or {})
    return with_estimators(specs, estimators, options) if estimators else specs, document


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


def with_estimators(
    specs: Sequence[Spec], names: Sequence[str], options: Mapping[str, JSON]
) -> list[Spec]:
    """Return each spec with each estimator, which has these options, in the place of its own.

    Specs that become the same are returned once. Raises SpecError for what an estimator lacks.
    """
    found: dict[str, Spec] = {}
    for name in names:
        for spec in specs:
            document = {**resolved(spec), "estimator": {"name": name, **options}}
            (made,) = load_spec(document, environment=False)
            found.setdefault(made.digest, replace(made, cell=spec.cell))
    return list(found.values())


def _text(value: JSON) -> str:
    """Return a label as it is, and any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
