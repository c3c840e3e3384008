"""The frontier of a report: accuracy against cost as plots, and what they say in sentences."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ttsi.pages import text
from ttsi.report.figures import Figure
from ttsi.report.scatter import Place, scatter
from ttsi.results.frontier import BASE, COSTS, Cost, Frontier, Point, Verdict

_ALPHA = 0.05


def plots(found: Frontier) -> dict[Cost, Figure]:
    """Return accuracy against each cost that the points have; none for fewer than two points."""
    if len(found.points) < 2:
        return {}
    return {cost: _plot(found, cost) for cost in COSTS if _drawable(found.points, cost)}


def _drawable(points: Sequence[Point], cost: Cost) -> bool:
    costs = [getattr(point, cost) for point in points]
    return all(math.isfinite(each) and each >= 0 for each in costs) and any(costs)


def _plot(found: Frontier, cost: Cost) -> Figure:
    title = f"Accuracy and {cost}"
    caption = "Each way to answer, by what an answer costs in all its stages. A method is worth "
    caption += "that if it is above the dashed line: the best that search reached at its cost or "
    caption += "less. With the 95 % interval over samples."
    form = _FORMS[cost]
    places = [
        Place(
            point.label,
            point.search,
            getattr(point, cost),
            point.accuracy,
            point.interval,
            f"{text.percent(point.accuracy)}, {form(getattr(point, cost))}",
        )
        for point in found.points
    ]
    svg = scatter(
        title,
        places,
        [(getattr(point, cost), point.accuracy) for point in found.line(cost)],
        labels=(f"{cost} per answer", "accuracy, %"),
        kinds=("base model or search", "method"),
        step="line of search",
        form=lambda value: f"{value:g}",
    )
    return Figure(title, caption, svg)


_FORMS: Mapping[Cost, Callable[[float], str]] = {
    "seconds": text.seconds,
    "tokens": lambda value: f"{text.figures(value)} tokens",
}


def sentences(found: Frontier) -> list[str]:
    """Return a sentence on each method and cost: below, on or above the line of search."""
    return [_sentence(verdict) for verdict in found.verdicts]


def _sentence(verdict: Verdict) -> str:
    if verdict.search is None or verdict.points is None:
        return f"{verdict.label}: no search was run that takes as few {verdict.cost}."
    place = "on" if not verdict.points else "above" if verdict.points > 0 else "below"
    said = f"{verdict.label} is {place} the line of search at equal {verdict.cost}"
    if not verdict.points:
        return f"{said}: as right as {_the(verdict.search)}."
    than = f"{text.points(abs(verdict.points) / 100).removeprefix('+')} points "
    than += "better" if verdict.points > 0 else "worse"
    ends = [end / 100 for end in verdict.interval] if verdict.interval else None
    numbers = [f"95 % {text.interval(ends)}" if ends else "", text.p_said(verdict.p)]
    doubt = "" if verdict.p is not None and verdict.p < _ALPHA else "; chance alone may do that"
    return (
        f"{said}: {than} than {_the(verdict.search)} ({', '.join(filter(None, numbers))}){doubt}."
    )


def _the(label: str) -> str:
    return f"the {label}" if label.startswith(BASE) else label
