"""The layers of a spec: command line > environment > spec > default, and the matrix among them."""

from __future__ import annotations

import copy
import itertools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ttsi._common.pointers import pointer, tokens_of
from ttsi.errors import Problem
from ttsi.spec.matrix import Choice, axes_of, unless_set
from ttsi.spec.schema import COMPONENTS, DEFAULT_MODEL, DEFAULTS
from ttsi.spec.wording import value_in_words

LIMIT = "/benchmark/limit"
_ENVIRONMENT = {
    "TTSI_MODEL": "/model/id",
    "TTSI_LIMIT": LIMIT,
    "TTSI_SEEDS": "/seeds",
    "TTSI_WAVE": "/executor/wave",
}
_MOST_CELLS = 1000


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that overrides the spec's, and its source."""

    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One document of a grid, and its position: axis -> value or label (empty without a matrix).

    `places` maps the pointer of each value that the matrix sets to the pointer where it is written.
    """

    document: dict[str, Any]
    values: Mapping[str, Any]
    places: Mapping[str, str]


def settings(
    overrides: Mapping[str, Any] | None, *, environment: bool = True
) -> dict[str, Setting]:
    """Return pointer -> setting, shorter pointers first; keys of `overrides` are dotted.

    With `environment` False, environment variables are ignored.
    """
    found = {}
    for variable, place in _ENVIRONMENT.items() if environment else ():
        text = os.environ.get(variable, "").strip()
        if text:
            found[place] = Setting(_from_text(place, text), variable)
    for dotted, value in (overrides or {}).items():
        found[pointer(*dotted.split("."))] = Setting(value, "the command line")
    # A component is replaced before its options are set, whichever layer asks for it.
    return dict(sorted(found.items(), key=lambda item: item[0].count("/")))


def _from_text(place: str, text: str) -> Any:
    if place == "/seeds":
        return [_integer_or_text(part.strip()) for part in text.split(",") if part.strip()]
    return text if place == "/model/id" else _integer_or_text(text)


def _integer_or_text(text: str) -> int | str:
    # Text that is no integer stays, so that the schema reports it with its pointer.
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 19 else text


def cells(document: Any, fixed: Mapping[str, Setting]) -> tuple[list[Cell], list[Problem]]:
    """Return every cell of the grid with the fixed settings applied; one cell without a matrix.

    Axes lose the changes that a fixed setting overrides, and those that have a problem.
    """
    base = {key: value for key, value in document.items() if key != "matrix"}
    axes, problems = axes_of(document.get("matrix"))
    axes = unless_set(axes, fixed)
    count = math.prod(len(choices) for choices in axes.values())
    if count > _MOST_CELLS:
        problems.append(Problem("/matrix", f"makes {count} cells; {_MOST_CELLS} is the most."))
        axes = {axis: choices[:1] for axis, choices in axes.items()}
    made = [
        _cell(base, dict(zip(axes, chosen, strict=True)), fixed, problems)
        for chosen in itertools.product(*axes.values())
    ]
    return made, problems


def _cell(
    base: dict[str, Any],
    chosen: Mapping[str, Choice],
    fixed: Mapping[str, Setting],
    problems: list[Problem],
) -> Cell:
    document = copy.deepcopy(base)
    changes = [change for choice in chosen.values() for change in choice.changes]
    # The shorter pointer first: one axis may replace a component, another then set its option.
    problems += [
        Problem(change.key, "this pointer leads nowhere in the spec.")
        for change in sorted(changes, key=lambda change: change.target.count("/"))
        if not _put(document, tokens_of(change.target), copy.deepcopy(change.value))
    ]
    for place, setting in fixed.items():
        tokens = tokens_of(place)
        if place == "/matrix":
            continue
        if tokens[0] == "matrix" or not _put(document, tokens, copy.deepcopy(setting.value)):
            problems.append(Problem(place, f"{setting.source} cannot set this key of the spec."))
    values = {axis: choice.shown for axis, choice in chosen.items()}
    return Cell(document, values, {change.target: change.place for change in changes})


def _put(document: dict[str, Any], tokens: list[str], value: Any) -> bool:
    """Set the value at a pointer and create the objects on the way; False if that is impossible."""
    if len(tokens) > 1:
        document[tokens[0]] = _opened(tokens[0], document.get(tokens[0]))
    node: Any = document
    for token in tokens[:-1]:
        node = node.setdefault(token, {}) if isinstance(node, dict) else _entry(node, token)
    last = tokens[-1]
    if isinstance(node, dict):
        node[last] = value
        return True
    if isinstance(node, list) and _is_index(node, last):
        node[int(last)] = value
        return True
    return False


def _entry(node: Any, token: str) -> Any:
    return node[int(token)] if isinstance(node, list) and _is_index(node, token) else None


def _is_index(node: list[Any], token: str) -> bool:
    return token.isascii() and token.isdigit() and len(token) < 10 and int(token) < len(node)


def _opened(key: str, value: Any) -> Any:
    """Return the long form of a component or model, so that one of its options can be set."""
    if key == "model":
        value = DEFAULT_MODEL if value is None else value
        return {"id": value} if isinstance(value, str) else value
    if key in COMPONENTS:
        value = DEFAULTS.get(key) if value is None else value
        return {"name": value} if isinstance(value, str) else {} if value is None else value
    return {} if value is None else value


def with_origin(problem: Problem, cell: Cell, fixed: Mapping[str, Setting]) -> Problem:
    """Return the problem of a cell, located where its cause is written: matrix or fixed setting."""
    for place in sorted(fixed, key=len, reverse=True):
        if _within(problem.pointer, place):
            message = f"{problem.message.rstrip('.')} (set by {fixed[place].source})."
            return Problem(problem.pointer, message, problem.cure)
    for target in sorted(cell.places, key=len, reverse=True):
        if _within(problem.pointer, target):
            rest = problem.pointer.removeprefix(target)
            return Problem(cell.places[target] + rest, problem.message, problem.cure)
    return problem


def _within(place: str, outer: str) -> bool:
    return place == outer or place.startswith(outer + "/")


def with_matrix(document: dict[str, Any], fixed: Mapping[str, Setting]) -> dict[str, Any]:
    """Return the document with the matrix that the command line or the environment sets, if any."""
    return {**document, "matrix": fixed["/matrix"].value} if "/matrix" in fixed else document


def not_an_object(document: Any) -> Problem:
    return Problem("", f"expected an object, got {value_in_words(document)}.")
