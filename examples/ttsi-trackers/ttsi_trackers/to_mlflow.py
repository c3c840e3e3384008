"""Log runs to MLflow: to MLFLOW_TRACKING_URI, or where MLflow keeps runs by default."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ttsi import json_digest

from ttsi_trackers.progress import Progress
from ttsi_trackers.tracker import Tracker

FOLDER = "ttsi.folder"


class MlflowTracker(Tracker):
    """A seed is a run of MLflow; a seed that is resumed goes on in the same one."""

    package = "mlflow"

    def begin(self, progress: Progress) -> None:
        # MLflow would otherwise tell its authors of its use; a run asks no server unasked.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "ttsi")
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self._client.create_experiment(name)
        folder = json_digest(str(progress.folder))
        wanted = f"tags.`{FOLDER}` = '{folder}'"
        found = self._client.search_runs([experiment], wanted) if len(progress) else []
        if found:
            self._run = found[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            return
        made = self._client.create_run(experiment, tags={FOLDER: folder}, run_name=progress.name)
        self._run = made.info.run_id
        params = [Param(key, value) for key, value in progress.params.items()]
        self._client.log_batch(self._run, params=params)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        logged = [Metric(name, value, now, step) for name, value in metrics.items()]
        self._client.log_batch(self._run, metrics=logged)

    def end(self, files: Sequence[Path]) -> None:
        for file in files:
            self._client.log_artifact(self._run, str(file))
        self._client.set_terminated(self._run)


HOOKS = MlflowTracker()
