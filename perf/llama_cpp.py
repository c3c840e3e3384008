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
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from perf.common import Bench, Unequal
from perf.served import Rows, arguments
from perf.timing import Side, take_turns
from ttsi_plugins.engines.transformers import weights
from ttsi_plugins.engines.transformers.grammar import grammar_schema


class Peer:
    """A llama.cpp server in this process, with a slot for each of `rows`."""

    def __init__(self, file: Path, rows: Rows, ngrams: bool) -> None:
        import xllamacpp

        prompts = rows.prompts
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_parallel = len(prompts)
        params.n_ctx = len(prompts) * (max(map(len, prompts)) + rows.most + 64)
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
                "max_tokens": rows.most,
                "temperature": 0,
                "id_slot": slot,
                "cache_prompt": True,
                "json_schema": json.loads(grammar_schema(json.dumps(request.grammar))),
            }
            for slot, (prompt, request) in enumerate(zip(prompts, rows.requests, strict=True))
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
    given = arguments(__doc__ or "").parse_args()
    bench = Bench(given.model, given.device, given.dtype, max_batch=given.samples)
    rows = Rows(bench, given)
    found = weights.gguf_file({"id": given.model})
    if found is None:
        sys.exit(f"{given.model} is no GGUF file, which llama.cpp needs")
    file, _ = found
    peers = {name: Peer(file, rows, name != "") for name in ("", "ngrams")}
    # The first answer leaves its prompt in the slot: only the prompt's last token is read again.
    sides = {name: Side(f"llama.cpp {name}", peer.answer) for name, peer in peers.items()}
    ours = rows.ours()
    take_turns([ours, *sides.values()], given.pairs, bench.device)
    for name, side in sides.items():
        if max(answer["read"] for answer in side.result) > 1:
            raise Unequal("llama.cpp reads prompts again")
        referee = (f"llama.cpp, {file.name}, {name or 'as it comes'}", version("xllamacpp"))
        stage = f"decode-llama.cpp-{given.samples}{'-' if name else ''}{name}"
        rows.report(stage, ours, side, referee)


if __name__ == "__main__":
    main()
