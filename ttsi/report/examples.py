"""A report's section on the quality of the synthetic examples."""

from __future__ import annotations

from typing import Any

from ttsi.pages import text
from ttsi.report.charts import Bar, bars, histogram
from ttsi.report.facts import Facts
from ttsi.report.figures import Figure, reason
from ttsi.results import synthetic
from ttsi.results.judged import judgements


def view(facts: Facts) -> dict[str, Any] | None:
    """Return the section's sentence, figures and plots; None where G wrote nothing."""
    every, rejected = facts.made, _rejected(facts)
    if not every and not rejected:
        return None
    examples = sum(len(each.examples) for each in every)
    said = f"{text.count(examples, 'example')} for {text.count(len(every), 'task')}."
    steps = facts.pooled.get("steps")
    lacking = (steps or facts.pooled)["not_generated"]
    if lacking:
        what = text.count(lacking, "uncertain step" if steps else "uncertain sample")
        said += f" For {what} no valid one could be made."
    return {
        "said": said,
        "rates": _rates(every),
        "judged": _judged(facts),
        "rejected": rejected,
        "figures": [plot for plot in (_attempts(every), _overlap(every)) if plot],
    }


def _rejected(facts: Facts) -> list[tuple[str, str, str]]:
    """Return (reason, how many outputs, what is said of one of them), the most frequent first."""
    told: dict[str, str] = {}
    for record in facts.records:
        for each in (each for rejected in record.rejections for each in rejected.kept):
            told.setdefault(each.reason, each.detail)
    counts = facts.pooled.get("rejected", {})
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return [(reason(name), f"{count:,}", told.get(name, "")) for name, count in ranked]


def _rates(every: list[synthetic.Made]) -> list[tuple[str, str, str]]:
    """Return (name, value, remark) of each figure that is known."""
    if not every:
        return []
    rates = []
    distance = synthetic.distance(every)
    if distance:
        near = f"{distance['near_copies']} of {distance['examples']} more nearly so"
        rates.append(("copies of the request", str(distance["copies"]), near))
        remark = "mean share of words in common; 1 is a copy"
        rates.append(("overlap with the request", text.rate(distance["overlap"]), remark))
    distinct = synthetic.distinctness(every)
    if distinct:
        near = text.count(distinct["near_copies"], "pair")
        remark = f"of a task’s examples; {near} nearly alike"
        rates.append(("distinctness", text.rate(distinct["mean"]), remark))
    for name, each in synthetic.evidence(every).items():
        remark = f"of {text.count(each['examples'], 'answer')}; least {text.rate(each['least'])}"
        rates.append((name, text.rate(each["mean"]), remark))
    loss = synthetic.loss(every)
    if loss:
        course = f"{text.figures(loss['first'])} → {text.figures(loss['last'])}"
        rates.append(("training loss", course, "first and last pass through the examples"))
    length = synthetic.length(every)
    for name, key in (("request", "request"), ("answer", "target")):
        if length[key] is not None:
            rates.append((f"{name}, characters", f"{length[key]:g}", "median"))
    if length["seed"] is not None:
        rates.append(("task, characters", f"{length['seed']:g}", "median of its own request"))
    return rates


def _judged(facts: Facts) -> list[dict[str, str]]:
    """Return a row for each judge of the labels."""
    rows = []
    for each in judgements(facts.run) if facts.samples is not None else ():
        found: dict[str, Any] = each.as_json()
        reasons = sorted(found["reasons"].items(), key=lambda item: -item[1])
        rows.append(
            {
                "judge": each.judge,
                "examples": f"{found['samples']:,}",
                "accuracy": text.percent(found["accuracy"]),
                "interval": text.interval(found["accuracy_interval"]),
                "why": ", ".join(f"{reason(name)} {count}" for name, count in reasons),
            }
        )
    return rows


def _attempts(every: list[synthetic.Made]) -> Figure | None:
    if not every:
        return None
    counts = synthetic.attempts(every)
    rows = [Bar(f"attempt {name}", [("final", n, str(n))]) for name, n in counts.items()]
    title = "Valid at which attempt"
    caption = "How many outputs were drawn until one was a valid example."
    return Figure(title, caption, bars(title, rows))


def _overlap(every: list[synthetic.Made]) -> Figure | None:
    shares = synthetic.overlaps_with_seed(every)
    if not shares:
        return None
    title = "Distance from the request"
    caption = "Share of words that an example’s request has in common with the task’s own. "
    caption += f"From {synthetic.NEAR:g} on it is nearly a copy."
    labels = ("overlap of words", "examples")
    svg = histogram(title, ("final", "examples", shares), None, None, labels=labels)
    return Figure(title, caption, svg)
