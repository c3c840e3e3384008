"""The progress that people and programs are shown during a run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import ttsi
from ttsi.cli.eval import exit_code
from ttsi.running.cell_result import CellResult
from ttsi.running.evaluate import estimates
from ttsi.running.progress import Bars, Events, Lines, Silent

SPEC = {
    "name": "scripted",
    "model": {"id": "scripted"},
    "engine": "ttsi-fakes/scripted",
    "benchmark": {"name": "ttsi-fakes/rows", "rows": 12},
    "estimator": "always",
    "inference": {"name": "direct", "decoding": "greedy"},
    "executor": {"name": "local", "wave": 5},
}


def told(reporter: Silent, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    ttsi.evaluate(SPEC, out=tmp_path, reporter=reporter)
    reporter.stop()
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_lines_tell_each_stage_of_each_wave_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = told(Lines(), tmp_path, capsys)
    assert out == ""
    assert "12 samples -> " in err
    assert re.findall(r"\] (load.*)", err) == ["loading the model", "load model: done"]
    for stage in ("H estimate", "answer", "G generate", "T learn", "answer adapted"):
        counts = re.findall(rf"\] {stage}: (\d+) samples? so far", err)
        assert counts == ["5", "10", "12"], stage
    assert "10 of 12 samples finished, about" in err
    assert "12 of 12 samples finished" in err


def test_bars_end_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = told(Bars(), tmp_path, capsys)
    assert err.count("12/12") >= 6
    assert "11/12" not in err.splitlines()[-1]


def test_a_resumed_run_says_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(Silent(), tmp_path, capsys)
    _, err = told(Lines(), tmp_path, capsys)
    assert "12 already finished" in err
    assert "G generate" not in err


def test_estimates_that_were_made_before_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = {**SPEC, "estimator": "rss_margin"}
    for told in (False, True):
        estimates(spec, out=tmp_path, reporter=Lines())
        assert ("12 already finished" in capsys.readouterr().err) == told


def test_events_count_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = told(Events(), tmp_path, capsys)
    events = [json.loads(line) for line in out.splitlines()]
    samples = [event for event in events if event["event"] == "sample"]
    assert [event["done"] for event in samples] == list(range(1, 13))
    assert all(event["correct"] and event["adapted"] for event in samples)
    assert err == ""


@pytest.mark.parametrize(("errors", "samples", "code"), [(0, 5, 0), (1, 5, 3), (5, 5, 1)])
def test_exit_codes_tell_errored_samples(errors: int, samples: int, code: int) -> None:
    results: dict[str, Any] = {"errors": errors, "samples": samples}
    (spec,) = ttsi.load_spec(SPEC)
    assert exit_code([CellResult(spec, Path(), {0: results}, {})]) == code
