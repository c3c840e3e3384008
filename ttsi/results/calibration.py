"""The results that other thresholds would have given, from existing estimates and answers.

A sample is uncertain iff its confidence u is below the threshold (Eq. 4), and neither its base
answer nor its adapted answer depends on the threshold. So one set of estimates gives the TPR, FPR,
J and F1 of every threshold, and a run in which all samples were adapted also gives its accuracy.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from statistics import fmean
from typing import Any

from ttsi.errors import RunError, UsageError
from ttsi.results import metrics
from ttsi.results.runs import Run
from ttsi.types import JSON, Record

COVERAGES = (0.25, 0.5, 0.75, 1.0)
TENTHS = tuple(number / 10 for number in range(11))


@dataclass(frozen=True, slots=True)
class Case:
    """The data of one sample for calibration.

    `wrong`: the base answer is wrong. `adapted_correct`: whether the final answer is right after an
    attempt to adapt; None if there was none. Without a valid example the base answer is final.
    """

    id: str
    confidence: float
    wrong: bool
    adapted_correct: bool | None


def cases_of(records: Sequence[Record]) -> list[Case]:
    """Return the cases of the records that have an estimate and a scored base answer."""
    return [
        Case(
            record.id,
            record.estimate.confidence,
            not record.base_score.correct,
            adapted_correct(record),
        )
        for record in records
        if record.estimate and record.base_score
    ]


def adapted_correct(record: Record) -> bool | None:
    """Return whether the final answer is right after an attempt to adapt; None without one.

    It is not known of an episode: at another threshold other steps of it would be adapted.
    """
    if record.steps:
        return None
    # Costs alone do not show it: the budget's choice may have changed since.
    tried = record.adapted or record.refused or (record.uncertain and "generate" in record.costs)
    return record.final_score.correct if tried and record.final_score else None


def at_threshold(cases: Sequence[Case], threshold: float, errors: int = 0) -> dict[str, JSON]:
    """Return what a run at `threshold` gives; see `sweep`."""
    return sweep(cases, [threshold], errors)[0]


def thresholds(cases: Sequence[Case]) -> list[float]:
    """Return a threshold in [0, 1] for every possible outcome, from no sample uncertain to all.

    If a confidence is 1, no threshold makes all samples uncertain.
    """
    return _cuts([case.confidence for case in cases])


def sweep(
    cases: Sequence[Case], thresholds: Sequence[float], errors: int = 0
) -> list[dict[str, JSON]]:
    """Return what a run at each threshold gives: uncertain, TPR, FPR, J, F1 and accuracy.

    `accuracy` is None if an adapted answer that it needs is missing. The `errors` failed samples
    count as wrong at any threshold. Takes n log n for n cases and as many thresholds.
    """
    ordered = sorted(cases, key=lambda case: case.confidence)
    confidences = [case.confidence for case in ordered]
    # Of the first k cases: how many are wrong, are right when adapted, and lack that answer.
    wrong, mended, unknown = (
        list(accumulate(counted, initial=0))
        for counted in (
            [case.wrong for case in ordered],
            [case.adapted_correct is True for case in ordered],
            [case.adapted_correct is None for case in ordered],
        )
    )
    rows: list[dict[str, JSON]] = []
    for threshold in thresholds:
        flagged = bisect_left(confidences, threshold)
        kept_right = len(cases) - flagged - (wrong[-1] - wrong[flagged])
        known = bool(cases) and not unknown[flagged]
        correct = mended[flagged] + kept_right
        rows.append(
            {
                "threshold": threshold,
                "uncertain": flagged,
                **metrics.rates(len(cases), wrong[-1], flagged, wrong[flagged]),
                "accuracy": correct / (len(cases) + errors) if known else None,
                "accuracy_known": known,
            }
        )
    return rows


def _cuts(confidences: Sequence[float]) -> list[float]:
    values = sorted(set(confidences))
    cuts = [0.0, *(_between(low, high) for low, high in pairwise(values))]
    return [*cuts, 1.0] if values and values[-1] < 1 else cuts


def _between(low: float, high: float) -> float:
    """Return the shortest decimal t near the middle with low < t <= high."""
    for digits in range(1, 18):
        rounded = round((low + high) / 2, digits)
        if low < rounded <= high:
            return rounded
    return high


# ---------------------------------------------------------------- curves


def roc(cases: Sequence[Case]) -> list[tuple[float, float]]:
    """Return (FPR, TPR) from (0, 0) to (1, 1), ties in one step; empty for a single class."""
    wrong = sum(case.wrong for case in cases)
    right = len(cases) - wrong
    if not wrong or not right:
        return []
    points, hits, false_alarms = [(0.0, 0.0)], 0, 0
    for size, wrong_ones in least_confident_first(cases):
        hits += wrong_ones
        false_alarms += size - wrong_ones
        points.append((false_alarms / right, hits / wrong))
    return points


def auroc(cases: Sequence[Case]) -> float | None:
    """Return the chance that a wrong answer has lower confidence than a right one; ties half."""
    return metrics.auroc(
        [case.confidence for case in cases if case.wrong],
        [case.confidence for case in cases if not case.wrong],
    )


def risk_coverage(cases: Sequence[Case]) -> list[tuple[float, float]]:
    """Return (coverage, risk): the share answered, most confident first, and its error rate.

    There is one point for each distinct confidence, so ties are answered together.
    """
    points, answered, errors = [], 0, 0
    for size, wrong in reversed(least_confident_first(cases)):
        answered += size
        errors += wrong
        points.append((answered / len(cases), errors / answered))
    return points


def risk_at(cases: Sequence[Case], coverage: float) -> float | None:
    """Return the risk when the share `coverage` is answered, rounded up to whole samples.

    If the last sample is one of several ties, this is the mean over the possible choices.
    """
    wanted = max(1, math.ceil(coverage * len(cases) - 1e-9))
    answered, errors = 0, 0.0
    for size, wrong in reversed(least_confident_first(cases)):
        taken = min(size, wanted - answered)
        answered += taken
        errors += wrong * taken / size
    return errors / wanted if cases else None


def reliability(cases: Sequence[Case], bins: int = 10) -> list[tuple[float, float, int]]:
    """Return (mean confidence, share right, count) of each non-empty bin of equal width."""
    filled: dict[int, list[Case]] = {}
    for case in sorted(cases, key=lambda case: case.confidence):
        filled.setdefault(min(int(case.confidence * bins), bins - 1), []).append(case)
    return [
        (
            fmean(case.confidence for case in some),
            fmean(not case.wrong for case in some),
            len(some),
        )
        for some in filled.values()
    ]


def brier(cases: Sequence[Case]) -> float | None:
    """Return the Brier score: the mean of (u - right)^2, u as the chance to be right."""
    if not cases:
        return None
    return fmean((case.confidence - (not case.wrong)) ** 2 for case in cases)


def least_confident_first(cases: Sequence[Case]) -> list[tuple[int, int]]:
    """Return (cases, wrong cases) of each distinct confidence, in ascending order."""
    ordered = sorted(cases, key=lambda case: case.confidence)
    groups = (list(some) for _, some in groupby(ordered, key=lambda case: case.confidence))
    return [(len(some), sum(case.wrong for case in some)) for some in groups]


# ---------------------------------------------------------------- choices


def suggest(cases: Sequence[Case], errors: int = 0) -> dict[str, JSON]:
    """Return the thresholds with the largest J and accuracy, as `at_threshold` gives them.

    Among equals the lowest threshold is chosen, which adapts least. None if no threshold has that
    number.
    """
    rows = sweep(cases, thresholds(cases), errors)
    return {"by_j": _best(rows, "j"), "by_accuracy": _best(rows, "accuracy")}


def _best(rows: Sequence[dict[str, Any]], key: str) -> dict[str, JSON] | None:
    known = [row for row in rows if row[key] is not None]
    return max(known, key=lambda row: float(row[key]), default=None)


def suggest_by_budget(confidences: Sequence[float], fraction: float) -> float:
    """Return the threshold below which that fraction of `confidences` lies, in whole samples.

    If equal confidences straddle the fraction, it is the largest threshold that stays within it.
    Raises UsageError for no confidences, or a fraction outside [0, 1].
    """
    check_budget(fraction)
    if not confidences:
        raise UsageError(
            "There are no estimates to share a budget among.", cure="Choose a run that has some."
        )
    allowed = round(fraction * len(confidences))
    ordered = sorted(confidences)
    return max(cut for cut in _cuts(ordered) if bisect_left(ordered, cut) <= allowed)


def check_budget(fraction: float) -> None:
    """Raise UsageError unless the fraction is in [0, 1]."""
    if not 0 <= fraction <= 1:
        what = f"A budget of {fraction:g} is not a share of the samples."
        raise UsageError(what, cure="Choose one from 0 to 1: 0.25 is the least confident quarter.")


def _below(confidences: Sequence[float], threshold: float) -> int:
    return sum(confidence < threshold for confidence in confidences)


# ---------------------------------------------------------------- of a run


def calibrate(
    run: Run, chosen: Sequence[float] | None = None, budget: float | None = None
) -> dict[str, JSON]:
    """Return what `ttsi calibrate` prints: the numbers over all seeds (`all`) and per seed.

    The sweep is over the `chosen` thresholds, or else over those that make each tenth of the
    samples uncertain, the run's own and the suggested ones. Raises RunError if no sample has an
    estimate.
    """
    own = own_threshold(run.spec)
    together = [record for seed in run.seeds for record in seed.records]
    if not any(record.estimate for record in together):
        raise RunError(
            "No sample of this run has an estimate.",
            where=str(run.folder),
            cure="Its journal says what failed; mend that and run its spec again.",
        )
    return {
        "schema": "ttsi.calibration/1",
        "name": run.name,
        "folder": str(run.folder),
        "model": run.spec["model"]["id"],
        "benchmark": run.spec["benchmark"]["name"],
        "estimator": dict(run.spec["estimator"]),
        "threshold": own,
        "all": numbers(together, chosen, budget, own),
        "by_seed": {
            str(seed.seed): numbers(seed.records, chosen, budget, own) for seed in run.seeds
        },
    }


def own_threshold(spec: Mapping[str, Any]) -> float | None:
    """Return the threshold of a run; None under a budget or for an estimator without one."""
    threshold = spec["estimator"].get("threshold")
    return None if threshold is None or spec.get("budget") is not None else float(threshold)


def numbers(
    records: Sequence[Record],
    chosen: Sequence[float] | None = None,
    budget: float | None = None,
    own: float | None = None,
) -> dict[str, JSON]:
    """Return sweep, AUROC, risks, reliability and suggestions of some records.

    `labelled` is False if an estimated sample has no scored base answer. Only confident samples
    then have one, and rates over them alone would mislead, so no rate is given.
    """
    confidences = [record.estimate.confidence for record in records if record.estimate]
    errors = len(records) - len(confidences)
    cases = cases_of(records)
    labelled = bool(cases) and len(cases) == len(confidences)
    if not labelled:
        cases = []
    suggested = suggest(cases, errors)
    shown = list(chosen or _telling(confidences, own, suggested))
    return {
        "samples": len(records),
        "errors": errors,
        "labelled": labelled,
        "wrong": sum(case.wrong for case in cases) if labelled else None,
        "auroc": auroc(cases),
        "risk_at_coverage": {f"{100 * share:.0f}": risk_at(cases, share) for share in COVERAGES},
        "brier": brier(cases),
        "reliability": [list(some) for some in reliability(cases)],
        "suggested": suggested,
        "budget": None if budget is None else _of_budget(confidences, budget),
        "sweep": [
            {**row, "uncertain": _below(confidences, threshold)}
            for threshold, row in zip(shown, sweep(cases, shown, errors), strict=True)
        ],
    }


def _of_budget(confidences: Sequence[float], budget: float) -> dict[str, JSON]:
    if not confidences:
        return {"fraction": budget, "threshold": None, "uncertain": 0}
    threshold = suggest_by_budget(confidences, budget)
    return {
        "fraction": budget,
        "threshold": threshold,
        "uncertain": _below(confidences, threshold),
    }


def _telling(
    confidences: Sequence[float], own: float | None, suggested: dict[str, Any]
) -> list[float]:
    if not confidences:
        return []
    found = {suggest_by_budget(confidences, share) for share in TENTHS}
    found |= {row["threshold"] for row in suggested.values() if row}
    return sorted(found if own is None else {*found, own})
