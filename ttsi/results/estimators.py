"""Estimators side by side: runs over the same samples that differ in nothing but H.

An answer depends on no estimator, so the runs lend each other base and adapted answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean
from typing import Any

from ttsi.errors import UsageError
from ttsi.results import calibration, comparison
from ttsi.results.calibration import Case
from ttsi.results.runs import Run
from ttsi.types import JSON

SHARE = 0.25
_SHAPES_ANSWERS = ("model", "engine", "generator", "learner", "inference")


@dataclass(frozen=True)
class Rated:
    """An estimator's cases over all seeds; `errors`: samples without an estimate or base answer."""

    label: str
    estimator: Mapping[str, Any]
    cases: Sequence[Case]
    errors: int
    seconds: float | None


def rated(runs: Sequence[Run], labels: Sequence[str]) -> list[Rated]:
    """Return the cases of each run's estimator, with the answers of all runs.

    Raises UsageError where the runs differ in more than how they estimate, or are over other
    samples.
    """
    for run in runs[1:]:
        comparison.paired(runs[0], run)
        _differ_in_estimator_alone(runs[0], run)
    wrong, mended = _answers(runs)
    return [_rated(run, label, wrong, mended) for run, label in zip(runs, labels, strict=True)]


def _differ_in_estimator_alone(a: Run, b: Run) -> None:
    for key in _SHAPES_ANSWERS:
        if a.spec[key] != b.spec[key]:
            raise UsageError(
                f"The runs differ in their {key}, so their estimators cannot be compared.",
                where=f"{a.folder} and {b.folder}",
                cure="Choose runs that differ in the estimator alone; `ttsi compare` takes others.",
            )


def _answers(
    runs: Sequence[Run],
) -> tuple[dict[tuple[int, str], bool], dict[tuple[int, str], bool]]:
    """Return, by seed and sample, whether the base answer is wrong, and the adapted one right."""
    wrong: dict[tuple[int, str], bool] = {}
    mended: dict[tuple[int, str], bool] = {}
    for run in runs:
        for seed in run.seeds:
            for record in seed.records:
                if record.base_score:
                    wrong.setdefault((seed.seed, record.id), not record.base_score.correct)
                adapted = calibration.adapted_correct(record)
                if adapted is not None:
                    mended.setdefault((seed.seed, record.id), adapted)
    return wrong, mended


def _rated(
    run: Run,
    label: str,
    wrong: Mapping[tuple[int, str], bool],
    mended: Mapping[tuple[int, str], bool],
) -> Rated:
    records = [((seed.seed, each.id), each) for seed in run.seeds for each in seed.records]
    cases = [
        Case(each.id, each.estimate.confidence, wrong[key], mended.get(key))
        for key, each in records
        if each.estimate and key in wrong
    ]
    spent = [each.costs["estimate"].seconds for _, each in records if "estimate" in each.costs]
    seconds = fmean(spent) if spent else None
    return Rated(label, run.spec["estimator"], cases, len(records) - len(cases), seconds)


# ---------------------------------------------------------------- what is measured


def side_by_side(
    runs: Sequence[Run], labels: Sequence[str], share: float = SHARE
) -> dict[str, JSON]:
    """Return what `ttsi calibrate RUN RUN ...` prints: a row for each run's estimator.

    Raises UsageError as `rated`, and for a share outside [0, 1].
    """
    calibration.check_budget(share)
    every = rated(runs, labels)
    return {
        "schema": "ttsi.estimators/1",
        "benchmark": runs[0].spec["benchmark"]["name"],
        "model": runs[0].spec["model"]["id"],
        "samples": len(every[0].cases) + every[0].errors,
        "seeds": [seed.seed for seed in runs[0].seeds],
        "share": share,
        "rows": [_row(each, share) for each in every],
    }


def _row(each: Rated, share: float) -> dict[str, JSON]:
    best: dict[str, Any] = calibration.suggest(each.cases, each.errors)["by_j"] or {}
    accuracy, lacking = selection(each.cases, share, each.errors)
    return {
        "label": each.label,
        "estimator": dict(each.estimator),
        "errors": each.errors,
        "auroc": calibration.auroc(each.cases),
        "prr": prr(each.cases),
        "ece": ece(each.cases),
        "j": best.get("j"),
        "threshold": best.get("threshold"),
        "seconds": each.seconds,
        "selection": accuracy,
        "lacking": lacking,
    }


def prr(cases: Sequence[Case]) -> float | None:
    """Return the prediction rejection ratio: 0 as good as chance, 1 as good as an oracle.

    It is (r - A) / (r - B): r is the error rate, A the mean of the error rates of the 1, 2, ... all
    most confident answers, and B that mean where all right answers precede all wrong ones. None for
    a single kind of answer.
    """
    wrong = sum(case.wrong for case in cases)
    if wrong in (0, len(cases)):
        return None
    rate = wrong / len(cases)
    ours = _mean_risk(_errors_in_order(cases))
    oracle = _mean_risk([0.0] * (len(cases) - wrong) + [1.0] * wrong)
    return (rate - ours) / (rate - oracle)


def _errors_in_order(cases: Sequence[Case]) -> list[float]:
    """Return 1 for wrong and 0 for right, most confident first; ties have their mean."""
    return [
        wrong / size
        for size, wrong in reversed(calibration.least_confident_first(cases))
        for _ in range(size)
    ]


def _mean_risk(errors: Sequence[float]) -> float:
    return fmean(total / count for count, total in enumerate(accumulate(errors), start=1))


def ece(cases: Sequence[Case]) -> float | None:
    """Return the expected calibration error: |mean u - share right|, over tenths of the scale."""
    if not cases:
        return None
    bins = calibration.reliability(cases)
    return sum(count * abs(mean - right) for mean, right, count in bins) / len(cases)


def selection(cases: Sequence[Case], share: float, errors: int = 0) -> tuple[float | None, int]:
    """Return the accuracy where the least confident `share` is adapted to, and None if unknown.

    The second number counts the samples in that share whose adapted answer is not known. Of ties at
    its edge any may be chosen: the accuracy is the mean over the choices, and all must be known.
    """
    everyone = len(cases) + errors
    left, right, lacking = min(round(share * everyone), len(cases)), 0.0, 0
    groups: dict[float, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.confidence, []).append(case)
    for _, group in sorted(groups.items()):
        taken = min(left, len(group)) / len(group)
        left -= min(left, len(group))
        right += (1 - taken) * sum(not case.wrong for case in group)
        if taken:
            right += taken * sum(case.adapted_correct is True for case in group)
            lacking += sum(case.adapted_correct is None for case in group)
    return (None if lacking or not everyone else right / everyone), lacking
