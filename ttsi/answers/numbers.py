"""Values that keep their spelling: numbers, and text whose type a schema decides.

For a string parameter the text matters: 1.10 is a version, 1e3 a part, 250.00 an amount. So a
number carries its literal if that is not the standard text of its value. Otherwise it behaves as
the plain number: it is equal to it, and has the same hash and JSON.
"""

from __future__ import annotations

import math
import re

from ttsi.types import JSON

MAX_DIGITS = 400
"""Longer numbers are not read; no call needs so many digits."""

_LEADING_ZERO = re.compile(r"[+-]?0[0-9]")


class WrittenInt(int):
    """An integer with its `literal`."""

    literal: str

    def __new__(cls, value: int, literal: str) -> WrittenInt:
        made = super().__new__(cls, value)
        made.literal = literal
        return made

    def __getnewargs__(self) -> tuple[int, str]:  # type: ignore[override]
        return int(self), self.literal


class WrittenFloat(float):
    """A float with its `literal`."""

    literal: str

    def __new__(cls, value: float, literal: str) -> WrittenFloat:
        made = super().__new__(cls, value)
        made.literal = literal
        return made

    def __getnewargs__(self) -> tuple[float, str]:  # type: ignore[override]
        return float(self), self.literal


class Untyped(str):
    """Text of a notation without types, such as XML, and its `value` as JSON or Python.

    Where the schema declares a string or nothing, the text counts, else the value. Only the normal
    form makes this distinction; elsewhere it is an ordinary string, and records store the text.
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
    """Return the number that `literal` is in JSON or Python notation.

    None if it is no number in either (007), is not finite (1e999) or is longer than MAX_DIGITS.
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
    """Return the number as it was written, or its JSON text if that is unknown."""
    if isinstance(number, WrittenInt | WrittenFloat):
        return number.literal
    return repr(number)
