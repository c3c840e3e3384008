"""The generated parts of docs/findings.md, from the submissions of the study's specs.

    make study        (a part of `make docs`)

A run belongs to the study if its spec is named study-BENCHMARK, or study-BENCHMARK-PART for a part
of its rows; its submission is named by the method. Development and reporting: of a study of more
rows (`WIDER`) those are the development rows that were seen before, and of one that is `UNTOUCHED`
there are none; of others, samples are sorted by digest, and those at even places are the
development half. There a recipe may be chosen; what it is worth is told by the other rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import study_examples
from markup import between, table
from stored import NOT_YET, accuracy, named

from ttsi.results import comparison, frontier
from ttsi.results.metrics import outcome
from ttsi.results.runs import Run, open_run
from ttsi.types import Record

ROOT = Path(__file__).resolve().parent.parent
SUBMISSIONS = ROOT / "leaderboards" / "submissions"
ESTIMATORS = ROOT / "docs" / "results" / "estimators"
"""What `ttsi calibrate --json` printed of several estimators, a file for each benchmark."""
PAGE = ROOT / "docs" / "findings.md"
BASE = "base"
"""The method with which those that do not adapt are compared; others have base answers of their
own, which were asked for as the adapted ones are."""


OTHER_BASES = {"paper-worded": ("paper", "paper-base")}
"""Methods that do not adapt and have another setting than `base`, and runs whose base answers are
of that setting: the first that there is."""

PLAIN = (BASE, "paper-base")
"""The base model in the settings: what the others are compared with."""

UNTOUCHED = ("apibank", "nexusraven", "sealtool-shuffled-more")
"""Studies from whose rows no method was made: all of them are reported."""

WIDER = {
    "sealtool-all": ["sealtool"],
    "bfcl-calls-more": ["bfcl-calls", "bfcl"],
    "apibank-more": ["apibank"],
}
"""Studies of more rows, and those whose answers were looked at before they were run."""


@dataclass(frozen=True)
class Study:
    """The runs on one benchmark (or a part) with one model, by method, the base model's first.

    `seen` are ids of samples that were looked at before these runs; where it is None, halves are
    made.
    """

    benchmark: str
    model: str
    runs: Mapping[str, Run]
    seen: frozenset[str] | None = None

    @property
    def place(self) -> list[str]:
        """The first cells of a row."""
        return [named(self.model), f"`{self.benchmark}`"]

    def beside(self, name: str) -> Run:
        """The base model's answers with which those of a method are compared."""
        others = OTHER_BASES.get(name, (name,))
        run = next(self.runs[each] for each in others if each in self.runs)
        if run.spec["estimator"]["name"] != "never":
            return _base(run)
        return run if name in OTHER_BASES else self.runs[BASE]

    def halves(self) -> tuple[Study, Study]:
        """Return the runs with the samples for development, and with those for reporting."""
        records = sorted(_records(self.runs[BASE]), key=lambda record: record.digest)
        ids = list(dict.fromkeys(record.id for record in records))
        first = frozenset(ids[::2]) if self.seen is None else self.seen
        return self._of(first), self._of(frozenset(ids) - first)

    def _of(self, ids: frozenset[str]) -> Study:
        return replace(self, runs={name: _part(run, ids) for name, run in self.runs.items()})


def studies(submissions: Path = SUBMISSIONS) -> list[Study]:
    found: dict[tuple[str, str], dict[str, Run]] = {}
    for path in sorted(submissions.glob("*/*/*/submission.json")):
        told = json.loads(path.read_text())
        run = open_run(path.parent)
        if run.name.startswith("study-"):
            place = (run.name.removeprefix("study-"), told["model"])
            found.setdefault(place, {})[told["method"]] = run
    return [
        Study(benchmark, model, {BASE: runs[BASE], **runs}, _seen(benchmark, model, found))
        for (benchmark, model), runs in sorted(found.items())
        if BASE in runs
    ]


def _seen(
    benchmark: str, model: str, found: Mapping[tuple[str, str], Mapping[str, Run]]
) -> frozenset[str] | None:
    if benchmark not in WIDER:
        return frozenset() if benchmark in UNTOUCHED else None
    before = [found.get((each, model), {}) for each in WIDER[benchmark]]
    return frozenset(
        record.id for runs in before for run in runs.values() for record in _records(run)
    )


def _with(run: Run, made: Callable[[Iterable[Record]], Iterable[Record]]) -> Run:
    """Return the run with other records, which are made of those of each seed."""
    seeds = [replace(seed, records=tuple(made(seed.records))) for seed in run.seeds]
    return replace(run, seeds=tuple(seeds))


def _part(run: Run, ids: frozenset[str]) -> Run:
    """Return the run with the records of these samples."""
    return _with(run, lambda records: (each for each in records if each.id in ids))


# ---------------------------------------------------------------- tables


def sections(found: Sequence[Study]) -> dict[str, str]:
    return {
        "methods": methods_table(found),
        "halves": halves_table(found),
        "search": search_table(found),
        "estimators": estimators_table(sorted(ESTIMATORS.glob("*.json"))),
        **study_examples.sections(),
    }


def methods_table(found: Sequence[Study]) -> str:
    """Every method of every study, with its interval and its difference to the base model."""
    head = ["model", "benchmark", "method", "samples", "seeds", "base model", "right", "points"]
    head += ["fixed / broken", "p", "s a sample"]
    rows = [[*study.place, *row] for study in found for row in _methods(study)]
    return table(head, rows) if rows else NOT_YET


def _methods(study: Study) -> Iterator[list[str]]:
    for name, run in study.runs.items():
        seeds, own = len(run.seeds), _outcome(run)
        beside = "" if name in PLAIN else f"{100 * _outcome(study.beside(name))['accuracy']:.1f} %"
        told = [f"`{name}`", str(own["samples"] // seeds), str(seeds), beside, accuracy(own)]
        against = ["", "", ""] if name in PLAIN else _against(study, name)
        yield [*told, *against, f"{_seconds(run):.1f}"]


def halves_table(found: Sequence[Study]) -> str:
    """The same comparison in the rows for development, and in those for reporting."""
    told = ("samples", "points", "fixed / broken", "p")
    head = ["model", "benchmark", "method"]
    head += [f"{half}: {what}" for half in ("development", "reported") for what in told]
    rows = []
    for study in found:
        halves = study.halves()
        for name in study.runs:
            if name not in PLAIN:
                cells = [[str(len(_records(h.runs[name]))), *_against(h, name)] for h in halves]
                rows.append([*study.place, f"`{name}`", *cells[0], *cells[1]])
    return table(head, rows) if rows else NOT_YET


def search_table(found: Sequence[Study]) -> str:
    """Each method against the best search that takes no more seconds."""
    head = ["model", "benchmark", "method", "best search at its cost", "points", "p"]
    rows = []
    for study in found:
        for runs in _by_setting(study):
            made = frontier.frontier(list(runs.values()), list(runs))
            for verdict in made.verdicts:
                if verdict.cost == "seconds" and verdict.search is not None:
                    points = _points(verdict.points, verdict.interval)
                    told = [f"`{verdict.label}`", f"`{verdict.search}`", points, f"{verdict.p:.2g}"]
                    rows.append([*study.place, *told])
    return table(head, rows) if rows else NOT_YET


def _by_setting(study: Study) -> list[dict[str, Run]]:
    """Return the runs apart by prompt and format: each has a base model of its own."""
    found: dict[tuple[str, ...], dict[str, Run]] = {}
    for name, run in study.runs.items():
        setting = (run.spec["inference"]["format"], str(run.spec["benchmark"].get("instruction")))
        found.setdefault(setting, {})[name] = run
    return list(found.values())


def estimators_table(files: Sequence[Path]) -> str:
    """Estimators over the same base answers."""
    head = ["model", "benchmark", "estimator", "samples", "AUROC", "PRR", "ECE", "J"]
    head += ["accuracy, 25 % adapted", "s a sample"]
    rows = []
    for file in files:
        told = json.loads(file.read_text())
        for row in told["rows"]:
            figures = [_decimal(row[key]) for key in ("auroc", "prr", "ece", "j")]
            chosen = "–" if row["selection"] is None else f"{100 * row['selection']:.1f} %"
            name = f"`{row['estimator']['name']}`"
            cells = [named(told["model"]), f"`{told['benchmark']}`", name, str(told["samples"])]
            rows.append([*cells, *figures, chosen, _decimal(row["seconds"])])
    return table(head, rows) if rows else NOT_YET


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _against(study: Study, name: str) -> list[str]:
    """Return points, fixed / broken, and p of a method beside the base model."""
    if not _records(study.runs[name]):
        return ["–", "–", "–"]
    made: Mapping[str, Any] = comparison.compare(study.beside(name), study.runs[name])
    points = _points(made["points"], made["points_interval"])
    return [points, f"{made['fixed']} / {made['broken']}", f"{made['p']:.2g}"]


def _base(run: Run) -> Run:
    """Return the run with its base answers in place of the final ones."""
    return _with(
        run,
        lambda records: (
            replace(each, final=each.base, final_score=each.base_score) for each in records
        ),
    )


def _points(points: float | None, interval: Sequence[float] | None) -> str:
    if points is None:
        return "–"
    told = f"{points:+.1f}"
    return told if interval is None else f"{told} [{interval[0]:+.1f}, {interval[1]:+.1f}]"


def _records(run: Run) -> list[Record]:
    return [record for seed in run.seeds for record in seed.records]


def _outcome(run: Run) -> Mapping[str, Any]:
    return outcome([record.final_score for record in _records(run)])


def _seconds(run: Run) -> float:
    records = _records(run)
    return sum(cost.seconds for each in records for cost in each.costs.values()) / len(records)


def page(found: Sequence[Study]) -> str:
    """docs/findings.md as it should be."""
    text = PAGE.read_text()
    for name, inside in sections(found).items():
        text = between(text, name, inside)
    return text


if __name__ == "__main__":
    PAGE.write_text(page(studies()))
