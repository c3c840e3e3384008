"""Log runs to trackio: to its local store, or to the server or Space that its variables name."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path

from ttsi_trackers.tracker import Progress, Tracker


class TrackioTracker(Tracker):
    """A seed is a run of trackio; a seed that is resumed goes on in the same one."""

    package = "trackio"

    def begin(self, progress: Progress) -> None:
        # trackio prints to stdout, where `ttsi eval --json` writes events.
        with redirect_stdout(sys.stderr):
            import trackio

            self._run = trackio.init(
                project=os.environ.get("TRACKIO_PROJECT", "ttsi"),
                name=progress.name,
                config=progress.params,
                resume="allow" if len(progress) else "never",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._run.log(dict(metrics), step=step)

    def end(self, files: Sequence[Path]) -> None:
        with redirect_stdout(sys.stderr):
            for file in files:
                self._run.log_artifact(file)
            self._run.finish()


HOOKS = TrackioTracker()
