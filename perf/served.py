"""What decoding against other programs shares: the requests, our side of it, and the result."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import jsonschema

from perf.common import Bench, Unequal, samples
from perf.common import arguments as common_arguments
from perf.counting import ADAPTER_ITEM
from perf.floor import causal_pairs, decoding_seconds, forward
from perf.result import compare, report
from perf.timing import Side
from ttsi.types import Adapter, Generation, LoraRecipe, Request
from ttsi_plugins.inference.direct import Direct

IN_MEMORY = "prompts' caches in memory"


def arguments(description: str) -> argparse.ArgumentParser:
    parser = common_arguments(description, samples=8, units="requests decoded together")
    parser.add_argument("--tokens", type=int, default=48, help="most tokens of an answer")
    return parser


class Rows:
    """Constrained greedy requests that are decoded together, and the ids of their prompts.

    With `adapters`, one for each request, the prompts are read in the measured time.
    """

    def __init__(
        self, bench: Bench, given: argparse.Namespace, adapters: Sequence[Adapter] = ()
    ) -> None:
        decoder = Direct(format="tool_calls", decoding="greedy", max_tokens=given.tokens)
        tasks = [row.task for row in samples("sealtool", given.samples)]
        self._bench, self._out = bench, given.out
        self.most = int(given.tokens)
        self.adapters = adapters
        self.requests = [
            decoder.request(task, adapter, 0)
            for task, adapter in zip(tasks, adapters or [None] * len(tasks), strict=True)
        ]
        self.prompts = [bench.prompt_ids(request.prompt) for request in self.requests]

    def ours(self) -> Side:
        """Return our engine's side; it begins with the prompts' caches in memory, if no adapter
        acts on them."""
        asked = [request.prompt for request in self.requests]

        def prepare() -> None:
            if self.adapters:
                self._bench.forget()
            else:
                self._bench.keep_prefixes(asked)

        return Side("ours", lambda: self._bench.engine.generate(self.requests), prepare=prepare)

    def report(
        self, stage: str, ours: Side, theirs: Side, referee: tuple[str, str], least: int = 0
    ) -> None:
        """Report both sides. An answer of theirs has its "text", "finish" and number of "tokens".

        Raises Unequal as `agreement`.
        """
        bench, made = self._bench, ours.result
        ours.work = sum(generation.completion_tokens for generation in made)
        theirs.work = sum(answer["tokens"] for answer in theirs.result)
        result = compare(
            stage,
            bench.machine,
            ours,
            theirs,
            referee=referee,
            samples=len(made),
            unit="token",
            equal=agreement(self.requests, made, theirs.result, least),
            floor=self._floor(made),
            notes=f"{len(made)} rows; {'prompts read' if self.adapters else IN_MEMORY}",
        )
        report(result, self._out)

    def _floor(self, made: Sequence[Generation]) -> float:
        """Return the least seconds: the first token comes from the prompt, the last is not fed."""
        bench, adapted = self._bench, bool(self.adapters)
        decoding = decoding_seconds(
            bench.shape,
            bench.rates,
            [len(prompt) for prompt in self.prompts],
            [generation.completion_tokens - 1 for generation in made],
            itemsize=bench.dtype.itemsize,
            adapter_bytes=ADAPTER_ITEM * bench.shape.lora(LoraRecipe().rank) if adapted else 0,
        )
        if not adapted:
            return decoding
        # Under different adapters no part of a prompt is shared.
        tokens = sum(map(len, self.prompts))
        pairs = sum(causal_pairs(len(prompt)) for prompt in self.prompts)
        flops = forward(bench.shape, tokens, pairs, logits=len(self.prompts))
        flops += 2 * bench.shape.lora(LoraRecipe().rank) * tokens
        return decoding + flops / bench.rates.flops_per_second


def agreement(
    requests: Sequence[Request],
    made: Sequence[Generation],
    answers: Sequence[dict[str, Any]],
    least: int = 0,
) -> str:
    """Return the assertion in words.

    Raises Unequal if fewer than `least` texts are the same, and what jsonschema raises if a whole
    text is not valid for its schema.
    """
    whole = same = 0
    for request, ours, theirs in zip(requests, made, answers, strict=True):
        for text, finish in ((ours.text, ours.finish), (theirs["text"], theirs["finish"])):
            if finish == "stop":
                whole += 1
                jsonschema.validate(json.loads(text), request.grammar)
        same += ours.text == theirs["text"]
    told = f"{same} of {len(made)} are the same"
    if same < least:
        raise Unequal(told)
    return f"{whole} whole texts of {2 * len(made)} are valid; {told}"
