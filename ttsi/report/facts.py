"""The facts of a run for a report: its numbers over the seeds, and the benchmark's samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from ttsi.results import calibration, comparison, metrics, synthetic
from ttsi.results.agreement import rescored
from ttsi.results.calibration import Case
from ttsi.results.runs import Run, SeedRun, known_samples
from ttsi.solving import assemble
from ttsi.spec import load_spec
from ttsi.types import Record, Sample, Score, StageCost


@dataclass(frozen=True)
class Measure:
    """A share, or a difference of two shares, as a mean over the seeds.

    `interval`: 95 %, over samples: Wilson's for an accuracy of one seed, else by bootstrap of whole
    samples. With several seeds, `each` has the value of each and `spread` their sd and t-interval.
    """

    value: float
    interval: Sequence[float] | None = None
    each: tuple[float, ...] = ()
    spread: Mapping[str, Any] | None = None


class Facts:
    """The facts of one run. Seeds without a record are left out.

    `pooled`: with one seed its results.json, with several the same numbers over the records of all.
    These serve for counts and curves but not for intervals, since records of a sample are not
    independent. `samples`: the benchmark's, or None with the reason in `trouble`.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.seeds: list[SeedRun] = [seed for seed in run.seeds if seed.records]
        self.samples, self.trouble = known_samples(run)

    @cached_property
    def records(self) -> list[Record]:
        return [record for seed in self.seeds for record in seed.records]

    @cached_property
    def pooled(self) -> Mapping[str, Any]:
        if len(self.seeds) == 1:
            return self.seeds[0].results
        return metrics.summarise(self.records)

    @property
    def paired(self) -> bool:
        """Whether the base model answered the samples of every seed."""
        return bool(self.seeds) and all(seed.results["base"] for seed in self.seeds)

    @cached_property
    def base(self) -> Measure | None:
        if not self.paired:
            return None
        outcomes = [seed.results["base"] for seed in self.seeds]
        return self._accuracy(outcomes, [record.base_score for record in self.records])

    @cached_property
    def final(self) -> Measure | None:
        if not self.seeds:
            return None
        outcomes = [seed.results for seed in self.seeds]
        return self._accuracy(outcomes, [record.final_score for record in self.records])

    @cached_property
    def difference(self) -> Measure | None:
        """Final minus base accuracy."""
        if not self.paired:
            return None
        values = [s.results["accuracy"] - s.results["base"]["accuracy"] for s in self.seeds]
        return self._measure(values, comparison.bootstrap(self._by_sample(self._gains)))

    @cached_property
    def p(self) -> float | None:
        """The difference's exact two-sided p: McNemar's; for several seeds by sign flips."""
        if not self.paired:
            return None
        gains: Counter[str] = Counter()
        for record, gain in zip(self.records, self._gains, strict=True):
            gains[record.id] += gain
        return comparison.sign_flip(list(gains.values()))

    @cached_property
    def cases(self) -> list[Case]:
        """The cases for the estimator's curves; none unless the base model answered every sample.

        Curves over the answers of confident samples alone would mislead.
        """
        return calibration.cases_of(self.records) if self.paired else []

    @property
    def confidences(self) -> list[float]:
        return [record.estimate.confidence for record in self.records if record.estimate]

    @property
    def graded(self) -> bool:
        """Whether confidences differ; those of `always` and `never` do not."""
        return len(set(self.confidences)) > 1

    @property
    def errors(self) -> int:
        return int(self.pooled["errors"])

    @cached_property
    def threshold(self) -> float | None:
        """The confidence below which samples were uncertain; None where it is not known.

        Under a budget, it is the lowest confidence of the certain samples.
        """
        if self.run.spec.get("budget") is None:
            found = self.run.spec["estimator"].get("threshold")
            return None if found is None else float(found)
        rest = [
            r.estimate.confidence for r in self.records if r.estimate and not r.estimate.uncertain
        ]
        return min(rest, default=None)

    @cached_property
    def seconds_per_uncertain(self) -> float | None:
        found = self.pooled["stages"]["seconds_per_uncertain_sample"]
        return None if found is None else float(found)

    @cached_property
    def made(self) -> list[synthetic.Made]:
        """The synthetic examples, by task."""
        seen = {record.id: self.sample(record) for record in self.records}
        return synthetic.made(self.records, {k: s.task.input for k, s in seen.items() if s})

    @cached_property
    def cost(self) -> StageCost:
        """All that the run spent."""
        spent = (cost for record in self.records for cost in record.costs.values())
        return sum(spent, StageCost())

    @cached_property
    def missing(self) -> int:
        """The number of samples of the benchmark, over all seeds, that have no record yet."""
        if self.samples is None:
            return 0
        return sum(max(len(self.samples) - len(seed.records), 0) for seed in self.run.seeds)

    def sample(self, record: Record) -> Sample | None:
        """Return the record's sample, or None where the benchmark no longer has it unchanged."""
        found = (self.samples or {}).get(record.id)
        return found if found is not None and found.digest == record.digest else None

    @cached_property
    def changed(self) -> int:
        """The number of records whose sample the benchmark no longer has unchanged."""
        if self.samples is None:
            return 0
        return sum(self.sample(record) is None for record in self.records)

    @cached_property
    def unearned(self) -> int:
        """The number of records whose scores are not what their answers earn, as far as known."""
        unchanged = {r.id: found for r in self.records if (found := self.sample(r)) is not None}
        try:
            named = {key: dict(self.run.spec[key]) for key in ("benchmark", "scorer")}
            (spec,) = load_spec(named, environment=False)
            return sum(1 for _ in rescored(self.records, unchanged, assemble.scorer(spec)))
        except Exception:  # a plugin may raise anything, and the rest can still be shown
            return 0

    @property
    def _gains(self) -> list[int]:
        """For each record: 1 where it was fixed, -1 where it was broken, else 0."""
        return [_right(record.final_score) - _right(record.base_score) for record in self.records]

    def _accuracy(
        self, outcomes: Sequence[Mapping[str, Any]], scores: Sequence[Score | None]
    ) -> Measure:
        if len(outcomes) == 1:
            return Measure(float(outcomes[0]["accuracy"]), outcomes[0]["accuracy_interval"])
        shares = self._by_sample([_right(score) for score in scores])
        return self._measure(
            [outcome["accuracy"] for outcome in outcomes], comparison.bootstrap(shares)
        )

    def _measure(self, values: Sequence[float], interval: Sequence[float] | None) -> Measure:
        if len(values) == 1:
            return Measure(values[0], interval)
        spread = metrics.spread(values)
        return Measure(float(spread["mean"]), interval, tuple(values), spread)

    def _by_sample(self, values: Sequence[int]) -> list[float]:
        """Return each sample's mean over the seeds; `values` has one value for each record."""
        found: dict[str, list[int]] = {}
        for record, value in zip(self.records, values, strict=True):
            found.setdefault(record.id, []).append(value)
        return [fmean(some) for some in found.values()]


def _right(score: Score | None) -> int:
    return int(score is not None and score.correct)
