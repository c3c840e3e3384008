"""The hook package in examples/: when it logs what, and that it does a run no harm.

Its own tests have MLflow and trackio; here a tracker keeps what it is told.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from resumed import begun, spec

import ttsi

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "ttsi-trackers"))

from ttsi_trackers.progress import Progress, flat
from ttsi_trackers.tracker import Tracker


class Keeps(Tracker):
    """Keeps the metrics by step; `failing` is the method that raises."""

    package = "json"

    def __init__(self, failing: str = "") -> None:
        super().__init__()
        self.failing = failing
        self.calls: list[str] = []
        self.steps: list[tuple[int, Mapping[str, float]]] = []
        self.files: dict[str, int] = {}

    def begin(self, progress: Progress) -> None:
        self._called("begin")
        self.params = progress.params

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._called("log")
        self.steps.append((step, metrics))

    def end(self, files: Sequence[Path]) -> None:
        self._called("end")
        self.files = {file.name: file.stat().st_size for file in files}

    def _called(self, method: str) -> None:
        self.calls.append(method)
        if method == self.failing:
            raise ConnectionError("nobody is there")


def results(tracker: Tracker, out: Path, **changed: Any) -> Mapping[str, Any]:
    (cell,) = ttsi.evaluate(spec(**changed), out=out, hooks=[tracker])
    return cell.seeds[0]


def test_each_wave_and_the_end_are_logged(tmp_path: Path) -> None:
    tracker = Keeps()
    found = results(tracker, tmp_path, executor={"name": "local", "wave": 2})
    *waves, (last, final) = tracker.steps
    assert [step for step, _ in waves] == [2, 4]
    assert last == 4
    assert waves[-1][1]["so_far/accuracy"] == final["final/accuracy"] == found["accuracy"]
    assert waves[-1][1]["so_far/seconds"] == pytest.approx(found["stages"]["seconds"])
    assert waves[-1][1]["so_far/adapted_share"] == found["adapted"] / 4
    ends = [final["final/accuracy_low"], final["final/accuracy_high"]]
    assert ends == found["accuracy_interval"]
    assert (final["final/base_accuracy"], final["final/fixed"]) == (
        found["base"]["accuracy"],
        found["change"]["fixed"],
    )
    assert tracker.files["results.json"] > 0
    assert tracker.params["benchmark.rows"] == "4"


def test_a_run_that_is_resumed_counts_its_earlier_samples(tmp_path: Path) -> None:
    begun(tmp_path, spec())
    tracker = Keeps()
    found = results(tracker, tmp_path)
    assert [step for step, _ in tracker.steps] == [2, 3, 4, 4]
    assert tracker.steps[-2][1]["so_far/accuracy"] == found["accuracy"]


@pytest.mark.parametrize("method", ["begin", "log", "end"])
def test_one_that_fails_is_left_alone_and_changes_no_result(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = Keeps(method)
    harmed = results(tracker, tmp_path / "harmed")
    (alone,) = ttsi.evaluate(spec(), out=tmp_path / "alone")
    assert harmed["correct"] == alone.seeds[0]["correct"]
    assert tracker.calls.count(method) == 1
    assert tracker.calls[-1] == method
    assert capsys.readouterr().err.count("nobody is there") == 1


def test_without_its_library_it_does_nothing(tmp_path: Path) -> None:
    tracker = Keeps()
    tracker.package = "no_such_library"
    results(tracker, tmp_path)
    assert tracker.calls == []


def test_the_spec_is_told_by_the_names_that_set_takes() -> None:
    told = dict(flat({"model": {"id": "m", "kwargs": {}}, "seeds": [0, 1]}))
    assert told == {"model.id": "m", "seeds": [0, 1]}
    assert json.dumps(told)
