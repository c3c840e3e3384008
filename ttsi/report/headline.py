"""The outcome of a run in short: three numbers with intervals, and a sentence."""

from __future__ import annotations

from typing import Any

from ttsi.pages import text
from ttsi.report.facts import Facts, Measure

_ALPHA = 0.05


def cards(facts: Facts) -> list[dict[str, Any]]:
    """Return cards for base accuracy, final accuracy and their difference, if the run has them."""
    found = []
    if facts.base is not None:
        found.append(_card("Base model", "base", facts.base, _counted(facts, facts.pooled["base"])))
    if facts.final is not None:
        label = "With adaptation" if facts.paired else "Accuracy"
        found.append(_card(label, "final", facts.final, _counted(facts, facts.pooled)))
    if facts.difference is not None:
        card = _card("Difference", "difference", facts.difference, _flipped(facts))
        found.append(card | {"shown": text.points(facts.difference.value), "unit": "points"})
    return found


def _card(label: str, kind: str, measure: Measure, detail: list[str]) -> dict[str, Any]:
    lines = [f"95 % interval {text.interval(measure.interval)}"] if measure.interval else []
    if measure.spread is not None:
        lines = [f"{line}, over samples" for line in lines]
        lines.insert(0, f"mean of {len(measure.each)} seeds")
        sd, over_seeds = text.figure(measure.spread["sd"]), measure.spread["interval"]
        lines.append(f"over seeds sd {sd}, t-interval {text.interval(over_seeds)}")
    return {
        "label": label,
        "kind": kind,
        "value": measure.value,
        "shown": text.figure(measure.value),
        "unit": "%",
        "detail": [*lines, *detail],
    }


def _counted(facts: Facts, outcome: Any) -> list[str]:
    return [f"{outcome['correct']} of {outcome['samples']} right"] if len(facts.seeds) == 1 else []


def _flipped(facts: Facts) -> list[str]:
    change = facts.pooled["change"]
    if change is None:
        return []
    test = "McNemar, exact" if len(facts.seeds) == 1 else "sign flips, exact"
    return [
        f"{change['fixed']} fixed, {change['broken']} broken",
        f"{text.p_said(facts.p)} ({test})",
    ]


def verdict(facts: Facts) -> str:
    """Return the outcome in a sentence or two."""
    if not facts.seeds:
        return "No sample has finished yet."
    if facts.errors == len(facts.records):
        return "Every sample ended in an error. The samples, below, say why."
    if facts.p is None:
        return ""
    pooled = facts.pooled
    if not pooled["adapted"]:
        why = "No sample was adapted" if pooled["uncertain"] else "No sample was uncertain"
        return f"{why}, so both accuracies are the base model’s."
    change = pooled["change"]
    said = "Adaptation" if len(facts.seeds) == 1 else f"Over {len(facts.seeds)} seeds, adaptation"
    said += f" turned {_some(change['fixed'], 'wrong answer')} right and "
    said += f"{_some(change['broken'], 'right one')} wrong."
    if not change["fixed"] and not change["broken"]:
        return said
    if facts.p < _ALPHA:
        return said + " Chance alone would seldom split them so unevenly."
    return said + " That is within what chance alone gives."


def _some(number: int, noun: str) -> str:
    return text.count(number, noun) if number else f"no {noun}"
