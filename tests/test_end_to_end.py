"""The whole method with the embedded model on real samples: waves, seeds, kill -9, reset.

Prompts are short and samples few: the tests check that answers do not depend on how a run went,
with a real model, real training and real decoding.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import ttsi
from ttsi.records.journal import read
from ttsi.running.cell_result import CellResult

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.model


def spec(**changed: Any) -> dict[str, Any]:
    """Return a spec of TT-SI on a few quickstart samples, cheap and greedy."""
    return {
        "name": "end-to-end",
        "model": {"id": "smollm2-135m", "dtype": "float32"},
        "benchmark": {"name": "quickstart", "limit": 2},
        "estimator": {"name": "rss_margin", "threshold": 0.9},
        "generator": {
            "name": "self",
            "prompt": "seed_first",
            "format": "json",
            "attempts": 2,
            "max_calls": 1,
            "max_tokens": 64,
        },
        "learner": {"name": "lora_sft", "target": "as_answered"},
        "inference": {
            "name": "direct",
            "format": "tool_calls",
            "decoding": "greedy",
            "max_tokens": 48,
        },
    } | changed


def answers(cell: CellResult, seed: int = 0) -> list[tuple[Any, ...]]:
    """Return all that must not depend on how a run went: texts, decisions, examples."""
    records = list(read(cell.folder / f"seed-{seed}" / "samples.jsonl"))
    return [
        (
            record.id,
            record.estimate and record.estimate.uncertain,
            record.base and record.base.text,
            [example.text for example in record.examples],
            record.final and record.final.text,
            record.final_score,
        )
        for record in records
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> CellResult:
    """Return an uninterrupted run in waves of two."""
    out = tmp_path_factory.mktemp("whole")
    (cell,) = ttsi.evaluate(spec(executor={"name": "local", "wave": 2}), out=out)
    return cell


def test_the_run_adapted_something_and_reset_it(whole: CellResult) -> None:
    records = list(read(whole.folder / "seed-0" / "samples.jsonl"))
    assert len(records) == 2
    assert not any(record.error for record in records)
    adapted = [record for record in records if record.adapted]
    assert adapted
    for record in adapted:
        assert record.receipt is not None
        assert record.receipt["learning_rates"] == pytest.approx([0.0, 1e-4, 5e-5])
        assert record.receipt["losses"][2] < record.receipt["losses"][0]
    assert len({record.receipt["digest"] for record in adapted if record.receipt}) == len(adapted)
    (engine,) = whole.seeds[0]["engines"]
    assert engine["weights_digest"].startswith("sha256:")


def test_seeds_decide_sampled_answers(tmp_path: Path) -> None:
    sampled = spec(
        benchmark={"name": "quickstart", "limit": 1},
        estimator="never",
        inference={
            "name": "direct",
            "temperature": 1.5,
            "top_p": 1.0,
            "top_k": 0,
            "max_tokens": 16,
        },
        seeds=[1, 2],
    )
    (first,) = ttsi.evaluate(sampled, out=tmp_path / "first")
    (again,) = ttsi.evaluate({**sampled, "seeds": [2]}, out=tmp_path / "again")
    assert answers(first, 2) == answers(again, 2)
    assert answers(first, 1) != answers(first, 2)


def start(folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    path = folder / "spec.json"
    path.write_text(json.dumps(spec(executor={"name": "local", "wave": 1})))
    return subprocess.Popen(
        [sys.executable, "-m", "ttsi", "eval", str(path), "--out", str(folder / "runs"), "-q"],
        cwd=ROOT,
        env=dict(os.environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_a_run_killed_at_a_random_moment_resumes_to_the_same_answers_in_smaller_waves(
    whole: CellResult, tmp_path: Path
) -> None:
    moment = random.SystemRandom().uniform(2, 12)
    process = start(tmp_path / "killed")
    deadline = time.monotonic() + moment
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    assert process.wait() in (0, -signal.SIGKILL)
    assert start(tmp_path / "killed").wait() == 0
    (folder,) = (tmp_path / "killed" / "runs").iterdir()
    resumed = dataclasses.replace(whole, folder=folder)
    assert answers(resumed) == answers(whole), f"killed after {moment:.1f} s"
    before = (whole.folder / "seed-0" / "predictions.jsonl").read_bytes()
    assert (folder / "seed-0" / "predictions.jsonl").read_bytes() == before


def test_a_missing_model_is_an_error_with_a_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ttsi.cli.main import main

    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec(model={"id": "./no-such-model"})))
    assert main(["eval", str(path), "--out", str(tmp_path / "runs")]) == 5
    err = capsys.readouterr().err
    assert "no-such-model" in err
    assert "cure:" in err
    assert "Traceback" not in err
