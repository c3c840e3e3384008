"""Adapters of the embedded model, made again: the same bytes, and PEFT's answers with them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from exports import export, run

from ttsi.digests import file_digest
from ttsi.records.journal import read
from ttsi.types import Prompt

REAL: dict[str, dict[str, Any]] = {
    # Two samples side by side, and no more than an adapter needs.
    "start": {
        "benchmark": {"name": "quickstart", "limit": 2},
        "baseline": False,
        "learner": {"name": "lora_sft", "epochs": 2},
    },
    # One sample whose prompt is read before: by the estimator, and for the base answer.
    "user_turn": {
        "benchmark": {"name": "quickstart", "limit": 1},
        "estimator": {"name": "rss_margin", "threshold": 1},
        "learner": {
            "name": "lora_sft",
            "target": "as_answered",
            "active_from": "user_turn",
            "epochs": 2,
        },
    },
}


@pytest.fixture(scope="module", params=REAL)
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of the embedded model."""
    document = {
        "name": request.param,
        "model": {"id": "smollm2-135m", "dtype": "float32"},
        "engine": {"name": "transformers", "device": "cpu"},
        "generator": {
            "name": "self",
            "prompt": "seed_first",
            "format": "json",
            "attempts": 2,
            "at_once": 1,
            "max_calls": 1,
            "max_tokens": 64,
        },
        "inference": {
            "name": "direct",
            "format": "tool_calls",
            "decoding": "greedy",
            "max_tokens": 16,
        },
        "executor": {"name": "local", "wave": 2},
    }
    return run(tmp_path_factory.mktemp(request.param), **document, **REAL[request.param])


@pytest.mark.model
def test_a_real_adapter_is_the_same_and_peft_answers_by_it(real: Path, tmp_path: Path) -> None:
    records = list(read(real / "seed-0" / "samples.jsonl"))
    record = next(each for each in records if each.adapted)
    assert export(real, record.id, tmp_path / "out") == 0
    receipt = json.loads((tmp_path / "out" / "receipt.json").read_text())
    assert receipt["equal"] is True
    assert record.receipt is not None
    weights = tmp_path / "out" / "adapter_model.safetensors"
    assert file_digest(weights) == record.receipt["digest"]
    activated = real.name.startswith("user_turn")
    same_in_peft(tmp_path / "out", real, record.id, activated=activated)


def same_in_peft(folder: Path, real: Path, sample: str, *, activated: bool) -> None:
    """Compare logits of the sample's own prompt: ours from the engine's bank, theirs from PEFT."""
    import peft
    import torch
    from engines import shared_engine
    from transformers import AutoModelForCausalLM

    from ttsi.results.runs import open_run
    from ttsi_plugins.engines.transformers import lora
    from ttsi_plugins.engines.transformers.caches import NO_PAST
    from ttsi_plugins.engines.transformers.passes import Row, Rows

    runtime = shared_engine()._runtime()
    task = open_run(real).samples[sample].task
    ids = runtime.tokens.prompt(Prompt(task.messages))
    config = json.loads((folder / "adapter_config.json").read_text())
    assert bool(config["alora_invocation_tokens"]) is activated
    start = lora.begins(config, ids)
    assert start is not None
    assert (start > 0) is activated
    text = torch.tensor([ids])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT warns of its own affairs
        base = AutoModelForCausalLM.from_pretrained(runtime.loaded.folder, dtype=torch.float32)
        plain = base(input_ids=text).logits[0]
        theirs = peft.PeftModel.from_pretrained(base, folder)(input_ids=text).logits[0]
        past = runtime.reader.past(ids[:start]) if start else NO_PAST
        places = torch.arange(start, len(ids))
        with runtime.bank.on(runtime.bank.load([lora.read(folder)])):
            plan = Rows([Row(len(ids) - start, past)])
            ours = runtime.network.run(text[:, start:], places[None], plan, places - start)
    assert torch.equal(theirs[:start], plain[:start])
    scale = theirs[start:].norm()
    assert (ours - theirs[start:]).norm() <= 1e-5 * scale
    assert (theirs[start:] - plain[start:]).norm() > 1e-3 * scale
