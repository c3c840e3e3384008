"""What trackers log: the spec as parameters, numbers so far, and the final numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ttsi import Record


class Progress:
    """One seed of a run: its samples so far, also those of earlier sessions."""

    def __init__(self, run: Mapping[str, Any]) -> None:
        self.folder = Path(run["folder"]).resolve()
        self.name = f"{self.folder.parent.name}/{self.folder.name}"
        self.params = {key: str(value) for key, value in flat(run["spec"])}
        self._wave = int(run["spec"]["executor"].get("wave") or 1)
        # By id, since a sample that failed is tried again.
        self._samples: dict[str, tuple[bool, bool, float]] = {}
        journal = self.folder / "samples.jsonl"
        for line in journal.read_text().splitlines() if journal.exists() else ():
            told = json.loads(line)
            costs = [cost["seconds"] for cost in told["costs"].values()]
            correct = bool(told["final_score"] and told["final_score"]["correct"])
            self._samples[told["id"]] = (correct, told["adapted"], sum(costs))

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, record: Record) -> None:
        seconds = sum(cost.seconds for cost in record.costs.values())
        correct = record.final_score is not None and record.final_score.correct
        self._samples[record.id] = (correct, record.adapted, seconds)

    @property
    def is_whole_wave(self) -> bool:
        return len(self) % self._wave == 0

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics over all samples so far; a sample without an answer is not correct."""
        correct, adapted, seconds = zip(*self._samples.values(), strict=True)
        shares = {"accuracy": sum(correct) / len(self), "adapted_share": sum(adapted) / len(self)}
        return {f"so_far/{name}": each for name, each in shares.items()} | {
            "so_far/seconds": sum(seconds)
        }


def flat(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the spec's settings by dotted names, as `ttsi eval --set` takes them."""
    for key, value in spec.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def final(results: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of results.json that are known, with the ends of 95 % intervals."""
    found: dict[str, Any] = {"seconds": results["stages"]["seconds"]}
    for of, outcome in (("", results), ("base_", results["base"] or {})):
        low, high = outcome.get("accuracy_interval") or (None, None)
        found |= {f"{of}accuracy": outcome.get("accuracy")}
        found |= {f"{of}accuracy_low": low, f"{of}accuracy_high": high}
    for part in ("change", "estimator"):
        found |= results[part] or {}
    found |= {name: results[name] for name in ("samples", "errors", "uncertain", "adapted")}
    return {f"final/{name}": float(each) for name, each in found.items() if each is not None}
