"""The generator `teacher` against a real model server: `transformers serve` on loopback."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
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

pytestmark = [pytest.mark.model, pytest.mark.slow]

PATIENCE = 120.0
ATTEMPTS, LENGTH = 2, 64
SAMPLED = {
    "do_sample": True,
    "temperature": 0.7,
    "top_p": 0.8,
    "top_k": 20,
    "repetition_penalty": 1.1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}


@pytest.fixture(scope="module")
def folder() -> Path:
    """Return the embedded model in Hugging Face's own files, in the user's own cache."""
    return weights.resolve({"id": "smollm2-135m"})


@pytest.fixture(scope="module")
def url(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    log = tmp_path_factory.mktemp("serve") / "log"
    with served([*command, "--device", "cpu"], log, patience=PATIENCE) as address:
        yield address


def test_a_real_server_writes_examples(
    url: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surroundings(monkeypatch, tmp_path)
    generator = teacher(
        url,
        key=None,
        model=str(folder),
        attempts=ATTEMPTS,
        concurrency=2,
        extra_body={"generation_config": json.dumps(SAMPLED)},
        max_tokens=LENGTH,
        usd_per_million_prompt_tokens=1.0,
        usd_per_million_completion_tokens=1.0,
    )
    tasks = [sample.task for sample in list(Quickstart().samples())[:2]]
    ledger: dict[str, StageCost] = {}
    with charging(ledger):
        found = generator.generate(tasks, ScriptedEngine(), seed=0)

    kept = [json.loads(path.read_text()) for path in (tmp_path / "teacher").rglob("*.json")]
    asked = sum(some[0].attempts if some else ATTEMPTS for some in found)
    assert len(kept) == asked
    for answer in kept:
        assert answer["prompt_tokens"] > 100
        assert 0 < answer["completion_tokens"] <= LENGTH
        assert answer["text"]
    assert len({answer["text"] for answer in kept}) == len(kept)
    for kind in ("prompt_tokens", "completion_tokens"):
        charged = sum(getattr(cost, kind) for cost in ledger.values())
        assert charged == sum(answer[kind] for answer in kept)
    for task, examples in zip(tasks, found, strict=True):
        assert ledger[task.id].usd > 0
        for example in examples:
            assert example.task.input not in ("", task.input)
            assert example.task.tools == task.tools
            assert not any(argument_faults(task.tools, call) for call in calls_in(example.answer))

    again: dict[str, StageCost] = {}
    with charging(again):
        assert replace(generator).generate(tasks, ScriptedEngine(), seed=0) == found
    assert set(again.values()) == {StageCost()}
