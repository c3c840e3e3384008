"""A whole run with the engine, by the command; its death leaves no process of vLLM's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from conftest import MODEL, SHARE

from ttsi.records.journal import read

PATIENCE = 300.0


def spec() -> dict[str, Any]:
    """TT-SI on four quickstart samples, all of them adapted where an example can be made."""
    return {
        "name": "vllm",
        "model": MODEL,
        "engine": {
            "name": "vllm",
            "gpu_memory_utilization": SHARE / psutil.virtual_memory().total,
            "memory_gib": 1,
            "max_loras": 4,
            "max_model_len": 2048,
            "eager": True,
        },
        "benchmark": {"name": "quickstart", "limit": 4},
        "estimator": {"name": "rss_margin", "threshold": 1.0},
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
        "executor": {"name": "local", "wave": 2},
    }


def started(folder: Path) -> subprocess.Popen[str]:
    path = folder / "spec.json"
    path.write_text(json.dumps(spec()))
    command = [sys.executable, "-m", "ttsi", "eval", str(path), "--out", str(folder / "runs")]
    return subprocess.Popen(
        [*command, "--progress", "none"],
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_whole_run_that_is_killed_and_resumed(tmp_path: Path) -> None:
    before = set(Path("/dev/shm").glob("ttsi-adapters-*"))
    killed = started(tmp_path)
    until = time.monotonic() + PATIENCE
    while not any(path.stat().st_size for path in tmp_path.glob("runs/*/seed-0/samples.jsonl")):
        assert killed.poll() is None, killed.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.1)
    children = psutil.Process(killed.pid).children(recursive=True)
    killed.kill()
    killed.wait()
    assert killed.stdout is not None
    killed.stdout.close()
    assert len(children) > 1
    assert psutil.wait_procs(children, timeout=PATIENCE)[1] == []
    assert set(Path("/dev/shm").glob("ttsi-adapters-*")) == before

    resumed = started(tmp_path)
    said = resumed.communicate()[0]
    assert resumed.returncode == 0, said
    (folder,) = tmp_path.glob("runs/*/seed-0")
    results = json.loads((folder / "results.json").read_text())
    assert (results["samples"], results["errors"]) == (4, 0)
    (engine,) = results["engines"]
    assert engine["versions"]["vllm"].startswith("0.")
    adapted = [record for record in read(folder / "samples.jsonl") if record.adapted]
    assert adapted
    for record in adapted:
        assert record.receipt is not None
        assert record.receipt["losses"][-1] < record.receipt["losses"][0]
        assert record.costs["adapted"].completion_tokens > 0
