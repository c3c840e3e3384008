"""Decoding against llama.cpp: the same constrained greedy answers from the same GGUF file, in turn.

llama.cpp computes with the quantised weights of the file, as its users do, and ours with the same
numbers as `dtype` has them, so texts may differ: each must be valid for its schema, and a ratio is
that of a token's time. All requests run side by side, and each prompt is in memory before. On the
second line llama.cpp guesses from repetitions, too (its n-gram speculation).

    pip install xllamacpp
    python -m perf.llama_cpp --model qwen2.5-coder-0.5b.gguf --samples 8
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import torch

from perf.common import Bench, Unequal, arguments, samples
from perf.floor import decoding_seconds
from perf.result import compare, report
from perf.timing import Side, take_turns
from ttsi.types import Generation, Request
from ttsi_plugins.engines.transformers import weights
from ttsi_plugins.engines.transformers.grammar import grammar_schema
from ttsi_plugins.inference.direct import Direct


class Peer:
    """A llama.cpp server in this process, with a slot for each of `prompts`."""

    def __init__(
        self, file: Path, requests: Sequence[Request], prompts: list[list[int]], ngrams: bool
    ) -> None:
        import xllamacpp

        most = requests[0].sampling.max_tokens
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_parallel = len(prompts)
        params.n_ctx = len(prompts) * (max(map(len, prompts)) + most + 64)
        params.cpuparams.n_threads = torch.get_num_threads()
        params.cpuparams_batch.n_threads = torch.get_num_threads()
        params.fit_params = False
        params.verbosity = -1
        if ngrams:
            kinds = xllamacpp.common_speculative_type
            params.speculative.types = [kinds.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
        self._server = xllamacpp.Server(params)
        self._asked = [
            {
                "prompt": prompt,
                "max_tokens": most,
                "temperature": 0,
                "id_slot": slot,
                "cache_prompt": True,
                "json_schema": json.loads(grammar_schema(json.dumps(request.grammar))),
            }
            for slot, (prompt, request) in enumerate(zip(prompts, requests, strict=True))
        ]

    def answer(self) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(len(self._asked)) as threads:
            return list(threads.map(self._one, self._asked))

    def _one(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = self._server.handle_completions(asked)
        if "choices" not in found:
            raise Unequal(f"llama.cpp answered {found}")
        (choice,) = found["choices"]
        return {
            "text": choice["text"],
            "finish": choice["finish_reason"],
            "tokens": found["usage"]["completion_tokens"],
            "read": found["timings"]["prompt_n"],
        }


def main() -> None:
    parser = arguments(__doc__ or "", samples=8, units="requests decoded together")
    parser.add_argument("--tokens", type=int, default=48, help="most tokens of an answer")
    given = parser.parse_args()
    bench = Bench(given.model, "cpu", given.dtype, max_batch=given.samples)
    decoder = Direct(format="tool_calls", decoding="greedy", max_tokens=given.tokens)
    tasks = [row.task for row in samples("sealtool", given.samples)]
    requests = [decoder.request(task, None, 0) for task in tasks]
    prompts = [bench.prompt_ids(request.prompt) for request in requests]
    found = weights.gguf_file({"id": given.model})
    if found is None:
        sys.exit(f"{given.model} is no GGUF file, which llama.cpp needs")
    file, _ = found
    peers = {name: Peer(file, requests, prompts, name != "") for name in ("", "ngrams")}
    asked = [request.prompt for request in requests]
    ours = Side(
        "ours",
        lambda: bench.engine.generate(requests),
        prepare=lambda: bench.keep_prefixes(asked),
    )
    # The first answer leaves its prompt in the slot: only the prompt's last token is read again.
    sides = {name: Side(f"llama.cpp {name}", peer.answer) for name, peer in peers.items()}
    take_turns([ours, *sides.values()], given.pairs, bench.device)
    ours.work = sum(made.completion_tokens for made in ours.result)
    floor = decoding_seconds(
        bench.shape,
        bench.rates,
        [len(prompt) for prompt in prompts],
        [made.completion_tokens - 1 for made in ours.result],
        itemsize=bench.dtype.itemsize,
    )
    for name, side in sides.items():
        side.work = sum(answer["tokens"] for answer in side.result)
        if max(answer["read"] for answer in side.result) > 1:
            raise Unequal("llama.cpp reads prompts again")
        report(
            compare(
                f"decode-llama.cpp-{given.samples}{'-' if name else ''}{name}",
                bench.machine,
                ours,
                side,
                referee=(f"llama.cpp, {file.name}, {name or 'as it comes'}", version("xllamacpp")),
                samples=len(requests),
                unit="token",
                equal=agreement(requests, ours.result, side.result),
                floor=floor,
                notes=f"{given.samples} rows; prompts' caches in memory",
            ),
            given.out,
        )


def agreement(
    requests: Sequence[Request], made: Sequence[Generation], answers: Sequence[dict[str, Any]]
) -> str:
    """Return the assertion in words. Raises Unequal if a whole text is not valid."""
    pairs = list(zip(requests, made, answers, strict=True))
    whole = 0
    for request, generation, answer in pairs:
        for text, finish in (
            (generation.text, generation.finish),
            (answer["text"], answer["finish"]),
        ):
            if finish == "stop":
                whole += 1
                jsonschema.validate(json.loads(text), request.grammar)
    same = sum(generation.text == answer["text"] for _, generation, answer in pairs)
    return f"{whole} whole texts of {2 * len(pairs)} are valid; {same} of {len(pairs)} are the same"


if __name__ == "__main__":
    main()
