"""Metrics of records; always, examples = correct + wrong + errors.

An errored sample is not correct and stays in the denominator. Comparisons with the base model are
null unless it answered every sample that did not fail (`paired`): without a baseline it answers
only the confident samples, and numbers over these would depend on the estimator's choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from ttsi.types import ENGINE_ERROR, JSON, Record, Score, Step

CONFIDENCE = 0.95
_COUNTS = ("samples", "errors", "uncertain", "adapted")
_ADAPTING = frozenset(("generate", "learn", "adapted"))


def summarise(records: Sequence[Record]) -> dict[str, JSON]:
    """Return all numbers of one seed; `records` holds one per sample, errored ones too."""
    uncertain = [record for record in records if record.uncertain]
    return {
        **outcome([record.final_score for record in records]),
        "base": _base(records),
        "change": paired_change(records),
        "uncertain": len(uncertain),
        "adapted": sum(record.adapted for record in records),
        "not_generated": _not_generated(uncertain),
        **_rejected(records),
        **_steps(records),
        "estimator": estimator_quality(records),
        "stages": stage_costs(records),
    }


def _not_generated(uncertain: Iterable[Record | Step]) -> int:
    """Count what was neither adapted nor kept from it by a gate, for lack of a valid example."""
    return sum(not (each.adapted or each.refused) for each in uncertain)


def _rejected(records: Sequence[Record]) -> dict[str, JSON]:
    """Return how many outputs of G are no examples, by reason, under "rejected"; nothing if none.

    Outputs of an episode are those of its steps.
    """
    counts: Counter[str] = Counter()
    for record in records:
        for rejected in record.rejections:
            counts.update(rejected.counts)
    return {"rejected": dict(sorted(counts.items()))} if counts else {}


def _steps(records: Sequence[Record]) -> dict[str, JSON]:
    """Return what H and G made of the steps of episodes, under "steps"; nothing without episodes.

    `estimated`: at how many H was asked.
    """
    steps = [step for record in records for step in record.steps]
    uncertain = [step for step in steps if step.uncertain]
    told: dict[str, JSON] = {
        "steps": len(steps),
        "estimated": sum(step.estimate is not None for step in steps),
        "uncertain": len(uncertain),
        "adapted": sum(step.adapted for step in steps),
        "not_generated": _not_generated(uncertain),
    }
    return {"steps": told} if steps else {}


def outcome(scores: Sequence[Score | None]) -> dict[str, JSON]:
    """Return counts, accuracy with its Wilson interval, and reasons; None is an errored sample.

    Where samples are conversations there is the mean `credit`, of which an errored one has none.
    """
    correct = sum(score is not None and score.correct for score in scores)
    errors = sum(score is None for score in scores)
    reasons = Counter(
        score.reason for score in scores if score is not None and score.reason is not None
    )
    if errors:
        reasons[ENGINE_ERROR] += errors
    credits = [score.credit for score in scores if score is not None and score.credit is not None]
    return {
        "samples": len(scores),
        "correct": correct,
        "wrong": len(scores) - correct - errors,
        "errors": errors,
        "accuracy": correct / len(scores) if scores else None,
        "accuracy_interval": wilson(correct, len(scores)),
        "reasons": dict(sorted(reasons.items())),
        **({"credit": sum(credits) / len(scores)} if credits else {}),
    }


def wilson(correct: int, samples: int) -> list[float] | None:
    """Return Wilson's 95 % score interval of a share."""
    from scipy.stats import binomtest

    if samples == 0:
        return None
    interval = binomtest(correct, samples).proportion_ci(CONFIDENCE, method="wilson")
    return [float(interval.low), float(interval.high)]


def paired(records: Sequence[Record]) -> bool:
    """Whether every record that did not fail has a scored base answer; False if all failed."""
    answered = [record for record in records if not record.error]
    return bool(answered) and all(record.base_score is not None for record in answered)


def _base(records: Sequence[Record]) -> dict[str, JSON] | None:
    """Return the base model's outcome on the same samples, if they are paired or all failed."""
    if not paired(records) and any(not record.error for record in records):
        return None
    return outcome([record.base_score for record in records])


def paired_change(records: Sequence[Record]) -> dict[str, JSON] | None:
    """Compare base and final answers on the same samples: flips and McNemar's exact two-sided p.

    None unless the records are `paired`.
    """
    if not paired(records):
        return None
    pairs = [(r.base_score, r.final_score) for r in records if r.base_score and r.final_score]
    fixed = sum(final.correct and not base.correct for base, final in pairs)
    broken = sum(base.correct and not final.correct for base, final in pairs)
    return {
        "fixed": fixed,
        "broken": broken,
        "accuracy_points": 100 * (fixed - broken) / len(records),
        "mcnemar_p": mcnemar(fixed, broken),
    }


def mcnemar(fixed: int, broken: int) -> float:
    """Return McNemar's exact two-sided p; 1 without flips.

    Under the null hypothesis each flip is equally likely in both directions.
    """
    from scipy.stats import binomtest

    flips = fixed + broken
    return float(binomtest(fixed, flips).pvalue) if flips else 1.0


def estimator_quality(records: Sequence[Record]) -> dict[str, JSON] | None:
    """Evaluate the estimator as a detector of base errors: `detection`, and its AUROC.

    None unless the records are `paired`, and all that did not fail have an estimate.
    """
    answered = [record for record in records if not record.error]
    cases = [
        (record.estimate.confidence, record.estimate.uncertain, not record.base_score.correct)
        for record in answered
        if record.estimate and record.base_score
    ]
    if not cases or len(cases) < len(answered):
        return None
    return {
        **detection([(flagged, wrong) for _, flagged, wrong in cases]),
        "auroc": auroc([c[0] for c in cases if c[2]], [c[0] for c in cases if not c[2]]),
    }


def detection(cases: Sequence[tuple[bool, bool]]) -> dict[str, JSON]:
    """Return the rates of a detector from (flagged, wrong) pairs, as `rates` does."""
    flagged = sum(is_flagged for is_flagged, _ in cases)
    hits = sum(is_flagged and wrong for is_flagged, wrong in cases)
    return rates(len(cases), sum(wrong for _, wrong in cases), flagged, hits)


def rates(cases: int, wrong: int, flagged: int, hits: int) -> dict[str, JSON]:
    """Return the rates of a detector that flags `flagged` cases, `hits` of them wrong ones.

    J = TPR - FPR (Youden); F1 is that of the wrong cases among the flagged. A rate without cases
    is None.
    """
    right = cases - wrong
    tpr = hits / wrong if wrong else None
    fpr = (flagged - hits) / right if right else None
    return {
        "tpr": tpr,
        "fpr": fpr,
        "j": tpr - fpr if tpr is not None and fpr is not None else None,
        "f1": 2 * hits / (flagged + wrong) if flagged + wrong else None,
    }


def auroc(wrong: Sequence[float], right: Sequence[float]) -> float | None:
    """Return the chance that a wrong answer has lower confidence than a right one; ties half."""
    if not wrong or not right:
        return None
    from scipy.stats import mannwhitneyu

    statistic = mannwhitneyu(right, wrong).statistic
    return float(statistic) / (len(wrong) * len(right))


def stage_costs(records: Sequence[Record]) -> dict[str, JSON]:
    """Return seconds and tokens by stage and in all, and seconds per uncertain sample.

    A sample that failed during adaptation counts as uncertain.
    """
    uncertain = sum(
        record.uncertain or not _ADAPTING.isdisjoint(record.costs) for record in records
    )
    total: dict[str, dict[str, float]] = {}
    for record in records:
        for stage, cost in record.costs.items():
            sums = total.setdefault(
                stage,
                dict.fromkeys(("seconds", "prompt_tokens", "completion_tokens", "usd"), 0.0)
                | {"samples": 0},
            )
            sums["seconds"] += cost.seconds
            sums["prompt_tokens"] += cost.prompt_tokens
            sums["completion_tokens"] += cost.completion_tokens
            sums["usd"] += cost.usd
            sums["samples"] += 1
    for sums in total.values():
        sums["seconds_per_sample"] = sums["seconds"] / sums["samples"]
        for tokens in ("prompt_tokens", "completion_tokens"):
            sums[tokens] = round(sums[tokens])
    seconds = sum(sums["seconds"] for sums in total.values())
    adapting = sum(sums["seconds"] for stage, sums in total.items() if stage in _ADAPTING)
    return {
        "by_stage": total,
        "seconds": seconds,
        "usd": sum(sums["usd"] for sums in total.values()),
        "seconds_per_uncertain_sample": adapting / uncertain if uncertain else None,
    }


def across_seeds(results: Mapping[int, Mapping[str, Any]]) -> dict[str, JSON]:
    """Return mean, standard deviation and t-interval over seeds of the accuracies and differences.

    `base_accuracy` and `difference` are None unless every seed has the base model's outcome.
    """
    seeds = list(results)
    finals = [results[seed]["accuracy"] for seed in seeds]
    bases = [results[seed]["base"] for seed in seeds]
    over_base: dict[str, JSON] = {"base_accuracy": None, "difference": None}
    if bases and all(bases):
        accuracies = [base["accuracy"] for base in bases]
        differences = [final - base for final, base in zip(finals, accuracies, strict=True)]
        over_base = {"base_accuracy": spread(accuracies), "difference": spread(differences)}
    return {
        "seeds": seeds,
        **{key: sum(results[seed][key] for seed in seeds) for key in _COUNTS},
        "accuracy": spread(finals),
        **over_base,
        "seconds": sum(results[seed]["stages"]["seconds"] for seed in seeds),
        "usd": sum(results[seed]["stages"]["usd"] for seed in seeds),
    }


def grid(summaries: Sequence[Mapping[str, Any]]) -> dict[str, JSON]:
    """Return one document for a matrix; each summary is `across_seeds` with its cell."""
    cells = [{k: v for k, v in each.items() if k not in ("schema", "name")} for each in summaries]
    return {"schema": "ttsi.grid/1", "name": summaries[0]["name"], "cells": cells}


def spread(values: Sequence[float]) -> dict[str, JSON]:
    """Return mean, sample sd and 95 % t-interval of the mean; the latter two need two values."""
    if len(values) < 2:
        return {
            "mean": values[0] if values else None,
            "sd": None,
            "interval": None,
            "n": len(values),
        }
    from scipy.stats import t

    mean, sd = fmean(values), stdev(values)
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * sd / len(values) ** 0.5
    return {"mean": mean, "sd": sd, "interval": [mean - half, mean + half], "n": len(values)}
