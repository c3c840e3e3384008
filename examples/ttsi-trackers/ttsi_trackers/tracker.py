"""When trackers log, and how they stay out of the run's way."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from ttsi import JSON, Record, hookimpl

from ttsi_trackers.progress import Progress, final


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


def report(folder: Path, page: Path) -> list[Path]:
    """Have `ttsi report` write the page; return nothing where it cannot."""
    command = [sys.executable, "-m", "ttsi", "report", str(folder), "-o", str(page), "-q"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=600)
    return [page] if done.returncode == 0 else []
