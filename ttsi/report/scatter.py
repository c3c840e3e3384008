"""A plot of numbered points with intervals and a step line, readable without colours, as SVG.

The two kinds of point have different shapes. Each point has a number beside it, moved to where it
covers nothing, and a row in the key below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from ttsi.pages import text
from ttsi.pages.plots import LINE, WIDTH, Canvas, Scale, axis_left, legend, ticks

_LEFT, _RIGHT, _HIGH = 40.0, WIDTH - 16.0, 190.0
_MARK = 11.0
_NEAR = 13.0
_WAYS = [math.radians(angle) for angle in (0, 180, 90, 270, 45, 135, 225, 315)]
_REACHES = [_NEAR + 9 * step for step in range(12)]


@dataclass(frozen=True)
class Place:
    """A point at (x, y), with the interval of y; `shown`: both as text."""

    label: str
    square: bool
    x: float
    y: float
    interval: Sequence[float] | None
    shown: str


@dataclass(frozen=True)
class Box:
    """A rectangle about its middle (x, y)."""

    x: float
    y: float
    wide: float
    high: float

    def meets(self, other: Box) -> bool:
        return (
            abs(self.x - other.x) < (self.wide + other.wide) / 2
            and abs(self.y - other.y) < (self.high + other.high) / 2
        )


def scatter(
    title: str,
    places: Sequence[Place],
    line: Sequence[tuple[float, float]],
    *,
    labels: tuple[str, str],
    kinds: tuple[str, str],
    step: str,
    form: Callable[[float], str],
) -> str:
    """Return the points as SVG, y in [0, 1] shown in per cent.

    `line`: where each level of the step line begins. `labels`: of the axes x and y. In the legend
    `kinds` are what squares and dots are, `step` what the line is. `form`: an x as text. The x axis
    is logarithmic where the points are apart by a factor of 8 or more.
    """
    told = "; ".join(f"{n}, {each.label}: {each.shown}" for n, each in enumerate(places, 1))
    canvas = Canvas(title, _HIGH + 116 + LINE * len(places), told)
    entries = [
        ("bar", "base outlined", kinds[0]),
        ("dot", "final", kinds[1]),
        ("line", "threshold", step),
    ]
    top = legend(canvas, entries) + 28
    bottom = top + _HIGH
    x, at = _across([each.x for each in places])
    y = _up(places, top, bottom)
    axis_left(canvas, y, left=_LEFT, right=_RIGHT, label=labels[1], form=_hundredths)
    for value in at:
        canvas.line(x(value), top, x(value), bottom, "grid")
        canvas.text(x(value), bottom + 15, form(value), "tick", "middle")
    canvas.line(_LEFT, bottom, _RIGHT, bottom, "axis")
    canvas.text((_LEFT + _RIGHT) / 2, bottom + 33, labels[0], "label", "middle")
    _stairs(canvas, [(x(a), y(b)) for a, b in line])
    spots = [(x(each.x), y(each.y)) for each in places]
    for each, (across, _) in zip(places, spots, strict=True):
        if each.interval is not None:
            kind = "base" if each.square else "final"
            canvas.line(across, y(each.interval[0]), across, y(each.interval[1]), f"thin {kind}")
    for each, spot in zip(places, spots, strict=True):
        _mark(canvas, each, *spot)
    frame = Box((_LEFT + _RIGHT) / 2, (top + bottom) / 2, _RIGHT - _LEFT, _HIGH)
    for number, (spot, box) in enumerate(zip(spots, apart(spots, frame), strict=True), 1):
        _number(canvas, number, spot, box)
    for number, each in enumerate(places, 1):
        _row(canvas, bottom + 38 + LINE * number, number, each)
    return canvas.svg()


def apart(spots: Sequence[tuple[float, float]], frame: Box) -> list[Box]:
    """Return a box beside each spot that meets no spot's mark and no other box.

    A box stays within the frame. Where there is no such place, it is beside its spot.
    """
    marks = [Box(x, y, _MARK, _MARK) for x, y in spots]
    found: list[Box] = []
    for number, (x, y) in enumerate(spots, 1):
        size = text.width(str(number)) + 3
        tried = [
            Box(x + reach * math.cos(way), y - reach * math.sin(way), size, 13)
            for reach, way in product(_REACHES, _WAYS)
        ]
        taken = [*marks, *found]
        free = (box for box in tried if _within(box, frame) and not any(map(box.meets, taken)))
        found.append(next(free, tried[0]))
    return found


def _within(box: Box, frame: Box) -> bool:
    return (
        abs(box.x - frame.x) <= (frame.wide - box.wide) / 2
        and abs(box.y - frame.y) <= (frame.high - box.high) / 2
    )


def _across(values: Sequence[float]) -> tuple[Callable[[float], float], list[float]]:
    """Return the x scale with its ticks: from 0, or logarithmic."""
    least, most = min(values), max(values)
    if not 0 < 8 * least <= most:
        linear = Scale(0, most * 1.06 or 1, _LEFT, _RIGHT)
        return linear, ticks(linear.low, linear.high)
    low, high = math.log10(least), math.log10(most)
    margin = 0.07 * (high - low)
    scale = Scale(low - margin, high + margin, _LEFT, _RIGHT)
    powers = range(math.floor(scale.low), math.ceil(scale.high) + 1)
    factors = (1, 2, 5) if high - low < 2.2 else (1,)
    every = [factor * 10.0**power for power, factor in product(powers, factors)]
    shown = [value for value in every if scale.low <= math.log10(value) <= scale.high]
    return lambda value: scale(math.log10(value)), shown


def _up(places: Sequence[Place], top: float, bottom: float) -> Scale:
    ends = [end for each in places for end in (each.y, *(each.interval or ()))]
    margin = max(0.06 * (max(ends) - min(ends)), 0.02)
    return Scale(max(min(ends) - margin, 0), min(max(ends) + margin, 1), bottom, top)


def _stairs(canvas: Canvas, corners: Sequence[tuple[float, float]]) -> None:
    for (x1, y1), (x2, y2) in pairwise(corners):
        canvas.line(x1, y1, x2, y1, "threshold")
        canvas.line(x2, y1, x2, y2, "threshold")
    if corners:
        x, y = corners[-1]
        canvas.line(x, y, _RIGHT, y, "threshold")


def _mark(canvas: Canvas, each: Place, x: float, y: float) -> None:
    tip = f"{each.label}: {each.shown}"
    if each.square:
        canvas.bar(x - 4.5, y - 4.5, 9, 9, "base outlined", tip)
    else:
        canvas.dot(x, y, "final", tip)


def _number(canvas: Canvas, number: int, spot: tuple[float, float], box: Box) -> None:
    far = math.dist(spot, (box.x, box.y))
    if far > _NEAR + 1:
        share = (far - 7) / far
        x, y = (a + share * (b - a) for a, b in zip(spot, (box.x, box.y), strict=True))
        canvas.line(*spot, x, y, "leader")
    canvas.text(box.x, box.y + 4, str(number), "number", "middle")


def _row(canvas: Canvas, y: float, number: int, each: Place) -> None:
    canvas.text(18, y, str(number), "number", "end")
    _mark(canvas, each, 30, y - 4)
    room = WIDTH - 50 - text.width(each.shown)
    canvas.text(42, y, text.fitted(each.label, room), "key")
    canvas.text(WIDTH - 2, y, each.shown, "value", "end")


def _hundredths(value: float) -> str:
    return f"{100 * value:g}"
