"""The generated table of runs under several seeds: docs/results/0.1.0/NAME/seed-N/."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markup import table
from paper import method_of, settings_of
from stored import NOT_YET, OLD, Stored, read

from ttsi.results.metrics import across_seeds

Seeds = Mapping[int, Stored]


def stored() -> dict[str, Seeds]:
    """By the folder's name: each of its seeds."""
    found: dict[str, dict[int, Stored]] = {}
    for path in sorted(OLD.glob("*/seed-*/results.json")):
        results, spec = read(path.parent)
        found.setdefault(path.parent.parent.name, {})[results["seed"]] = (results, spec)
    return {name: dict(sorted(seeds.items())) for name, seeds in found.items()}


def seeds_table() -> str:
    rows = []
    for seeds in stored().values():
        summary = across_seeds({seed: results for seed, (results, _) in seeds.items()})
        results, spec = next(iter(seeds.values()))
        each = [r["stages"]["seconds_per_uncertain_sample"] for r, _ in seeds.values()]
        rows.append(
            [
                method_of(spec) + settings_of(spec),
                f"`{results['benchmark']}`",
                f"{results['samples']} x {len(seeds)}",
                _spread(summary["base_accuracy"]),
                _spread(summary["accuracy"]),
                _spread(summary["difference"], "+"),
                f"{summary['uncertain']}, {summary['adapted']}",
                f"{sum(each) / len(each):.1f}",
            ]
        )
    head = ["method", "benchmark", "samples x seeds", "base model", "adapted", "points"]
    return table([*head, "uncertain, adapted", "s an uncertain sample"], rows) if rows else NOT_YET


def _spread(spread: Mapping[str, Any] | None, sign: str = "") -> str:
    if spread is None:
        return "–"
    text = f"{100 * spread['mean']:{sign}.1f}"
    if spread["sd"] is None:
        return text
    low, high = spread["interval"]
    return f"{text} ± {100 * spread['sd']:.1f} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"
