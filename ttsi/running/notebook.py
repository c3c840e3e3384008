"""Progress in a notebook: a bar and a line of text, which are written over as the run goes on."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttsi.running.progress import Silent, opening, stage_name
from ttsi.spec import Spec
from ttsi.types import JSON, Record

_BEAT = 0.2
"""The least seconds between two updates: each is a message to the browser."""


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook: a terminal's IPython has none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


class Notebook(Silent):
    """A reporter with an output of its own for each seed."""

    def __init__(self) -> None:
        self._output: Any = None

    def seed_started(self, spec: Spec, seed: int, samples: int, done: int, folder: Path) -> None:
        from IPython import display as untyped

        shown: Any = untyped
        self._opening = opening(spec, seed, samples, done, folder)
        self._began, self._told = time.monotonic(), 0.0
        self._first, self._done, self._samples = done, done, samples
        self._stage, self._last, self._errors = "", "", 0
        self._planned: dict[str, float] = {}
        self._reached: dict[str, float] = {}
        self._output = shown.display(self, display_id=True)

    def plan(self, stage: str, count: int) -> None:
        self._planned[stage] = self._planned.get(stage, 0) + count

    def advance(self, stage: str, count: float) -> None:
        self._reached[stage] = done = self._reached.get(stage, 0) + count
        of = self._planned.get(stage, 0)
        self._stage = f"{stage_name(stage)} {done:.0f} of {of:.0f}"
        # The end of a stage is told in any case: what comes next may take long.
        self._update(at_once=round(done, 6) >= of)

    def sample_finished(self, record: Record, done: int, samples: int) -> None:
        self._done = done
        if record.error:
            self._errors += 1
            self._last = f"{record.id}: {record.error}"
        self._update()

    def seed_finished(self, results: Mapping[str, JSON]) -> None:
        accuracy: Any = results["accuracy"]
        base: Any = results["base"]
        before = "" if base is None else f", base model {100 * base['accuracy']:.1f} %"
        self._stage = f"accuracy {100 * accuracy:.1f} %{before}"
        self._update(at_once=True)
        self._output = None

    def stop(self) -> None:
        if self._output is not None:
            self._update(at_once=True)

    def __repr__(self) -> str:
        return f"{self._opening}\n{self._line()}"

    def _repr_html_(self) -> str:
        bar = f'<progress value="{self._done}" max="{self._samples}"></progress>'
        return f"{html.escape(self._opening)}<br>{bar} {html.escape(self._line())}"

    def _line(self) -> str:
        seconds = time.monotonic() - self._began
        new, left = self._done - self._first, self._samples - self._done
        rest = f", about {seconds / new * left:.0f} s to go" if new and left else ""
        errors = f", {self._errors} errors, last {self._last}" if self._errors else ""
        stage = f"; {self._stage}" if self._stage else ""
        return f"{self._done} of {self._samples} samples in {seconds:.0f} s{rest}{stage}{errors}"

    def _update(self, *, at_once: bool = False) -> None:
        if self._output is not None and (at_once or time.monotonic() - self._told > _BEAT):
            self._told = time.monotonic()
            self._output.update(self)
