"""vLLM's own OpenAI server as a teacher (TT-D), on loopback."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_server import served
from teacher_server import surroundings, teacher

from ttsi.answers.calls.validation import argument_faults
from ttsi.answers.calls.values import calls_in
from ttsi.solving.metering import charging
from ttsi.types import StageCost
from ttsi_benchmarks.quickstart import Quickstart
from ttsi_fakes import ScriptedEngine
from ttsi_plugins.engines.transformers import weights

PATIENCE = 600.0
NAME = "smollm2"
ATTEMPTS, LENGTH = 3, 160


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = weights.resolve({"id": "smollm2-135m", "dtype": "float32"})
    # What `vllm serve` runs; the command itself asks for the version of a package called vllm.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--served-model-name", NAME, "--dtype", "float32"]
    command += ["--max-model-len", "4096", "--enforce-eager"]
    log = tmp_path_factory.mktemp("serve") / "log"
    settings = {"VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    with served(command, log, patience=PATIENCE, **settings) as address:
        yield address


def test_vllms_server_writes_examples(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With response_format, so that even a small model's outputs are of the right form."""
    surroundings(monkeypatch, tmp_path)
    generator = teacher(
        url,
        key=None,
        model=NAME,
        attempts=ATTEMPTS,
        at_once=ATTEMPTS,
        format="json",
        max_calls=1,
        max_tokens=LENGTH,
        timeout=PATIENCE,
        temperature=0.7,
        extra_body={"top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1},
    )
    tasks = [sample.task for sample in list(Quickstart().samples())[:2]]
    ledger: dict[str, StageCost] = {}
    with charging(ledger):
        found = generator.generate(tasks, ScriptedEngine(), seed=0)
    kept = [json.loads(path.read_text()) for path in (tmp_path / "teacher").rglob("*.json")]
    assert len(kept) == ATTEMPTS * len(tasks)
    assert all(answer["prompt_tokens"] > 100 for answer in kept)
    assert all(0 < answer["completion_tokens"] <= LENGTH for answer in kept)
    charged = sum(cost.completion_tokens for cost in ledger.values())
    assert charged == sum(answer["completion_tokens"] for answer in kept)
    assert any(found)
    for task, examples in zip(tasks, found, strict=True):
        for example in examples:
            assert example.task.input not in ("", task.input)
            assert example.task.tools == task.tools
            assert not any(argument_faults(task.tools, call) for call in calls_in(example.answer))
