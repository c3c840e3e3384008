"""The generated parts of docs/findings.md, from the submissions of the study's specs.

    make study        (a part of `make docs`)

A run belongs to the study if its spec is named study-BENCHMARK, or study-BENCHMARK-PART for a part
of its rows; its submission is named by the method. Halves of a benchmark: samples are sorted by
digest; those at even places are the development half, in which a recipe may be chosen, and the
others that on which it is reported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markup import between, table
from stored import NOT_YET, named

from ttsi.results import comparison, frontier
from ttsi.results.metrics import wilson
from ttsi.results.runs import Run, open_run
from ttsi.types import Record

ROOT = Path(__file__).resolve().parent.parent
SUBMISSIONS = ROOT / "leaderboards" / "submissions"
PAGE = ROOT / "docs" / "findings.md"
BASE = "base"
"""The method with which those that do not adapt are compared; others have base answers of their
own, which were asked for as the adapted ones are."""


@dataclass(frozen=True)
class Study:
    """The runs on one benchmark (or a part) with one model, by method, the base model's first."""

    benchmark: str
    model: str
    runs: Mapping[str, Run]

    @property
    def place(self) -> list[str]:
        """The first cells of a row."""
        return [named(self.model), f"`{self.benchmark}`"]

    def beside(self, name: str) -> Run:
        """The base model's answers with which those of a method are compared."""
        run = self.runs[name]
        return _base(run) if run.spec["estimator"]["name"] != "never" else self.runs[BASE]

    def half(self, place: int) -> Study:
        """Return the runs with the samples of one half: 0 for development, 1 for reporting."""
        return replace(self, runs={name: _half(run, place) for name, run in self.runs.items()})


def studies(submissions: Path = SUBMISSIONS) -> list[Study]:
    found: dict[tuple[str, str], dict[str, Run]] = {}
    for path in sorted(submissions.glob("*/*/*/submission.json")):
        told = json.loads(path.read_text())
        run = open_run(path.parent)
        if run.name.startswith("study-"):
            place = (run.name.removeprefix("study-"), told["model"])
            found.setdefault(place, {})[told["method"]] = run
    return [
        Study(benchmark, model, {BASE: runs.pop(BASE), **runs})
        for (benchmark, model), runs in sorted(found.items())
        if BASE in runs
    ]


def _half(run: Run, place: int) -> Run:
    seeds = []
    for seed in run.seeds:
        order = sorted(record.digest for record in seed.records)
        wanted = set(order[place::2])
        records = tuple(record for record in seed.records if record.digest in wanted)
        seeds.append(replace(seed, records=records))
    return replace(run, seeds=tuple(seeds))


# ---------------------------------------------------------------- tables


def sections(found: Sequence[Study]) -> dict[str, str]:
    return {
        "methods": methods_table(found),
        "halves": halves_table(found),
        "search": search_table(found),
    }


def methods_table(found: Sequence[Study]) -> str:
    """Every method of every study, with its interval and its difference to the base model."""
    head = ["model", "benchmark", "method", "samples", "seeds", "base model", "right", "points"]
    head += ["fixed / broken", "p", "s a sample"]
    rows = [[*study.place, *row] for study in found for row in _methods(study)]
    return table(head, rows) if rows else NOT_YET


def _methods(study: Study) -> Iterator[list[str]]:
    for name, run in study.runs.items():
        right, count, seconds = _right(run), len(_records(run)), _seconds(run)
        low, high = (round(100 * each) for each in wilson(right, count) or (0, 0))
        told = [f"`{name}`", str(count // len(run.seeds)), str(len(run.seeds))]
        told.append("" if name == BASE else f"{100 * _right(study.beside(name)) / count:.1f} %")
        told.append(f"{100 * right / count:.1f} % [{low}, {high}]")
        yield [*told, *(["", "", ""] if name == BASE else _against(study, name)), f"{seconds:.1f}"]


def halves_table(found: Sequence[Study]) -> str:
    """The same comparison in each half."""
    head = ["model", "benchmark", "method"]
    head += [f"{half}: {what}" for half in ("development", "reported") for what in ("points", "p")]
    rows = []
    for study in found:
        halves = [study.half(0), study.half(1)]
        for name in study.runs:
            if name == BASE:
                continue
            sides = [_against(half, name) for half in halves]
            cells = [cell for points, _, p in sides for cell in (points, p)]
            rows.append([*study.place, f"`{name}`", *cells])
    return table(head, rows) if rows else NOT_YET


def search_table(found: Sequence[Study]) -> str:
    """Each method against the best search that takes no more seconds."""
    head = ["model", "benchmark", "method", "best search at its cost", "points", "p"]
    rows = []
    for study in found:
        made = frontier.frontier(list(study.runs.values()), list(study.runs))
        for verdict in made.verdicts:
            if verdict.cost == "seconds" and verdict.search is not None:
                points = _points(verdict.points, verdict.interval)
                told = [f"`{verdict.label}`", f"`{verdict.search}`", points, f"{verdict.p:.2g}"]
                rows.append([*study.place, *told])
    return table(head, rows) if rows else NOT_YET


def _against(study: Study, name: str) -> list[str]:
    """Return points, fixed / broken, and p of a method beside the base model."""
    made: Mapping[str, Any] = comparison.compare(study.beside(name), study.runs[name])
    points = _points(made["points"], made["points_interval"])
    return [points, f"{made['fixed']} / {made['broken']}", f"{made['p']:.2g}"]


def _base(run: Run) -> Run:
    """Return the run with its base answers in place of the final ones."""
    seeds = [
        replace(
            seed,
            records=tuple(
                replace(record, final=record.base, final_score=record.base_score)
                for record in seed.records
            ),
        )
        for seed in run.seeds
    ]
    return replace(run, seeds=tuple(seeds))


def _points(points: float | None, interval: Sequence[float] | None) -> str:
    if points is None:
        return "–"
    told = f"{points:+.1f}"
    return told if interval is None else f"{told} [{interval[0]:+.1f}, {interval[1]:+.1f}]"


def _records(run: Run) -> list[Record]:
    return [record for seed in run.seeds for record in seed.records]


def _right(run: Run) -> int:
    return sum(bool(record.final_score and record.final_score.correct) for record in _records(run))


def _seconds(run: Run) -> float:
    records = _records(run)
    return sum(cost.seconds for each in records for cost in each.costs.values()) / len(records)


def page() -> str:
    """docs/findings.md as it should be."""
    text, found = PAGE.read_text(), studies()
    for name, inside in sections(found).items():
        text = between(text, name, inside)
    return text


if __name__ == "__main__":
    PAGE.write_text(page())
