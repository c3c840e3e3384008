"""JSON with its original spelling: numbers keep their literals, and faults keep their place.

Some readers accept NaN or a repeated key, others do not. Such a fault makes the value that contains
it unsound, while the rest of a file can still be read.
"""

from __future__ import annotations

import json
from collections import Counter

from ttsi.answers.numbers import read_number
from ttsi.types import JSON


class Fault:
    """Stands for a value that not all JSON readers accept, such as NaN."""


class Twice(dict[str, JSON]):
    """An object in which the key `name` occurs twice."""

    name = ""


def load(text: str) -> JSON:
    """Parse JSON. Raises ValueError if it is not JSON, RecursionError for too deep nesting."""
    return json.loads(
        text,
        object_pairs_hook=_object,
        parse_constant=lambda _: Fault(),
        parse_float=_number,
        parse_int=_number,
    )


def is_sound(value: JSON) -> bool:
    """Whether a value has no fault at any level; works without recursion."""
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
