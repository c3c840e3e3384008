"""A real run, read back from MLflow's and trackio's local stores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SPEC = {
    "name": "tracked",
    "model": {"id": "smollm2-135m"},
    "benchmark": {"name": "quickstart", "limit": 4},
    "estimator": "never",
    "inference": {"name": "direct", "format": "tool_calls", "decoding": "greedy", "max_tokens": 40},
    "executor": {"name": "local", "wave": 2},
}
STOP = """\
from ttsi import evaluate, hookimpl

class Stop:
    @hookimpl
    def ttsi_sample_finished(self, record):
        raise KeyboardInterrupt

evaluate("spec.json", hooks=[Stop()])
"""


def python(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    places = {"TRACKIO_DIR": "trackio", "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    places["HF_HUB_OFFLINE"] = "1"
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=cwd, env=os.environ | places, capture_output=True, text=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which a run was interrupted after a sample, and then resumed."""
    made = tmp_path_factory.mktemp("place")
    (made / "spec.json").write_text(json.dumps(SPEC))
    stopped = python("-c", STOP, cwd=made)
    assert ("KeyboardInterrupt" in stopped.stderr, stopped.stdout) == (True, "")
    done = python("-m", "ttsi", "eval", "spec.json", "--json", cwd=made)
    assert done.returncode == 0, done.stderr
    assert "hook plugin" not in done.stderr
    # What the libraries print must not get between the events.
    assert all(json.loads(line) for line in done.stdout.splitlines())
    return made


@pytest.fixture(scope="module")
def results(place: Path) -> dict[str, object]:
    (path,) = place.glob("runs/*/seed-0/results.json")
    return dict(json.loads(path.read_text()))


def test_mlflow_has_the_run(place: Path, results: dict[str, object]) -> None:
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("ttsi").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["model.id"] == "smollm2-135m"
    assert run.data.params["executor.wave"] == "2"
    low, high = results["accuracy_interval"]
    metrics = run.data.metrics
    assert metrics["final/accuracy"] == metrics["so_far/accuracy"] == results["accuracy"]
    assert (metrics["final/accuracy_low"], metrics["final/accuracy_high"]) == (low, high)
    assert metrics["so_far/seconds"] == pytest.approx(results["stages"]["seconds"])
    history = client.get_metric_history(run.info.run_id, "so_far/accuracy")
    assert [point.step for point in history] == [2, 4]
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert names == {"results.json", "report.html"}


def test_trackio_has_the_run(place: Path, results: dict[str, object]) -> None:
    pytest.importorskip("trackio")
    code = """\
import json, trackio
(run,) = trackio.Api().runs("ttsi")
from trackio.sqlite_storage import SQLiteStorage
print(json.dumps([run.name, run.config, SQLiteStorage.get_logs("ttsi", run.name)], default=str))
"""
    done = python("-c", code, cwd=place)
    name, config, logs = json.loads(done.stdout.splitlines()[-1])
    assert name.startswith("tracked-")
    assert config["benchmark.limit"] == "4"
    steps = {row["step"]: row for row in logs if "so_far/accuracy" in row}
    assert list(steps) == [2, 4]
    (last,) = (row for row in logs if "final/accuracy" in row)
    assert last["final/accuracy"] == results["accuracy"]
    kept = {path.name for path in (place / "trackio").rglob("*") if path.is_file()}
    assert kept
