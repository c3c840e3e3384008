"""Do the branches of a oneOf exclude each other? Used by plain.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, combinations, product

from ttsi.parameters.automata import overlap
from ttsi.parameters.fitting import faults, identity, is_of, within
from ttsi.parameters.merging import Conflict, Plain, common_type, number_bounds


def exclusive(branches: Sequence[list[Plain]], apart: Callable[[Plain, Plain], bool]) -> bool:
    """Return whether no value satisfies two of the branches, each of which is a choice of schemas.

    `apart` compares two schemas. Branches that list constants, which may be many, are compared
    without it.
    """
    constants: list[list[Plain]] = []
    others: list[list[Plain]] = []
    for branch in branches:
        (constants if all("enum" in body for body in branch) else others).append(branch)
    listed = [{identity(v) for body in each for v in body["enum"]} for each in constants]
    if len(set().union(*listed)) < sum(map(len, listed)):
        return False
    met = chain(combinations(others, 2), product(others, constants))
    return all(apart(a, b) for one, other in met for a, b in product(one, other))


def disjoint(one: Plain, other: Plain) -> bool:
    """Whether two plain schemas certainly have no value in common."""
    for a, b in ((one, other), (other, one)):
        if "anyOf" in a:
            return all(disjoint(branch, b) for branch in a["anyOf"])
    if "type" not in one or "type" not in other:
        return False
    if not common_type(one["type"], [other["type"]]):
        return True
    if "enum" in one and "enum" in other:
        return not {*map(identity, one["enum"])} & {*map(identity, other["enum"])}
    for a, b in ((one, other), (other, one)):
        if "enum" in a:
            return not any(is_of(v, b["type"]) and not faults(v, b) for v in a["enum"])
    if one["type"] == "string":
        return "pattern" in one and "pattern" in other and not overlap(
            one["pattern"], other["pattern"]
        )  # fmt: skip
    if one["type"] == "object":
        return _objects_disjoint(one, other) or _objects_disjoint(other, one)
    if one["type"] in ("integer", "number"):
        try:
            number_bounds([one, other], "", whole="integer" in (one["type"], other["type"]))
        except Conflict:
            return True
    return False


def _objects_disjoint(one: Plain, other: Plain) -> bool:
    """Whether a property that `one` requires excludes the values of `other`."""
    for name in one.get("required", ()):
        theirs = within(other, name)
        if theirs is None or disjoint(one["properties"][name], dict(theirs)):
            return True
    return False
