"""Log runs to trackio: to its local store, or to the server or Space that its variables name."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from ttsi_trackers.progress import Progress
from ttsi_trackers.tracker import Tracker


class TrackioTracker(Tracker):
    """A seed is a run of trackio; a seed that is resumed goes on in the same one."""

    package = "trackio"
    _run: Any = None

    def begin(self, progress: Progress) -> None:
        # trackio prints to stdout, where `ttsi eval --json` writes events.
        with redirect_stdout(sys.stderr):
            import trackio

            self._finish()  # the run of a seed that ended with an error
            self._run = trackio.init(
                project=os.environ.get("TRACKIO_PROJECT", "ttsi"),
                name=progress.name,
                config=progress.params,
                resume="allow" if len(progress) else "never",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        # Before trackio's own, which prints to stdout.
        atexit.unregister(self._finish)
        atexit.register(self._finish)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._run.log(dict(metrics), step=step)

    def end(self, files: Sequence[Path]) -> None:
        with redirect_stdout(sys.stderr):
            for file in files:
                self._run.log_artifact(file)
        self._finish()

    def _finish(self) -> None:
        import trackio

        if self._run is not None:
            self._run = None
            with redirect_stdout(sys.stderr):
                trackio.finish()


HOOKS = TrackioTracker()
