"""Drawing of plots as inline SVG: a canvas, scales, axes and a legend.

The SVG refers to no script, font or file. Colours come from plots.css: a shape has a class for its
type (line, bar, dot, curve) and one for its meaning (base, final, right, wrong, ...). Plots are 360
units wide with text of size 12, so that a phone shows them without scaling.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ttsi.pages import text

WIDTH = 360
LINE = 18
"""The height of a line of text, in SVG units."""


@dataclass(frozen=True)
class Scale:
    """A linear map from [low, high] to [start, end] in SVG units; values outside are clipped."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        if self.high <= self.low:
            return (self.start + self.end) / 2
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return ticks within [low, high], about `about` of them.

    They are multiples of 1, 2 or 5 times a power of ten; `low` alone where high <= low.
    """
    if not high > low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    # A step wider than the span may have no multiple within it.
    steps = [power * factor for factor in (1, 2, 5, 10) if power * factor <= high - low]
    step = next((step for step in steps if step >= rough * 0.99), steps[-1])
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


class Canvas:
    """An SVG image. Screen readers read `title` and `description`."""

    def __init__(self, title: str, height: float, description: str = "") -> None:
        spoken = text.visible(f"{title}. {description}" if description else title)
        self.root = ET.Element(
            "svg",
            {
                "class": "plot",
                "viewBox": f"0 0 {WIDTH} {_number(height)}",
                "role": "img",
                "aria-label": spoken,
            },
        )
        ET.SubElement(self.root, "title").text = text.visible(title)

    def resize(self, height: float) -> None:
        self.root.set("viewBox", f"0 0 {WIDTH} {_number(height)}")

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        self._add("line", kind, x1=x1, y1=y1, x2=x2, y2=y2)

    def bar(self, x: float, y: float, wide: float, high: float, kind: str, tip: str = "") -> None:
        shape = self._add("rect", f"bar {kind}", x=x, y=y, width=max(wide, 0), height=max(high, 0))
        _tip(shape, tip)

    def dot(self, x: float, y: float, kind: str, tip: str = "", radius: float = 4.5) -> None:
        _tip(self._add("circle", f"dot {kind}", cx=x, cy=y, r=radius), tip)

    def curve(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        if points:
            path = "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points)
            ET.SubElement(self.root, "path", {"class": f"curve {kind}", "d": path})

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> None:
        shape = self._add("text", f"{kind} at-{anchor}".strip(), x=x, y=y)
        shape.text = text.visible(words)

    def svg(self) -> str:
        return ET.tostring(self.root, encoding="unicode")

    def _add(self, tag: str, kind: str, **places: float) -> ET.Element:
        attributes = {name: _number(value) for name, value in places.items()}
        return ET.SubElement(self.root, tag, {"class": kind, **attributes})


def axis_below(
    canvas: Canvas,
    scale: Scale,
    *,
    top: float,
    bottom: float,
    label: str,
    form: Callable[[float], str],
    at: Sequence[float] | None = None,
) -> None:
    """Draw the x axis: grid lines up to `top`, figures and the label below.

    `form`: a value as text. `at`: the values with a grid line; None: `ticks` of the scale.
    """
    for value in ticks(scale.low, scale.high) if at is None else at:
        canvas.line(scale(value), top, scale(value), bottom, "grid")
        canvas.text(scale(value), bottom + 15, form(value), "tick", "middle")
    canvas.line(scale.start, bottom, scale.end, bottom, "axis")
    canvas.text((scale.start + scale.end) / 2, bottom + 33, label, "label", "middle")


def axis_left(
    canvas: Canvas,
    scale: Scale,
    *,
    left: float,
    right: float,
    label: str,
    form: Callable[[float], str],
    at: Sequence[float] | None = None,
) -> None:
    """Draw the y axis; its label is above the figures and not turned, so that it is readable.

    `form` and `at` as for `axis_below`.
    """
    for value in ticks(scale.low, scale.high, 6) if at is None else at:
        canvas.line(left, scale(value), right, scale(value), "grid")
        canvas.text(left - 6, scale(value) + 4, form(value), "tick", "end")
    canvas.text(2, min(scale.start, scale.end) - 10, label, "label")


def legend(canvas: Canvas, entries: Sequence[tuple[str, str, str]]) -> int:
    """Draw a legend of (shape, kind, label) in rows from the top; return the y where it ends."""
    x, y = 2.0, 13
    for shape, kind, label in entries:
        wide = 24 + text.width(label) + 14
        if x > 2 and x + wide - 14 > WIDTH:
            x, y = 2.0, y + LINE
        _swatch(canvas, shape, kind, x, y - 4)
        canvas.text(x + 24, y, label, "key")
        x += wide
    return y + 6 if entries else 0


def _swatch(canvas: Canvas, shape: str, kind: str, x: float, y: float) -> None:
    if shape == "bar":
        canvas.bar(x + 4, y - 5, 12, 10, kind)
    elif shape == "dot":
        canvas.dot(x + 10, y, kind)
    elif shape == "line":
        canvas.line(x, y, x + 18, y, kind)
    else:
        canvas.curve([(x, y), (x + 18, y)], kind)


def thinned(points: Sequence[tuple[float, float]], most: int = 400) -> list[tuple[float, float]]:
    """Return at most `most` of the points, evenly spaced, with the first and the last."""
    if len(points) <= most:
        return list(points)
    step = (len(points) - 1) / (most - 1)
    return [points[round(number * step)] for number in range(most)]


def pieces(points: Sequence[tuple[float, float | None]]) -> Iterator[list[tuple[float, float]]]:
    """Yield the parts of a line between points whose y is None."""
    piece: list[tuple[float, float]] = []
    for x, y in points:
        if y is None:
            if piece:
                yield piece
            piece = []
        else:
            piece.append((x, y))
    if piece:
        yield piece


def stepped(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    """Return the corners of a step line that changes half-way between neighbouring points."""
    corners = list(points[:1])
    for (x1, y1), (x2, y2) in pairwise(points):
        middle = (x1 + x2) / 2
        corners += [(middle, y1), (middle, y2), (x2, y2)]
    return corners


def standalone(svg: str) -> str:
    """Return an inline plot as an SVG file with its own styles, for light and dark themes."""
    style = (Path(__file__).parent / "templates" / "plots.css").read_text(encoding="utf-8")
    root = ET.fromstring(svg)
    root.set("xmlns", "http://www.w3.org/2000/svg")
    sheet = ET.Element("style")
    sheet.text = style
    root.insert(1, sheet)
    return ET.tostring(root, encoding="unicode") + "\n"


def _tip(shape: ET.Element, words: str) -> None:
    if words:
        ET.SubElement(shape, "title").text = text.visible(words)


def _number(value: float) -> str:
    return format(round(value, 1), "g")
