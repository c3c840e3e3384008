"""JSON as it was written: numbers keep their literals, and faults stay where they are.

What is JSON to some readers and not to others, such as NaN or a key that stands twice, makes the
value that holds it unsound, and leaves the rest of a file to be read.
"""

from __future__ import annotations

import json
from collections import Counter

from ttsi.answers.numbers import read_number
from ttsi.types import JSON


class Fault:
    """What stands in the place of a value that is JSON to some, such as NaN."""


class Twice(dict[str, JSON]):
    """An object in which the key `name` stands twice."""

    name = ""


def load(text: str) -> JSON:
    """Raises ValueError for what is not JSON, RecursionError for what is nested too deep."""
    return json.loads(
        text,
        object_pairs_hook=_object,
        parse_constant=lambda _: Fault(),
        parse_float=_number,
        parse_int=_number,
    )


def is_sound(value: JSON) -> bool:
    """Whether all of a value is JSON; without recursion."""
    layer = [value]
    while layer:
        if any(isinstance(item, Fault | Twice) for item in layer):
            return False
        holders = [item for item in layer if isinstance(item, dict | list)]
        layer = [
            each
            for holder in holders
            for each in (holder.values() if isinstance(holder, dict) else holder)
        ]
    return True


def _object(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    row = dict(pairs)
    if len(row) == len(pairs):
        return row
    twice = Twice(row)
    twice.name = Counter(name for name, _ in pairs).most_common(1)[0][0]
    return twice


def _number(literal: str) -> JSON:
    number = read_number(literal)
    return Fault() if number is None else number
