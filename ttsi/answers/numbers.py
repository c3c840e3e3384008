"""Values that remember how they were written: numbers, and text whose type a schema decides.

For a string parameter the text counts: 1.10 is a version, 1e3 a part, 250.00 an amount. So a
number whose own text is not that of its value carries it. It is otherwise the number that it
is: equal to it, hashed as it, and written to JSON as it.
"""

from __future__ import annotations

import math
import re

from ttsi.types import JSON

MAX_DIGITS = 400
"""Longer numbers are not read: nothing in a call is that exact."""

_LEADING_ZERO = re.compile(r"[+-]?0[0-9]")


class WrittenInt(int):
    """An integer, and its `literal`."""

    literal: str

    def __new__(cls, value: int, literal: str) -> WrittenInt:
        made = super().__new__(cls, value)
        made.literal = literal
        return made

    def __getnewargs__(self) -> tuple[int, str]:  # type: ignore[override]
        return int(self), self.literal


class WrittenFloat(float):
    """A float, and its `literal`."""

    literal: str

    def __new__(cls, value: float, literal: str) -> WrittenFloat:
        made = super().__new__(cls, value)
        made.literal = literal
        return made

    def __getnewargs__(self) -> tuple[float, str]:  # type: ignore[override]
        return float(self), self.literal


class Untyped(str):
    """Text of a notation without types, such as XML, and the `value` that it is in JSON or Python.

    It is the text where the schema declares a string or nothing, else the value. Everywhere but in
    the normal form it is a string like any other: in records it is the text.
    """

    __slots__ = ("value",)
    value: JSON

    def __new__(cls, text: str, value: JSON) -> Untyped:
        made = super().__new__(cls, text)
        made.value = value
        return made

    def __getnewargs__(self) -> tuple[str, JSON]:  # type: ignore[override]
        return str(self), self.value


def read_number(literal: str) -> int | float | None:
    """The number that `literal` is in the notation of JSON or Python.

    None for what is no number in either (007), is not finite (1e999) or is longer than MAX_DIGITS.
    """
    if len(literal) > MAX_DIGITS or _LEADING_ZERO.match(literal):
        return None
    if literal.lstrip("+-").isdigit():
        whole = int(literal)
        return whole if repr(whole) == literal else WrittenInt(whole, literal)
    value = float(literal)
    if not math.isfinite(value):
        return None
    return value if repr(value) == literal else WrittenFloat(value, literal)


def number_text(number: float) -> str:
    """How the number was written; where that is not known, its JSON text."""
    if isinstance(number, WrittenInt | WrittenFloat):
        return number.literal
    return repr(number)
