"""The axes of a grid, as a spec's `matrix` writes them, in either of two ways.

A pointer, and the values it takes:

    "/estimator/threshold": [0.35, 0.95]

Or a name, and labelled variants with all that each sets; {} is the spec as it stands:

    "method": {"base": {"/estimator": "never"}, "tt-si": {}}
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from ttsi._common.pointers import pointer, tokens_of
from ttsi._common.suggest import did_you_mean
from ttsi.errors import Problem
from ttsi.spec.schema import COMPONENTS, NAME, NAME_IN_WORDS
from ttsi.spec.wording import shown, value_in_words

# Other keys do not affect results, so cells that differ only in them are the same run.
_MAY_VARY = (
    *("model", "baseline", "budget", "episodes"),
    *(key for key in COMPONENTS if key != "executor"),
)
_A_POINTER = "a JSON pointer into the spec begins with a slash."
_AN_AXIS = (
    "a matrix key is a JSON pointer and begins with a slash, or names an axis and holds its "
    'variants: {"LABEL": {"/POINTER": VALUE}}.'
)


@dataclass(frozen=True, slots=True)
class Change:
    """A value for one pointer into the spec.

    `key` and `place` are the pointers of the change and of its value in the matrix, for messages.
    """

    target: str
    value: Any
    key: str
    place: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One step of an axis: its value or label, and the changes that it makes."""

    shown: Any
    changes: tuple[Change, ...]

    @property
    def effect(self) -> str:
        """The changes as JSON text, which distinguishes 1 and true."""
        return json.dumps({c.target: c.value for c in self.changes}, sort_keys=True)


Axes: TypeAlias = dict[str, list[Choice]]


def axes_of(matrix: Any) -> tuple[Axes, list[Problem]]:
    """Return axis -> choices, named axes first, then shorter pointers first; and all problems.

    An axis or variant with a problem is left out. The schema checks arrays.
    """
    problems: list[Problem] = []
    axes: Axes = {}
    for axis, values in matrix.items() if isinstance(matrix, dict) else ():
        if axis.startswith("/"):
            choices = _values(axis, values, problems)
        elif isinstance(values, dict):
            choices = _variants(axis, values, problems)
        else:
            problems.append(Problem(pointer("matrix", axis), _AN_AXIS, _with_slash(axis)))
            continue
        if choices:
            axes[axis] = choices
    problems += _set_twice(axes)
    return dict(sorted(axes.items(), key=lambda item: item[0].count("/"))), problems


def unless_set(axes: Axes, fixed: Container[str]) -> Axes:
    """Return the axes without the pointers that `fixed` sets.

    Choices that then have the same effect are merged, and axes without effect are dropped.
    """
    left: Axes = {}
    for axis, choices in axes.items():
        kept: dict[str, Choice] = {}
        for choice in choices:
            changes = tuple(change for change in choice.changes if change.target not in fixed)
            step = replace(choice, changes=changes)
            kept.setdefault(step.effect, step)
        if any(choice.changes for choice in kept.values()):
            left[axis] = list(kept.values())
    return left


def _values(axis: str, values: Any, problems: list[Problem]) -> list[Choice]:
    key = pointer("matrix", axis)
    faults = list(_target_faults(axis, key))
    problems += faults
    if faults or not isinstance(values, list):
        return []
    return [
        Choice(value, (Change(axis, value, key, pointer("matrix", axis, place)),))
        for place, value in enumerate(values)
    ]


def _variants(axis: str, variants: dict[str, Any], problems: list[Problem]) -> list[Choice]:
    problems += _name_faults(axis, pointer("matrix", axis))
    if not variants:
        problems.append(Problem(pointer("matrix", axis), "expected at least 1 variant, got none."))
    choices: dict[str, Choice] = {}
    for name, changes in variants.items():
        place = pointer("matrix", axis, name)
        faults = list(_variant_faults(name, changes, place))
        problems += faults
        if faults:
            continue
        keys = ((target, value, place + pointer(target)) for target, value in changes.items())
        choice = Choice(name, tuple(Change(target, value, key, key) for target, value, key in keys))
        first = choices.setdefault(choice.effect, choice)
        if first is not choice:
            problems.append(Problem(place, f'sets the same as variant "{first.shown}".'))
    return list(choices.values())


def _variant_faults(name: str, changes: Any, place: str) -> Iterator[Problem]:
    yield from _name_faults(name, place)
    if not isinstance(changes, dict):
        got = value_in_words(changes)
        yield Problem(place, f"expected an object of JSON pointers and values, got {got}.")
        return
    for target in changes:
        yield from _target_faults(target, place + pointer(target))


def _name_faults(name: str, place: str) -> Iterator[Problem]:
    if not re.search(NAME, name):
        yield Problem(place, f"expected {NAME_IN_WORDS}, got {shown(name)}.")


def _target_faults(target: str, place: str) -> Iterator[Problem]:
    if not target.startswith("/"):
        yield Problem(place, _A_POINTER, _with_slash(target))
        return
    first = tokens_of(target)[0]
    if first not in _MAY_VARY:
        cure = did_you_mean(first, _MAY_VARY, noun="keys that can")
        yield Problem(place, f'"{first}" cannot vary in a matrix.', cure)


def _with_slash(key: str) -> str:
    return f'Write "/{key.replace(".", "/")}".' if key else ""


def _set_twice(axes: Axes) -> Iterator[Problem]:
    owner: dict[str, str] = {}
    for axis, choices in axes.items():
        for change in (change for choice in choices for change in choice.changes):
            first = owner.setdefault(change.target, axis)
            if first != axis:
                yield Problem(change.key, f'axis "{first}" sets {change.target} too.')
