"""Numbers and text as people read them. None is a dash everywhere."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence

from ttsi.types import JSON

NOTHING = "–"
_SPACE = "\u00a0"  # a number and its unit stay on one line
# Those that turn the writing direction would turn the text around them too.
_TURNING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_INVISIBLE: dict[int, int | str] = {
    **{code: 0x2400 + code for code in range(32) if code not in (9, 10, 13)},
    **dict.fromkeys(range(0x7F, 0xA0), 0xFFFD),
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),
    **{code: f"⟨U+{code:X}⟩" for code in _TURNING},
}


def visible(text: str) -> str:
    """What HTML can hold and eyes can see: control characters as pictures or by their number."""
    return text.translate(_INVISIBLE)


def percent(share: float | None) -> str:
    return NOTHING if share is None else f"{_minus(100 * share, '.1f')}{_SPACE}%"


def points(share: float | None) -> str:
    """A difference of shares, in percentage points, with its sign."""
    return NOTHING if share is None else _minus(100 * share, "+.1f")


def figure(share: float | None) -> str:
    """A share in percent, without the sign."""
    return NOTHING if share is None else _minus(100 * share, ".1f")


def interval(pair: Sequence[float] | None) -> str:
    """[low, high] in percent or points."""
    if pair is None:
        return ""
    low, high = (_minus(100 * share, ".1f") for share in pair)
    return f"[{low}, {high}]"


def rate(value: float | None) -> str:
    return NOTHING if value is None else _minus(value, ".2f")


def decimal(value: float) -> str:
    return _minus(value, ".1f")


def p_value(p: float | None) -> str:
    if p is None:
        return NOTHING
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"


def p_said(p: float | None) -> str:
    """p = 0.32, p < 0.0001."""
    shown = p_value(p)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def seconds(value: float | None) -> str:
    if value is None:
        return NOTHING
    if value < 0.01:
        return f"0{_SPACE}s" if value == 0 else f"<{_SPACE}0.01{_SPACE}s"
    for limit, size, unit, form in (
        (1, 1, "s", ".2f"),
        (100, 1, "s", ".1f"),
        (600, 1, "s", ".0f"),
        (36_000, 60, "min", ".0f"),
    ):
        if value < limit:
            return f"{value / size:{form}}{_SPACE}{unit}"
    return f"{value / 3600:.1f}{_SPACE}h"


def dollars(value: float) -> str:
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


def figures(value: float | None) -> str:
    """A quantity in three figures or as whole, for a column whose head has its unit."""
    if value is None:
        return NOTHING
    if value == 0 or abs(value) >= 99.95:
        return _minus(value, ",.0f")
    if abs(value) < 0.0001:
        return "< 0.0001"
    return _minus(value, ".4f" if abs(value) < 0.01 else "#.3g")


def count(number: int, noun: str, plural: str = "") -> str:
    """1 sample, 2 samples."""
    return f"{number:,}{_SPACE}{noun if number == 1 else plural or noun + 's'}"


def setting(value: JSON) -> str:
    """An option's value, short enough for a table."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and not any(isinstance(each, list | dict) for each in value):
        return ", ".join(setting(each) for each in value)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:119] + "…"


def settings(options: Mapping[str, JSON]) -> list[tuple[str, str]]:
    """(option, value) pairs; what is null is left out, and so is the component's name."""
    given = ((key, value) for key, value in options.items() if value is not None)
    return [(key, setting(value)) for key, value in given if key != "name"]


def excerpt(text: str, length: int = 140) -> str:
    """The beginning of a text on one line."""
    words = " ".join(text[: 8 * length].split())
    return words if len(words) <= length else words[: length - 1].rstrip() + "…"


def width(text: str, size: float = 12.0) -> float:
    """About how wide a text is in a sans-serif font of this size; wide characters count twice."""
    cells = sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
    return cells * size * 0.54


def fitted(text: str, room: float, size: float = 12.0) -> str:
    """The text, or as much of it as there is room for."""
    if width(text, size) <= room:
        return text
    while text and width(text + "…", size) > room:
        text = text[:-1]
    return text.rstrip() + "…"


def _minus(value: float, form: str) -> str:
    text = format(value, form)
    if float(text.replace(",", "")) == 0:
        text = format(0.0, form)
    return text.replace("-", "−")
