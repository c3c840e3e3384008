"""Formatting of numbers and text for people. None becomes a dash, or "" as an interval."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence

from ttsi.types import JSON

NOTHING = "–"
_SPACE = "\u00a0"  # a number and its unit stay on one line
# Characters that change the writing direction would affect the text around them, too.
_TURNING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_INVISIBLE: dict[int, int | str] = {
    **{code: 0x2400 + code for code in range(32) if code not in (9, 10, 13)},
    **dict.fromkeys(range(0x7F, 0xA0), 0xFFFD),
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),
    **{code: f"⟨U+{code:X}⟩" for code in _TURNING},
}


def visible(text: str) -> str:
    """Replace characters that HTML cannot hold or that are invisible, by symbols or their code."""
    return text.translate(_INVISIBLE)


def percent(share: float | None) -> str:
    return NOTHING if share is None else f"{_minus(100 * share, '.1f')}{_SPACE}%"


def points(share: float | None) -> str:
    """Format a difference of shares in percentage points, with its sign."""
    return NOTHING if share is None else _minus(100 * share, "+.1f")


def figure(share: float | None) -> str:
    """Format a share in percent, without the per cent sign."""
    return NOTHING if share is None else _minus(100 * share, ".1f")


def interval(pair: Sequence[float] | None) -> str:
    """Format a pair of shares as [low, high] in percent or points; "" for None."""
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
    """Format p as "p = 0.32" or "p < 0.0001"."""
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
    """Format a quantity without a unit in about three digits, as a whole number from 99.95."""
    if value is None:
        return NOTHING
    if value == 0 or abs(value) >= 99.95:
        return _minus(value, ",.0f")
    if abs(value) < 0.0001:
        return "< 0.0001"
    return _minus(value, ".4f" if abs(value) < 0.01 else "#.3g")


def count(number: int, noun: str, plural: str = "") -> str:
    """Format a number with its noun: "1 sample", "2 samples"."""
    return f"{number:,}{_SPACE}{noun if number == 1 else plural or noun + 's'}"


def setting(value: JSON) -> str:
    """Format an option's value for a table; JSON is cut at 120 characters."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and not any(isinstance(each, list | dict) for each in value):
        return ", ".join(setting(each) for each in value)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:119] + "…"


def settings(options: Mapping[str, JSON]) -> list[tuple[str, str]]:
    """Return (option, value) pairs without null values and the component's name."""
    given = ((key, value) for key, value in options.items() if value is not None)
    return [(key, setting(value)) for key, value in given if key != "name"]


def excerpt(text: str, length: int = 140) -> str:
    """Return the beginning of a text on one line, at most `length` characters."""
    words = " ".join(text[: 8 * length].split())
    return words if len(words) <= length else words[: length - 1].rstrip() + "…"


def width(text: str, size: float = 12.0) -> float:
    """Estimate the width of a text in a sans-serif font; wide characters count twice."""
    cells = sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
    return cells * size * 0.54


def fitted(text: str, room: float, size: float = 12.0) -> str:
    """Return the text, cut with an ellipsis where it is wider than `room`."""
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
