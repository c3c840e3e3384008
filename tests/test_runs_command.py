"""`ttsi runs`: which runs there are, and what tells them apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ttsi
from ttsi.cli.main import main

SPEC = {
    "name": "scripted",
    "model": {"id": "scripted"},
    "engine": "ttsi-fakes/scripted",
    "benchmark": {"name": "ttsi-fakes/rows", "rows": 6},
    "inference": {"name": "direct", "decoding": "greedy"},
}


def evaluated(out: Path, **changed: Any) -> Path:
    (cell,) = ttsi.evaluate({**SPEC, **changed}, out=out)
    return cell.folder


def told(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    """Return what --json says, by the run's folder."""
    capsys.readouterr()
    assert main(["runs", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["runs"]
    return {run["folder"]: run for run in found}


def test_runs_of_one_name_are_told_apart_by_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = evaluated(tmp_path, estimator="never", seeds=[0, 1])
    adapted = evaluated(tmp_path, estimator="always")
    other = evaluated(tmp_path, name="other", learner="icl")
    runs = told(tmp_path, capsys)
    assert set(runs) == {str(base), str(adapted), str(other)}
    assert runs[str(base)]["differs"] == {"estimator.name": "never"}
    assert runs[str(adapted)]["differs"] == {"estimator.name": "always"}
    assert runs[str(other)]["differs"] == {}
    assert runs[str(base)]["seeds"] == {"0": True, "1": True}
    assert (runs[str(base)]["samples"], runs[str(base)]["accuracy"]) == (12, 0.5)
    assert (runs[str(adapted)]["base_accuracy"], runs[str(adapted)]["accuracy"]) == (0.5, 1.0)
    assert main(["runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith(str(adapted)))
    assert lines[first + 1 : first + 3] == [
        "    scripted on ttsi-fakes/rows, seed 0: 6 samples, 50.0 % -> 100.0 %",
        "    estimator always",
    ]
    # A run may be named itself, and is then told apart from nothing.
    assert told(adapted, capsys)[str(adapted)]["differs"] == {}


def test_an_unfinished_run_says_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = evaluated(tmp_path) / "seed-0"
    (seed / "manifest.json").unlink()
    lines = (seed / "samples.jsonl").read_text().splitlines(keepends=True)
    # A sample that failed and was tried again has two lines.
    (seed / "samples.jsonl").write_text("".join([*lines[:4], lines[3]]))
    (run,) = told(tmp_path, capsys).values()
    assert (run["seeds"], run["so_far"], run["accuracy"]) == ({"0": False}, 4, None)
    assert main(["runs", str(tmp_path)]) == 0
    assert "seed 0 unfinished: 4 finished so far, no result yet" in capsys.readouterr().out


def test_a_damaged_run_hides_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound, damaged = evaluated(tmp_path), evaluated(tmp_path, estimator="always")
    (damaged / "seed-0" / "spec.resolved.json").write_text("[]")
    runs = told(tmp_path, capsys)
    assert runs[str(sound)]["trouble"] == ""
    assert "spec.resolved.json is not what" in runs[str(damaged)]["trouble"]
    assert main(["runs", str(tmp_path)]) == 0
    assert "cannot be read: spec.resolved.json" in capsys.readouterr().out


def test_no_run_is_an_error_with_a_cure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(tmp_path)]) == 2
    assert "cure:  Name the folder" in capsys.readouterr().err
