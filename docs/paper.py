"""The generated part of docs/paper.md: what was measured here, beside the paper's number."""

from __future__ import annotations

from statistics import fmean, stdev
from typing import Any

from markup import table
from stored import NOT_YET, RESULTS, Stored, read

FEWEST = 40
BENCHMARKS = ("sealtool", "nexusraven", "apibank", "toolalpaca")

# In points of accuracy or as (accuracy). ToolAlpaca's is second-hand.
PAPER = {
    ("TT-SI", "sealtool"): "+5.76 (72.43)",
    ("TT-SI", "nexusraven"): "+6.05 (50.08)",
    ("TT-SI", "apibank"): "+4.26 (74.34)",
    ("TT-SI", "toolalpaca"): "+5.84",
    ("TT-SI without H", "sealtool"): "(73.47)",
    ("SFT", "sealtool"): "(70.20)",
    ("ICL", "sealtool"): "(67.74)",
    ("TT-SI in context", "sealtool"): "(66.38)",
}
SPECS = {
    "TT-SI": "table1-direct",
    "TT-D": "table1-direct-teacher",
    "TT-SI by vote": "table1-majority",
    "TT-D by vote": "table1-majority-teacher",
    "TT-SI in context": "figure2-left",
    "ICL": "figure2-left",
    "SFT": "figure2-left",
    "TT-SI without H": "figure4",
}


def sections() -> dict[str, str]:
    """What stands between the page's markers, by the markers' name."""
    return {"measured": measured_table(stored())}


def stored() -> list[list[Stored]]:
    """(results, resolved spec) of every seed in docs/results, grouped by spec."""
    groups: dict[str, list[Stored]] = {}
    for path in sorted(RESULTS.rglob("results.json")):
        results, spec = read(path.parent)
        groups.setdefault(results["spec_digest"], []).append((results, spec))
    return list(groups.values())


def measured_table(groups: list[list[Stored]]) -> str:
    """A row for each method that adapted something on a benchmark of the paper."""
    rows = []
    for group in groups:
        results, spec = group[0]
        benchmark, method = results["benchmark"], method_of(spec)
        known = method in SPECS and benchmark in BENCHMARKS and results["base"]
        if not known or results["samples"] < FEWEST:
            continue
        rows.append(
            [
                f"`{SPECS[method]}`",
                f"`{benchmark}`",
                method + settings_of(spec),
                results["model"],
                f"{results['samples']} x {len(group)}",
                f"{100 * fmean(r['base']['accuracy'] for r, _ in group):.1f}",
                f"{100 * fmean(r['accuracy'] for r, _ in group):.1f}",
                _points([r["accuracy"] - r["base"]["accuracy"] for r, _ in group]),
                PAPER.get((method, benchmark), "–"),
            ]
        )
    head = ["spec", "benchmark", "method", "model", "samples x seeds", "base", "method", "points"]
    return table([*head, "paper"], sorted(rows)) if rows else NOT_YET


def method_of(spec: dict[str, Any]) -> str:
    """What the paper calls it; "" for the base model alone."""
    estimator, learner = spec["estimator"]["name"], spec["learner"]["name"]
    baselines = {"sft": "SFT", "icl_train": "ICL"}
    if estimator == "never":
        return ""
    if learner in baselines:
        return baselines[learner]
    name = "TT-D" if spec["generator"]["name"] == "teacher" else "TT-SI"
    if learner == "icl":
        name += " in context"
    if estimator == "always":
        name += " without H"
    return name + (" by vote" if spec["inference"].get("by") == "votes" else "")


def settings_of(spec: dict[str, Any]) -> str:
    """Where the run departs from the paper's recipe, in brackets."""
    notes = []
    if spec["inference"]["format"] != "free":
        notes.append("constrained")
    if spec["inference"].get("decoding") == "greedy":
        notes.append("greedy")
    if spec["learner"].get("active_from", "start") != "start":
        notes.append("activated")
    return f" ({', '.join(notes)})" if notes else ""


def _points(differences: list[float]) -> str:
    spread = f" ± {100 * stdev(differences):.1f}" if len(differences) > 1 else ""
    return f"{100 * fmean(differences):+.1f}{spread}"
