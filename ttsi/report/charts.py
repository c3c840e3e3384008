"""The kinds of plot in a report: intervals, bars, a histogram, curves. Each returns SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ttsi.pages import text
from ttsi.pages.plots import (
    LINE,
    WIDTH,
    Canvas,
    Scale,
    axis_below,
    axis_left,
    legend,
    pieces,
    thinned,
    ticks,
)

BINS = 20


@dataclass(frozen=True)
class Mark:
    """A value with its interval; `each`: the single values whose mean it is."""

    label: str
    kind: str
    value: float
    interval: Sequence[float] | None = None
    each: Sequence[float] = ()


@dataclass(frozen=True)
class Group:
    """Marks that belong together under one label."""

    label: str
    marks: Sequence[Mark]


@dataclass(frozen=True)
class Bar:
    """A labelled row of one or more bars: (kind, value, text at the bar's end)."""

    label: str
    values: Sequence[tuple[str, float, str]]


@dataclass(frozen=True)
class Curve:
    """A line; it is broken where y is None."""

    label: str
    kind: str
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True)
class Spot:
    """A single point that a plot of curves marks."""

    label: str
    kind: str
    x: float
    y: float


def intervals(
    title: str,
    groups: Sequence[Group],
    *,
    label: str,
    form: Callable[[float], str] = text.percent,
    within: tuple[float, float] = (0.0, 1.0),
    zero: bool = False,
) -> str:
    """Return dots with intervals, a row each, as SVG.

    `label`: of the axis. `form`: a value as text. `within`: bounds of the axis. `zero`: draw a line
    at 0.
    """
    marks = [mark for group in groups for mark in group.marks]
    labelled = any(group.label for group in groups)
    rows = sum(len(group.marks) + bool(group.label) + 0.4 for group in groups)
    bottom = 8 + LINE * 1.15 * rows
    canvas = Canvas(title, bottom + 40, _told(groups, form))
    room = max(text.width(mark.label) for mark in marks)
    x = Scale(*_span(marks, within, zero), 2 + room + 14, WIDTH - 64)
    axis_below(canvas, x, top=4, bottom=bottom, label=label, form=_hundredths)
    if zero:
        canvas.line(x(0), 4, x(0), bottom, "threshold")
    y = 8.0
    for group in groups:
        if labelled:
            canvas.text(2, y + 12, text.fitted(group.label, WIDTH - 4), "strong")
            y += LINE * 1.15
        for mark in group.marks:
            _interval(canvas, x, y + 8, mark, form)
            y += LINE * 1.15
        y += LINE * 0.46
    return canvas.svg()


def _interval(canvas: Canvas, x: Scale, y: float, mark: Mark, form: Callable[[float], str]) -> None:
    canvas.text(2, y + 4, mark.label, "key")
    if mark.interval is not None:
        low, high = mark.interval
        canvas.line(x(low), y, x(high), y, f"whisker {mark.kind}")
    for value in mark.each:
        canvas.dot(x(value), y, f"faint {mark.kind}", form(value), radius=2.5)
    tip = f"{mark.label} {form(mark.value)} {text.interval(mark.interval)}".strip()
    canvas.dot(x(mark.value), y, mark.kind, tip)
    canvas.text(WIDTH - 2, y + 4, form(mark.value), "value", "end")


def _span(marks: Sequence[Mark], within: tuple[float, float], zero: bool) -> tuple[float, float]:
    values = [0.0] if zero else []
    for mark in marks:
        values += [mark.value, *(mark.interval or ()), *mark.each]
    low, high = min(values), max(values)
    margin = max((high - low) * 0.06, 0.02)
    return max(low - margin, within[0]), min(high + margin, within[1])


def _hundredths(value: float) -> str:
    return _plain(100 * value)


def _told(groups: Sequence[Group], form: Callable[[float], str]) -> str:
    told = []
    for group in groups:
        values = ", ".join(
            f"{mark.label} {form(mark.value)} {text.interval(mark.interval)}".strip()
            for mark in group.marks
        )
        told.append(f"{group.label}: {values}" if group.label else values)
    return "; ".join(told)


def bars(title: str, rows: Sequence[Bar], *, key: Sequence[tuple[str, str]] = ()) -> str:
    """Return horizontal bars from zero as SVG; `key`: (kind, label) of the legend's entries."""
    most = max((value for row in rows for _, value, _ in row.values), default=0)
    thick = 14
    told = "; ".join(
        f"{row.label}: {', '.join(words for _, _, words in row.values)}" for row in rows
    )
    height = sum(thick * len(row.values) + 13 for row in rows)
    top = 6 + (LINE + 6 if key else 0)
    canvas = Canvas(title, top + height, told)
    legend(canvas, [("bar", kind, label) for kind, label in key])
    names = min(max((text.width(row.label) for row in rows), default=0), 130) + 12
    figures = max((text.width(words) for row in rows for *_, words in row.values), default=0)
    x = Scale(0, most or 1, names, WIDTH - figures - 12)
    y = float(top)
    for row in rows:
        middle = y + thick * len(row.values) / 2
        canvas.text(names - 8, middle + 4, text.fitted(row.label, names - 8), "key", "end")
        for kind, value, words in row.values:
            canvas.bar(names, y, x(value) - names, thick - 2, kind, f"{row.label}: {words}")
            canvas.text(x(value) + 6, y + 10.5, words, "value")
            y += thick
        y += 13
    canvas.line(names, top - 4, names, y - 9, "axis")
    return canvas.svg()


def histogram(
    title: str,
    above: tuple[str, str, Sequence[float]],
    below: tuple[str, str, Sequence[float]] | None,
    threshold: float | None,
    *,
    labels: tuple[str, str] = ("confidence u", "samples"),
) -> str:
    """Return a histogram of values in [0, 1] with BINS bins as SVG.

    `above` and `below` the axis: (kind, label, values). `labels`: of the axes x and y.
    """
    sides = [above] if below is None else [above, below]
    counts = [_binned(values) for _, _, values in sides]
    most = [max(*side, 1) for side in counts]
    entries = [("bar", kind, f"{label} ({len(values)})") for kind, label, values in sides]
    if threshold is not None:
        entries.append(("line", "threshold", f"threshold {threshold:g}"))
    told = "; ".join(f"{label}: {len(values)}" for _, label, values in sides)
    canvas = Canvas(title, 262, told)
    top, bottom, left, right = legend(canvas, entries) + 24, 222, 40, WIDTH - 8
    deepest = -most[1] if below is not None else 0
    y = Scale(deepest, most[0], bottom, top)
    whole = [tick for tick in ticks(deepest, most[0], 6) if tick == int(tick)]
    axis_left(
        canvas, y, left=left, right=right, label=labels[1], form=lambda v: f"{abs(v):g}", at=whole
    )
    x = Scale(0, 1, left, right)
    axis_below(canvas, x, top=bottom, bottom=bottom, label=labels[0], form=lambda v: f"{v:g}")
    for (kind, label, _), side, sign in zip(sides, counts, (1, -1), strict=False):
        for number, some in enumerate(side):
            _stack(canvas, x, y, number, sign * some, kind, label)
    canvas.line(left, y(0), right, y(0), "axis")
    if threshold is not None:
        canvas.line(x(threshold), top - 6, x(threshold), bottom, "threshold")
    return canvas.svg()


def _stack(
    canvas: Canvas, x: Scale, y: Scale, number: int, some: int, kind: str, label: str
) -> None:
    if not some:
        return
    low, high = number / BINS, (number + 1) / BINS
    tip = f"{low:.2f} to {high:.2f}: {abs(some)} {label}"
    top, bottom = sorted((y(0), y(some)))
    canvas.bar(x(low) + 0.7, top, x(high) - x(low) - 1.4, bottom - top, kind, tip)


def _binned(values: Sequence[float]) -> list[int]:
    counts = [0] * BINS
    for value in values:
        counts[min(int(value * BINS), BINS - 1)] += 1
    return counts


def curves(
    title: str,
    lines: Sequence[Curve],
    *,
    labels: tuple[str, str],
    low: float = 0.0,
    threshold: float | None = None,
    spots: Sequence[Spot] = (),
    diagonal: str = "",
    description: str = "",
) -> str:
    """Return lines over x in [0, 1], with y from `low` to 1, as SVG.

    `labels`: of the axes x and y. `diagonal`: the legend's text for the line x = y; "": no line.
    `description`: what screen readers read.
    """
    entries = [("curve", line.kind, line.label) for line in lines if len(lines) > 1]
    entries += [("dot", spot.kind, spot.label) for spot in spots]
    if diagonal:
        entries.append(("line", "chance", diagonal))
    if threshold is not None:
        entries.append(("line", "threshold", f"threshold {threshold:g}"))
    canvas = Canvas(title, 290, description)
    top, left, right = legend(canvas, entries) + 28, 40, WIDTH - 10
    bottom = max(250, top + 170)
    canvas.resize(bottom + 40)
    x, y = Scale(0, 1, left, right), Scale(low, 1, bottom, top)
    axis_left(canvas, y, left=left, right=right, label=labels[1], form=_plain)
    axis_below(canvas, x, top=top, bottom=bottom, label=labels[0], form=_plain)
    if diagonal:
        canvas.line(x(0), y(0), x(1), y(1), "chance")
    if threshold is not None:
        canvas.line(x(threshold), top, x(threshold), bottom, "threshold")
    for line in lines:
        for piece in pieces(line.points):
            canvas.curve([(x(a), y(b)) for a, b in thinned(piece)], line.kind)
    for spot in spots:
        canvas.dot(x(spot.x), y(spot.y), spot.kind, f"{spot.label}: {spot.x:.2f}, {spot.y:.2f}")
    return canvas.svg()


def _plain(value: float) -> str:
    return f"{round(value, 10):g}".replace("-", "−")
