"""What all trackers share: when to log, what to log, and to stay out of the run's way."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ttsi import JSON, Record, hookimpl


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


class Tracker:
    """Calls a subclass's `begin`, `log` and `end` at a run's moments.

    ttsi reports what a hook raises and goes on. A tracker that raised would mostly raise again, or
    wait for a server again, so it is left alone for the rest of its seed.
    """

    package = ""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def begin(self, progress: Progress) -> None:
        raise NotImplementedError

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        raise NotImplementedError

    def end(self, files: Sequence[Path]) -> None:
        raise NotImplementedError

    @hookimpl
    def ttsi_run_started(self, run: Mapping[str, JSON]) -> None:
        self._progress = None
        if find_spec(self.package):
            progress = Progress(run)
            self.begin(progress)
            self._progress = progress

    @hookimpl
    def ttsi_sample_finished(self, record: Record) -> None:
        with self._unless_it_failed() as progress:
            if progress is not None:
                progress.add(record)
                if progress.is_whole_wave:
                    self.log(progress.metrics, len(progress))

    @hookimpl
    def ttsi_run_finished(self, results: Mapping[str, JSON]) -> None:
        with self._unless_it_failed() as progress, TemporaryDirectory() as place:
            if progress is not None:
                self.log(final(results), len(progress))
                page = Path(place) / "report.html"
                self.end([progress.folder / "results.json", *report(progress.folder, page)])

    @contextlib.contextmanager
    def _unless_it_failed(self) -> Iterator[Progress | None]:
        progress, self._progress = self._progress, None
        yield progress
        self._progress = progress


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


def report(folder: Path, page: Path) -> list[Path]:
    """Have `ttsi report` write the page; return nothing where it cannot."""
    command = [sys.executable, "-m", "ttsi", "report", str(folder), "-o", str(page), "-q"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=600)
    return [page] if done.returncode == 0 else []
