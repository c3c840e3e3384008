"""The plots of a report, made from the facts of a run. A plot that would be empty is None."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ttsi.pages import text
from ttsi.pages.plots import stepped
from ttsi.report.charts import Bar, Curve, Group, Mark, Spot, bars, curves, histogram, intervals
from ttsi.report.facts import Facts, Measure
from ttsi.results import calibration
from ttsi.results.estimators import Rated
from ttsi.solving.costs import STAGES

STAGE_NAMES = {
    "estimate": "H: estimate",
    "answer": "base answer",
    "generate": "G: examples",
    "learn": "T: adapt",
    "adapted": "adapted answer",
}
_SWEPT = (("TPR", "tpr"), ("FPR", "fpr"), ("J", "j"), ("accuracy", "accuracy"))


@dataclass(frozen=True)
class Figure:
    """A plot with its title and a sentence on how to read it."""

    title: str
    caption: str
    svg: str


def figures(facts: Facts) -> dict[str, Figure]:
    """Return the plots of a run that are not empty, by name."""
    made = {
        "accuracy": accuracy([("", facts)]),
        "reasons": reasons(facts),
        "confidence": confidence(facts),
        "roc": roc(facts),
        "risk": risk_coverage(facts),
        "sweep": sweep(facts),
        "stages": stages(facts),
    }
    return {name: figure for name, figure in made.items() if figure is not None}


def accuracy(runs: Sequence[tuple[str, Facts]]) -> Figure | None:
    """Plot base and adapted accuracy of one or more runs, with intervals."""
    groups = []
    for label, facts in runs:
        last = "adapted" if facts.paired else "accuracy"
        pairs = (("base", "base", facts.base), (last, "final", facts.final))
        marks = [_mark(name, kind, measure) for name, kind, measure in pairs if measure]
        if marks:
            groups.append(Group(label, marks))
    if not groups:
        return None
    caption = "Share of samples answered right, with its 95 % interval over samples."
    if any(mark.each for group in groups for mark in group.marks):
        caption += " Small dots are single seeds."
    title = "Accuracy"
    return Figure(title, caption, intervals(title, groups, label="accuracy, %"))


def differences(runs: Sequence[tuple[str, Facts]]) -> Figure | None:
    """Plot adapted minus base accuracy of several runs, with a line at no change."""
    groups = [
        Group(label, [_mark("", "final", facts.difference)])
        for label, facts in runs
        if facts.difference
    ]
    if not groups:
        return None
    title = "Change by adaptation"
    caption = "Adapted minus base accuracy on the same samples; the dashed line is no change. "
    caption += "With the 95 % interval over samples."
    return Figure(
        title,
        caption,
        intervals(
            title, groups, label="percentage points", form=text.points, within=(-1, 1), zero=True
        ),
    )


def _mark(name: str, kind: str, measure: Measure) -> Mark:
    return Mark(name, kind, measure.value, measure.interval, measure.each)


def reasons(facts: Facts) -> Figure | None:
    """Plot why answers are wrong, before and after adaptation."""
    after = facts.pooled["reasons"]
    before = facts.pooled["base"]["reasons"] if facts.paired else {}
    names = sorted(
        {*before, *after}, key=lambda name: -max(before.get(name, 0), after.get(name, 0))
    )
    if not names:
        return None
    sides = [("base", before), ("final", after)] if facts.paired else [("final", after)]
    rows = [
        Bar(
            reason(name),
            [(kind, side.get(name, 0), str(side.get(name, 0))) for kind, side in sides],
        )
        for name in names
    ]
    key = [("base", "base"), ("final", "adapted")] if facts.paired else []
    title = "Why answers are wrong"
    caption = "Samples by the first thing that is wrong with their answer."
    return Figure(title, caption, bars(title, rows, key=key))


def reason(name: str) -> str:
    return name.replace("_", " ")


def confidence(facts: Facts) -> Figure | None:
    """Plot a histogram of confidence, right answers above the axis and wrong ones below."""
    if not facts.graded:
        return None
    title = "Confidence of right and wrong answers"
    if not facts.cases:
        caption = "How many samples had which confidence."
        alone = ("final", "samples", facts.confidences)
        return Figure("Confidence", caption, histogram("Confidence", alone, None, facts.threshold))
    right = [case.confidence for case in facts.cases if not case.wrong]
    wrong = [case.confidence for case in facts.cases if case.wrong]
    caption = "Base answers that were right above the axis, wrong ones below. "
    caption += "A good estimator has the wrong ones on the left."
    if facts.threshold is not None:
        caption += " Left of the dashed line is uncertain."
    return Figure(
        title,
        caption,
        histogram(title, ("right", "right", right), ("wrong", "wrong", wrong), facts.threshold),
    )


def roc(facts: Facts) -> Figure | None:
    """Plot the estimator's ROC as a detector of wrong base answers, and this run's point."""
    found = calibration.roc(facts.cases) if facts.graded else []
    if not found:
        return None
    quality = facts.pooled["estimator"]
    area = calibration.auroc(facts.cases)
    # A record may lack its estimate: this run's point is then not known.
    spots = [Spot("this run", "spot", quality["fpr"], quality["tpr"])] if quality else []
    title = "ROC: finding wrong answers"
    caption = f"AUROC {text.rate(area)}: the chance that a wrong answer has the lower confidence."
    svg = curves(
        title,
        [Curve("estimator", "final", found)],
        labels=("FPR: right answers called uncertain", "TPR: wrong answers called uncertain"),
        spots=spots,
        diagonal="chance",
    )
    return Figure(title, caption, svg)


SERIES = 8
"""The styles of lines that plots.css has, told apart by dashes, too."""


def estimators(every: Sequence[Rated]) -> Figure | None:
    """Plot the ROC of several estimators."""
    found = [(each, calibration.roc(each.cases)) for each in every]
    lines = [
        Curve(text.fitted(each.label, 300), f"series-{number % SERIES}", points)
        for number, (each, points) in enumerate(found)
        if points
    ]
    if not lines:
        return None
    title = "ROC of the estimators"
    caption = "How well each finds wrong answers: the area below its line is its AUROC."
    areas = [(each.label, text.rate(calibration.auroc(each.cases))) for each in every]
    svg = curves(
        title,
        lines,
        labels=("FPR: right answers called uncertain", "TPR: wrong answers called uncertain"),
        diagonal="chance",
        description="; ".join(f"{label}: AUROC {area}" for label, area in areas),
    )
    return Figure(title, caption, svg)


def risk_coverage(facts: Facts) -> Figure | None:
    """Plot the error rate among the most confident samples against their share."""
    found = calibration.risk_coverage(facts.cases) if facts.graded else []
    if not found:
        return None
    title = "Risk and coverage"
    caption = "Share of wrong base answers among the most confident, as more are answered. "
    caption += "A good estimator's line starts low and rises to the right."
    svg = curves(
        title,
        [Curve("estimator", "final", found)],
        labels=("coverage: share answered", "risk: share of those wrong"),
        spots=[Spot("all answered", "spot", *found[-1])],
    )
    return Figure(title, caption, svg)


def sweep(facts: Facts) -> Figure | None:
    """Plot TPR, FPR, J and accuracy at every threshold."""
    if not facts.graded or not facts.cases:
        return None
    cuts = sorted({*_even(calibration.thresholds(facts.cases)), facts.threshold or 0.0})
    rows = calibration.sweep(facts.cases, cuts, facts.errors)
    lines = [
        Curve(label, key, stepped([(row["threshold"], row[key]) for row in rows]))
        for label, key in _SWEPT
        if any(row[key] is not None for row in rows)
    ]
    least = min(y for line in lines for _, y in line.points if y is not None)
    title = "Other thresholds"
    caption = "Of the estimator at every threshold. Accuracy is known only where all samples that "
    caption += "would be uncertain were adapted in this run."
    svg = curves(
        title,
        lines,
        labels=("threshold", "rate"),
        low=min(0.0, least - 0.05),
        threshold=facts.threshold,
    )
    return Figure(title, caption, svg)


def _even(cuts: Sequence[float], most: int = 300) -> list[float]:
    """Return at most about `most` of the thresholds, evenly spaced, with the last one."""
    step = max(1, -(-len(cuts) // most))
    return [*cuts[::step], cuts[-1]]


def stages(facts: Facts) -> Figure | None:
    """Plot the seconds of each stage."""
    by_stage = facts.pooled["stages"]["by_stage"]
    if not by_stage:
        return None
    rows = [
        Bar(
            STAGE_NAMES.get(name, name), [("final", sums["seconds"], text.seconds(sums["seconds"]))]
        )
        for name, sums in stages_in_order(by_stage)
    ]
    title = "Where the time goes"
    caption = f"{text.seconds(facts.pooled['stages']['seconds'])} in all"
    if facts.seconds_per_uncertain is not None:
        caption += (
            f"; adapting took {text.seconds(facts.seconds_per_uncertain)} for each uncertain "
        )
        caption += "sample (G, T and the adapted answer)"
    return Figure(title, caption + ".", bars(title, rows))


def stages_in_order(by_stage: Any) -> list[tuple[str, Any]]:
    """Return (name, sums) of each stage in the order of the pipeline, unknown stages last."""
    known = [(name, by_stage[name]) for name in STAGES if name in by_stage]
    return known + [(name, sums) for name, sums in by_stage.items() if name not in STAGES]
