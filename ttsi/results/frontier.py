"""The frontier: accuracy against cost of any number of runs, and the line of search among them.

Search spends its cost on answering alone: the base model, votes, the best of n answers. The line of
search at a cost is the best accuracy that search reached at that cost or less. A method that adapts
is worth its cost only above that line.

A cost is all that a run spent, base answers included, divided by its answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any, Literal, TypeAlias, get_args

from ttsi.digests import json_digest
from ttsi.results import comparison
from ttsi.results.runs import Run
from ttsi.types import JSON, Record, StageCost

SEARCH = frozenset({"direct", "best_of"})
"""The inference plugins that search, by the last part of their name: `acme/best_of` is one."""

BASE = "base model"

Cost: TypeAlias = Literal["seconds", "tokens"]
COSTS: tuple[Cost, ...] = get_args(Cost)


@dataclass(frozen=True)
class Point:
    """Accuracy and cost of one way to answer; costs are per answer.

    `search`: it is the base model or a search with it. `right`: by sample, of each seed.
    """

    label: str
    search: bool
    accuracy: float
    interval: Sequence[float] | None
    seconds: float
    tokens: float
    right: Mapping[str, Sequence[bool]] = field(repr=False)


@dataclass(frozen=True)
class Verdict:
    """How a method compares with the best search at its cost or less; `points`: method - search.

    `search` is None where no search was as cheap; the numbers are None, too.
    """

    label: str
    cost: Cost
    search: str | None = None
    points: float | None = None
    interval: Sequence[float] | None = None
    p: float | None = None


@dataclass(frozen=True)
class Frontier:
    """The points of some runs, and the verdicts on those that are no search."""

    points: Sequence[Point]
    verdicts: Sequence[Verdict]

    def line(self, cost: Cost) -> list[Point]:
        """Return the searches that no search of at most their cost equals, by ascending cost."""
        return line(self.points, cost)

    def as_json(self) -> dict[str, JSON]:
        points = [asdict(point) for point in self.points]
        return {
            "points": [{k: v for k, v in point.items() if k != "right"} for point in points],
            "line": {cost: [point.label for point in self.line(cost)] for cost in COSTS},
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
        }


def frontier(runs: Sequence[Run], labels: Sequence[str]) -> Frontier:
    """Return the frontier of runs over the same samples; without records it has no points.

    Raises UsageError where the runs differ in samples, seeds, benchmark or scorer.
    """
    for run in runs[1:]:
        comparison.paired(runs[0], run)
    found = _points(runs, labels) if any(seed.records for seed in runs[0].seeds) else []
    return Frontier(found, [verdict(point, found, c) for c in COSTS for point in methods(found)])


def methods(points: Iterable[Point]) -> list[Point]:
    return [point for point in points if not point.search]


def line(points: Iterable[Point], cost: Cost) -> list[Point]:
    """Return the searches that no search of at most their cost equals, by ascending cost."""
    found: list[Point] = []
    searches = [point for point in points if point.search]
    for point in sorted(searches, key=lambda each: (getattr(each, cost), -each.accuracy)):
        if not found or point.accuracy > found[-1].accuracy:
            found.append(point)
    return found


def verdict(method: Point, points: Iterable[Point], cost: Cost) -> Verdict:
    """Compare a method with the best search at its cost or less, on the same samples."""
    spent = getattr(method, cost)
    as_cheap = [point for point in line(points, cost) if getattr(point, cost) <= spent]
    if not as_cheap:
        return Verdict(method.label, cost)
    best = as_cheap[-1]
    pairs = [(method.right[name], right) for name, right in best.right.items()]
    shares = [100 * (fmean(ours) - fmean(theirs)) for ours, theirs in pairs]
    return Verdict(
        method.label,
        cost,
        best.label,
        fmean(shares),
        comparison.bootstrap(shares),
        comparison.sign_flip([sum(ours) - sum(theirs) for ours, theirs in pairs]),
    )


def _points(runs: Sequence[Run], labels: Sequence[str]) -> list[Point]:
    """Return the point of each run, and of each base model that none of them is."""
    found = [_final(run, label) for run, label in zip(runs, labels, strict=True)]
    known = {_asked(run.spec) for run in runs if _unadapted(run.spec)}
    # Runs that differ in how they adapt have the same base model: its first run stands for all.
    others = {_asked(run.spec): (run, label) for run, label in _with_base(runs, labels)}
    bases = [each for asked, each in others.items() if asked not in known]
    for run, label in bases:
        found.append(_base(run, BASE if len(bases) == 1 else f"{BASE} of {label}"))
    return found


def _with_base(runs: Sequence[Run], labels: Sequence[str]) -> list[tuple[Run, str]]:
    """Return the runs with all base answers and other final ones, the last first."""
    pairs = list(zip(runs, labels, strict=True))
    return [
        (run, label)
        for run, label in reversed(pairs)
        if any(record.adapted for record in _records(run))
        and all(seed.results["base"] for seed in run.seeds)
    ]


def _final(run: Run, label: str) -> Point:
    costs = [_sum(record.costs.values()) for record in _records(run)]
    rights = comparison.rights(run, lambda record: record.final_score)
    return _point(label, _unadapted(run.spec) and _searches(run.spec), costs, rights)


def _base(run: Run, label: str) -> Point:
    costs = [record.costs.get("answer", StageCost()) for record in _records(run)]
    rights = comparison.rights(run, lambda record: record.base_score)
    return _point(label, _searches(run.spec), costs, rights)


def _point(
    label: str, search: bool, costs: Sequence[StageCost], right: Mapping[str, Sequence[bool]]
) -> Point:
    spent = _sum(costs)
    return Point(
        label,
        search,
        fmean(each for some in right.values() for each in some),
        comparison.accuracy_interval(right),
        spent.seconds / len(costs),
        (spent.prompt_tokens + spent.completion_tokens) / len(costs),
        right,
    )


def _unadapted(spec: Mapping[str, Any]) -> bool:
    return bool(spec["estimator"]["name"] == "never")


def _searches(spec: Mapping[str, Any]) -> bool:
    return str(spec["inference"]["name"]).rpartition("/")[2] in SEARCH


def _asked(spec: Mapping[str, Any]) -> str:
    """Return a digest of all that shapes an unadapted answer."""
    worded = [spec["benchmark"].get(key, usual) for key, usual in comparison.WORDING.items()]
    return json_digest([*(spec[key] for key in ("model", "engine", "inference")), *worded])


def _records(run: Run) -> list[Record]:
    return [record for seed in run.seeds for record in seed.records]


def _sum(costs: Iterable[StageCost]) -> StageCost:
    return sum(costs, StageCost())
