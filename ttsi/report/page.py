"""The report's page as plain data for the template in ttsi/pages/templates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ttsi.answers.reasons import explained
from ttsi.errors import UsageError
from ttsi.pages import text
from ttsi.report import about, examples, figures, headline, samples
from ttsi.report import frontier as shown_frontier
from ttsi.report.facts import Facts, Measure
from ttsi.report.labels import labels
from ttsi.results.frontier import frontier
from ttsi.results.runs import Run
from ttsi.types import Record


def page(runs: Sequence[Run], *, sections: Sequence[tuple[str, str]], limit: int) -> dict[str, Any]:
    """Return the template's variables: a view of each run and, with several, their comparison."""
    facts = [Facts(run) for run in runs]
    names = labels(runs) if len(runs) > 1 else [runs[0].name]
    several = len(runs) > 1
    views = [
        run_view(each, name, f"run-{number}" if several else "", limit)
        for number, (each, name) in enumerate(zip(facts, names, strict=True), start=1)
    ]
    title = f"{len(runs)} runs compared" if several else names[0]
    return {
        "title": title,
        "comparison": _comparison(facts, names) if several else None,
        "frontier": _frontier(runs, names),
        "runs": views,
        "sections": [(str(name), text.visible(str(body))) for name, body in sections],
    }


def run_view(facts: Facts, label: str, key: str, limit: int) -> dict[str, Any]:
    """Return the view of one run. `key` makes its HTML ids unique among several runs."""
    prefix = f"{key}/" if key else ""
    shown = samples.chosen(_by_sample(facts), limit)
    anchors = {
        (record.seed, record.id): samples.anchor_of(record, facts, prefix) for record in shown
    }
    return {
        "label": label,
        "key": key,
        "id": key or "run",
        "lede": _lede(facts),
        "notices": _notices(facts),
        "headline": headline.cards(facts),
        "verdict": headline.verdict(facts),
        "figures": figures.figures(facts),
        "terms": _terms(facts),
        "by_seed": _by_seed(facts) if len(facts.seeds) > 1 else [],
        "crossed": _crossed(facts) if facts.paired else None,
        "estimator": _estimator(facts),
        "examples": examples.view(facts),
        "costs": _costs(facts),
        "flips": _flips(facts, anchors),
        "samples": [samples.view(record, facts, prefix) for record in shown],
        "left_out": len(facts.records) - len(shown),
        "filters": _filters(shown),
        "about": about.groups(facts),
        "spec": json.dumps(facts.run.spec, indent=2, ensure_ascii=False),
    }


def _by_sample(facts: Facts) -> list[Record]:
    """Return the records, a sample's seeds together, in the benchmark's order where known."""
    ids = list(facts.samples or ()) or [record.id for record in facts.records]
    places = {id: place for place, id in enumerate(dict.fromkeys(ids))}
    return sorted(facts.records, key=lambda r: (places.get(r.id, len(places)), r.seed))


def _lede(facts: Facts) -> str:
    spec, seeds = facts.run.spec, [str(seed.seed) for seed in facts.run.seeds]
    each = len(facts.seeds[0].records) if facts.seeds else 0
    said = f"{spec['model']['id']} on {spec['benchmark']['name']}, {text.count(each, 'sample')}"
    return f"{said}, {'seeds' if len(seeds) > 1 else 'seed'} {', '.join(seeds)}"


def _notices(facts: Facts) -> list[str]:
    """Return warnings about the run's numbers, such as that it is unfinished or had errors."""
    found = [f"Seed {seed.seed}: {seed.doubt}" for seed in facts.run.seeds if seed.doubt]
    if facts.unearned:
        said = f"{text.count(facts.unearned, 'record')} with a score that the answers do not earn: "
        found.append(said + "they were edited. `ttsi eval` of the spec scores them anew.")
    open_seeds = [seed for seed in facts.run.seeds if not seed.complete]
    if open_seeds:
        said = "This run is unfinished: its numbers are made of the samples that are there."
        if facts.missing:
            said += f" {text.count(facts.missing, 'sample')} of the benchmark still to come."
        if len(facts.run.seeds) > 1:
            said += f" Unfinished: seed {', '.join(str(seed.seed) for seed in open_seeds)}."
        found.append(said)
    if facts.errors:
        said = f"{facts.errors:,} of {text.count(len(facts.records), 'sample')} ended in an error, "
        found.append(said + "which counts as not right. The same command tries them again.")
    if facts.seeds and not facts.paired:
        if open_seeds and facts.run.spec.get("budget") is not None:
            said = "Under a budget the uncertain samples come first, so until the run is finished "
        else:
            said = "The base model did not answer every sample (baseline: false), so "
        said += "there is nothing to compare with, and nothing to measure the estimator against."
        found.append(said)
    if facts.trouble:
        said = "Requests and references are missing, since the benchmark could not be loaded: "
        found.append(said + facts.trouble)
    elif facts.changed:
        said = f"{text.count(facts.changed, 'record')} shown without request and reference: "
        found.append(said + "the benchmark is no longer what it was when they were made.")
    return found


# ---------------------------------------------------------------- sections


def _terms(facts: Facts) -> list[tuple[str, str]]:
    """Return the reasons of the run's wrong answers that are known, with what they mean."""
    base = facts.pooled["base"] or {"reasons": {}}
    found = explained({*facts.pooled["reasons"], *base["reasons"]})
    return [(figures.reason(name), meaning) for name, meaning in found]


def _by_seed(facts: Facts) -> list[dict[str, str]]:
    rows = []
    for seed in facts.seeds:
        results = seed.results
        base, change = results["base"], results["change"]
        rows.append(
            {
                "seed": str(seed.seed),
                "samples": str(results["samples"]),
                "base": text.percent(base["accuracy"]) if base else text.NOTHING,
                "base_interval": text.interval(base["accuracy_interval"]) if base else "",
                "final": text.percent(results["accuracy"]),
                "final_interval": text.interval(results["accuracy_interval"]),
                "change": text.points(change["accuracy_points"] / 100) if change else text.NOTHING,
                "flips": f"{change['fixed']} / {change['broken']}" if change else text.NOTHING,
                "p": text.p_value(change["mcnemar_p"]) if change else text.NOTHING,
                "uncertain": str(results["uncertain"]),
                "adapted": str(results["adapted"]),
                "errors": str(results["errors"]),
            }
        )
    return rows


def _crossed(facts: Facts) -> dict[str, int]:
    """Return the number of records of each outcome; they add up to all records."""
    found = [samples.outcome(record) for record in facts.records]
    return {name: found.count(name) for name in samples.OUTCOMES}


def _estimator(facts: Facts) -> dict[str, Any]:
    pooled = facts.pooled
    quality = pooled["estimator"] if facts.paired else None
    rates = (
        [
            (name, text.rate(quality[key]), told)
            for name, key, told in (
                ("TPR", "tpr", "wrong answers called uncertain"),
                ("FPR", "fpr", "right answers called uncertain"),
                ("J", "j", "TPR − FPR"),
                ("F1", "f1", "of TPR and precision"),
                ("AUROC", "auroc", "wrong below right in confidence"),
            )
        ]
        if quality
        else []
    )
    spec = facts.run.spec
    budget = spec.get("budget")
    return {
        "name": spec["estimator"]["name"],
        "threshold": "" if facts.threshold is None else f"{facts.threshold:g}",
        "budget": "" if budget is None else f"{budget:g}",
        "samples": pooled["samples"],
        "uncertain": pooled["uncertain"],
        "adapted": pooled["adapted"],
        "not_generated": pooled["not_generated"],
        "steps": pooled.get("steps"),
        "rates": rates,
        "empty": _ungraded(facts),
    }


def _ungraded(facts: Facts) -> str:
    """Return why the estimator has no curves, or ""."""
    if facts.graded:
        return ""
    if not facts.confidences:
        return "No sample has an estimate."
    return "Every sample has the same confidence, so there is nothing to plot."


def _costs(facts: Facts) -> list[dict[str, str]]:
    rows = []
    for name, sums in figures.stages_in_order(facts.pooled["stages"]["by_stage"]):
        rows.append(
            {
                "stage": figures.STAGE_NAMES.get(name, name),
                "samples": f"{sums['samples']:,}",
                "seconds": text.seconds(sums["seconds"]),
                "each": text.seconds(sums["seconds_per_sample"]),
                "prompt_tokens": f"{sums['prompt_tokens']:,}",
                "completion_tokens": f"{sums['completion_tokens']:,}",
                "usd": text.dollars(sums["usd"]) if sums.get("usd") else "",
            }
        )
    return rows


def _flips(facts: Facts, anchors: Mapping[tuple[int, str], str]) -> dict[str, list[dict[str, str]]]:
    """Return the fixed and the broken samples, with their HTML ids on the page."""
    found: dict[str, list[dict[str, str]]] = {"fixed": [], "broken": []}
    for record in _by_sample(facts):
        kind = samples.outcome(record)
        if kind in found and record.base_score and record.final_score:
            sample, wrong = facts.sample(record), record.base_score
            if kind == "broken":
                wrong = record.final_score
            found[kind].append(
                {
                    "id": record.id,
                    "seed": str(record.seed) if len(facts.run.seeds) > 1 else "",
                    "anchor": anchors.get((record.seed, record.id), ""),
                    "excerpt": text.excerpt(sample.task.input, 110) if sample else "",
                    "why": figures.reason(wrong.reason) if wrong.reason else "",
                }
            )
    return found


def _filters(shown: Sequence[Record]) -> list[tuple[str, str, int]]:
    """Return (tag, label, count) of the filters of the list of samples."""
    tagged = [samples.tags(record) for record in shown]
    names = [("fixed", "fixed"), ("broken", "broken"), ("wrong", "wrong")]
    names += [("uncertain", "uncertain"), ("error", "errored")]
    counts = [(tag, label, sum(tag in tags for tags in tagged)) for tag, label in names]
    return [("all", "all", len(shown)), *counts]


# ---------------------------------------------------------------- several runs


def _comparison(facts: Sequence[Facts], names: Sequence[str]) -> dict[str, Any]:
    labelled = list(zip(names, facts, strict=True))
    rows = [
        {
            "label": name,
            "key": f"run-{number}",
            "samples": f"{len(each.records):,}",
            "seeds": str(len(each.seeds)),
            "base": _shown(each.base),
            "final": _shown(each.final),
            "interval": text.interval(each.final.interval) if each.final else "",
            "difference": text.points(each.difference.value) if each.difference else text.NOTHING,
            "difference_interval": text.interval(each.difference.interval)
            if each.difference
            else "",
            "p": text.p_value(each.p),
            "uncertain": f"{each.pooled['uncertain']:,}",
            "seconds": text.seconds(each.seconds_per_uncertain),
            "each": text.seconds(each.cost.seconds / max(len(each.records), 1)),
            "errors": str(each.errors),
        }
        for number, (name, each) in enumerate(labelled, start=1)
    ]
    plots = [figures.accuracy(labelled), figures.differences(labelled)]
    asked = {frozenset(record.id for record in each.records) for each in facts}
    return {
        "rows": rows,
        "unlike": len(asked) > 1,
        "figures": [plot for plot in plots if plot is not None],
    }


def _shown(measure: Measure | None) -> str:
    return text.percent(measure.value if measure else None)


def _frontier(runs: Sequence[Run], names: Sequence[str]) -> dict[str, Any]:
    """Return the frontier's plots and sentences, or why there is none."""
    try:
        found = frontier(runs, names)
    except UsageError as error:
        return {"figures": [], "sentences": [], "trouble": error.what}
    return {
        "figures": list(shown_frontier.plots(found).values()),
        "sentences": shown_frontier.sentences(found),
        "trouble": "",
    }
