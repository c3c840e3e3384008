"""What `ttsi export-adapter` writes is an adapter to vLLM, as it stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cases import greedy
from vllm.lora.request import LoRARequest

import ttsi
from ttsi.cli.main import main
from ttsi.records.journal import read
from ttsi.results.runs import open_run
from ttsi.types import Generation, Request
from ttsi_plugins.engines.transformers import TransformersEngine, lora
from ttsi_plugins.engines.vllm import VllmEngine

SPEC = {
    "name": "exported",
    "model": {"id": "smollm2-135m", "dtype": "float32"},
    "benchmark": {"name": "quickstart", "limit": 3},
    "estimator": "always",
    "generator": {
        "name": "self",
        "prompt": "seed_first",
        "format": "json",
        "attempts": 3,
        "max_calls": 1,
        "max_tokens": 64,
    },
    "learner": {"name": "lora_sft", "learning_rate": 1e-3},
    "inference": {
        "name": "direct",
        "format": "tool_calls",
        "decoding": "greedy",
        "max_tokens": 16,
    },
    "baseline": False,
}


def test_an_exported_adapter_answers_as_ours_does(
    engine: VllmEngine, oracle: TransformersEngine, tmp_path: Path
) -> None:
    (cell,) = ttsi.evaluate(SPEC, out=tmp_path / "runs")
    records = read(cell.folder / "seed-0" / "samples.jsonl")
    record = next(record for record in records if record.adapted)
    folder = tmp_path / "adapter"
    assert main(["export-adapter", str(cell.folder), record.id, str(folder)]) == 0
    request = greedy(open_run(cell.folder).samples[record.id].task)
    ours, base = oracle.generate([replace(request, adapter=lora.read(folder)), request])
    made = answer(engine, request, folder)
    assert made.text == ours.text
    assert abs(made.logprob - ours.logprob) < 1e-2
    assert (made.text, round(made.logprob, 1)) != (base.text, round(base.logprob, 1))


def answer(engine: VllmEngine, request: Request, folder: Path) -> Generation:
    """vLLM's, with the adapter that it reads from `folder` itself."""
    runtime = engine._runtime()
    row = runtime.writer.row(request)
    handed = LoRARequest("exported", 10**6 + 1, str(folder))
    runtime.server.add_adapter(handed)
    try:
        (output,) = runtime.server.run([(row.prompt, row.params)], [handed], lambda *_: None)
    finally:
        runtime.server.remove_adapter(handed)
    row.take(output)
    return runtime.writer.generation(row)
