"""Progress of a run: live bars or plain lines for people, JSON lines for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttsi._common.console import note
from ttsi.solving.assemble import LOAD
from ttsi.solving.costs import STAGES
from ttsi.spec import Spec
from ttsi.types import JSON, Record

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LABELS = {
    LOAD: "   load model",
    "estimate": "H  estimate",
    "answer": "   answer",
    "generate": "G  generate",
    "learn": "T  learn",
    "adapted": "   answer adapted",
}


def stage_name(stage: str) -> str:
    """Return a stage's name for people, without the alignment of bars."""
    return " ".join(LABELS.get(stage, stage).split())


class Silent:
    """A reporter that prints nothing, and the base of the others."""

    def plan(self, stage: str, count: int) -> None: ...

    def advance(self, stage: str, count: float) -> None: ...

    def seed_started(
        self, spec: Spec, seed: int, samples: int, done: int, folder: Path
    ) -> None: ...

    def taken_over(self, count: int) -> None: ...

    def sample_finished(self, record: Record, done: int, samples: int) -> None: ...

    def seed_finished(self, results: Mapping[str, JSON]) -> None: ...

    def stop(self) -> None: ...


class Bars(Silent):
    """A live bar for the samples and one for each stage, with counts and time left, on stderr."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._bars: dict[str, TaskID] = {}
        self._reached: dict[str, float] = {}

    def seed_started(self, spec: Spec, seed: int, samples: int, done: int, folder: Path) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.stop()
        console = Console(stderr=True)
        console.print(opening(spec, seed, samples, done, folder), highlight=False)
        self._progress = Progress(
            TextColumn("{task.description:<18}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._progress.start()
        self._reached = {}
        self._bars = {"samples": self._progress.add_task("samples", total=samples, completed=done)}

    def taken_over(self, count: int) -> None:
        if self._progress is not None:
            self._progress.console.print(taken_over(count), highlight=False)

    def plan(self, stage: str, count: int) -> None:
        if self._progress is None:
            return
        if stage not in self._bars:
            self._bars[stage] = self._progress.add_task(LABELS.get(stage, stage), total=0)
        bar = self._bars[stage]
        total = next(task.total for task in self._progress.tasks if task.id == bar)
        self._progress.update(bar, total=(total or 0) + count)

    def advance(self, stage: str, count: float) -> None:
        if self._progress is not None and stage in self._bars:
            self._reached[stage] = self._reached.get(stage, 0.0) + count
            # Shares of samples add up to whole ones except for rounding errors.
            self._progress.update(self._bars[stage], completed=round(self._reached[stage], 6))

    def sample_finished(self, record: Record, done: int, samples: int) -> None:
        if self._progress is not None:
            self._progress.update(self._bars["samples"], completed=done)
            if record.error:
                self._progress.console.print(f"error  {record.id}: {record.error}", markup=False)

    def seed_finished(self, results: Mapping[str, JSON]) -> None:
        self.stop()

    def stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class Lines(Silent):
    """Plain lines on stderr: one for each stage of a wave, and one for each failed sample."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._planned = dict.fromkeys(STAGES, 0)
        self._reached = dict.fromkeys(STAGES, 0.0)
        self._found: int | None = None  # samples that were finished before this session

    def seed_started(self, spec: Spec, seed: int, samples: int, done: int, folder: Path) -> None:
        self.__init__()  # type: ignore[misc]
        self._say(opening(spec, seed, samples, done, folder))

    def taken_over(self, count: int) -> None:
        self._say(taken_over(count))

    def plan(self, stage: str, count: int) -> None:
        if stage == LOAD:
            self._say("loading the model")
        self._planned[stage] = self._planned.get(stage, 0) + count

    def advance(self, stage: str, count: float) -> None:
        self._reached[stage] = self._reached.get(stage, 0.0) + count
        if round(self._reached[stage], 6) == self._planned[stage]:
            so_far = self._planned[stage]
            told = "done" if stage == LOAD else f"{so_far} sample{'s'[: so_far != 1]} so far"
            self._say(f"{stage_name(stage)}: {told}")

    def sample_finished(self, record: Record, done: int, samples: int) -> None:
        if self._found is None:
            self._found = done - 1
        if record.error:
            self._say(f"error {record.id}: {record.error}")
        elif done == samples or done % 10 == 0:
            seconds = (time.monotonic() - self._began) / (done - self._found)
            left = seconds * (samples - done)
            self._say(f"{done} of {samples} samples finished, about {left:.0f} s to go")

    def _say(self, text: str) -> None:
        # If stderr cannot be written to, the run goes on without progress.
        note(f"[{time.monotonic() - self._began:6.1f} s] {text}")


class Events(Silent):
    """One JSON object per line on stdout."""

    def seed_started(self, spec: Spec, seed: int, samples: int, done: int, folder: Path) -> None:
        self._say(
            "started", name=spec.name, seed=seed, samples=samples, done=done, folder=str(folder)
        )

    def taken_over(self, count: int) -> None:
        self._say("taken_over", count=count)

    def sample_finished(self, record: Record, done: int, samples: int) -> None:
        self._say(
            "sample",
            id=record.id,
            done=done,
            samples=samples,
            uncertain=record.estimate.uncertain if record.estimate else None,
            adapted=record.adapted,
            correct=record.final_score.correct if record.final_score else None,
            error=record.error or None,
        )

    def seed_finished(self, results: Mapping[str, JSON]) -> None:
        self._say("results", results=dict(results))

    def _say(self, event: str, **fields: Any) -> None:
        print(json.dumps({"event": event, **fields}), flush=True)


def opening(spec: Spec, seed: int, samples: int, done: int, folder: Path) -> str:
    """Return what is begun, in words: the spec, its model and samples, and where it is kept."""
    resumed = f", {done} already finished" if done else ""
    return (
        f"{spec.name}: {spec.model['id']} on {spec.benchmark.name}, seed {seed}, "
        f"{samples} samples{resumed} -> {folder}"
    )


def taken_over(count: int) -> str:
    """Return, in words, how many base answers are those of cells before."""
    return f"{count} base answers are those of cells before, which asked the model for the same"
