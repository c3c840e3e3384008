"""What a report says of one run: its numbers over the seeds, and the benchmark's samples if any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from ttsi.errors import TtsiError
from ttsi.results import calibration, comparison, metrics
from ttsi.results.calibration import Case
from ttsi.results.runs import Run, SeedRun
from ttsi.types import Record, Sample, Score


@dataclass(frozen=True)
class Measure:
    """A share, or a difference of two, in the mean over the seeds.

    `interval`: 95 %, over samples: Wilson's for an accuracy of one seed, else by bootstrap of whole
    samples. Of several seeds `each` holds their values, `spread` their sd and t-interval.
    """

    value: float
    interval: Sequence[float] | None = None
    each: tuple[float, ...] = ()
    spread: Mapping[str, Any] | None = None


class Facts:
    """One run as the report sees it. Seeds without a record count for nothing.

    `pooled` is results.json of a single seed, and the same numbers over the records of all seeds
    where there are several: good for counts and curves, not for intervals.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.seeds: list[SeedRun] = [seed for seed in run.seeds if seed.records]
        self.samples, self.trouble = _samples(run)

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
        """Whether every seed's samples can be compared with the base model's answers."""
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
        """Of the difference, exact and two-sided: McNemar's, or its like for samples in seeds."""
        if not self.paired:
            return None
        gains: Counter[str] = Counter()
        for record, gain in zip(self.records, self._gains, strict=True):
            gains[record.id] += gain
        return comparison.sign_flip(list(gains.values()))

    @cached_property
    def cases(self) -> list[Case]:
        """What the estimator's curves are made of; none without the base model's answers.

        With some of them only, those of the confident samples, the curves would mislead.
        """
        return calibration.cases_of(self.records) if self.paired else []

    @property
    def confidences(self) -> list[float]:
        return [record.estimate.confidence for record in self.records if record.estimate]

    @property
    def graded(self) -> bool:
        """Whether the estimator tells samples apart at all; `always` and `never` do not."""
        return len(set(self.confidences)) > 1

    @property
    def errors(self) -> int:
        return int(self.pooled["errors"])

    @cached_property
    def threshold(self) -> float | None:
        """Uncertain were those below it. Under a budget it is the least confidence of the rest."""
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
    def missing(self) -> int:
        """How many samples of the benchmark an unfinished run has not come to yet."""
        if self.samples is None:
            return 0
        return sum(max(len(self.samples) - len(seed.records), 0) for seed in self.run.seeds)

    def sample(self, record: Record) -> Sample | None:
        """The benchmark's sample, if it is the one that was run."""
        found = (self.samples or {}).get(record.id)
        return found if found is not None and found.digest == record.digest else None

    @cached_property
    def changed(self) -> int:
        """Records whose sample is no longer in the benchmark as it was."""
        if self.samples is None:
            return 0
        return sum(self.sample(record) is None for record in self.records)

    @property
    def _gains(self) -> list[int]:
        """Of each record: 1 where it was fixed, -1 where it was broken."""
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
        """The mean over the seeds of one value a record, for each sample."""
        found: dict[str, list[int]] = {}
        for record, value in zip(self.records, values, strict=True):
            found.setdefault(record.id, []).append(value)
        return [fmean(some) for some in found.values()]


def _right(score: Score | None) -> int:
    return int(score is not None and score.correct)


def _samples(run: Run) -> tuple[dict[str, Sample] | None, str]:
    """The benchmark's samples, or why there are none."""
    try:
        return run.samples, ""
    except TtsiError as error:
        return None, str(error)
    except Exception as error:  # a benchmark is anybody's code, and the rest is worth showing
        return None, f"{type(error).__name__}: {error}"
