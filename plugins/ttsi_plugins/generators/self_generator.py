"""G, TT-SI: the model writes training examples like the input it is uncertain about (3.2, F.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ttsi import (
    Engine,
    Example,
    Request,
    Sampling,
    Task,
    draw_seed,
    option,
)
from ttsi import (
    EngineCapability as Can,
)
from ttsi_plugins.generators._asking import Asks
from ttsi_plugins.generators._contract import accept, distinct, example_schema


@dataclass(frozen=True)
class SelfGenerator(Asks):
    """The paper's: the model writes examples, requests and answers.

    It draws up to `attempts` outputs per example and keeps the first valid one.
    """

    samples: int = option(1, "K: how many examples to make for an input.", minimum=1, maximum=64)
    attempts: int = option(
        5, "How many outputs to draw for an example at most.", minimum=1, maximum=64
    )
    at_once: int = option(
        5,
        "How many attempts are drawn together. Changes the speed and not the result: each has "
        "its own seed and the first valid one in order is kept.",
        minimum=1,
        maximum=64,
    )
    format: Literal["free", "json"] = option(
        "free", "Free text as the paper, or decoding constrained to a valid example's JSON."
    )
    temperature: float = option(0.7, "Sampling temperature.", exclusiveMinimum=0)
    top_p: float = option(
        0.8, "Probability that nucleus sampling keeps (top-p).", exclusiveMinimum=0, maximum=1
    )
    top_k: int = option(20, "Likeliest tokens kept; 0 keeps all.", minimum=0)
    repetition_penalty: float = option(1.1, "Penalty on tokens seen.", exclusiveMinimum=0)
    max_tokens: int = option(320, "Length at which an output is cut.", minimum=1)
    max_calls: int = option(4, "Most calls in an example under format json.", minimum=1)

    @property
    def needs(self) -> frozenset[Can]:
        return frozenset({Can.GENERATE, Can.GRAMMAR} if self.format == "json" else {Can.GENERATE})

    def generate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[list[Example]]:
        found: list[dict[int, Example]] = [{} for _ in tasks]
        asked = [self._asked(task) for task in tasks]
        for first in range(0, self.attempts, self.at_once):
            drawn = range(first, min(first + self.at_once, self.attempts))
            wanted = [
                (t, k) for t in range(len(tasks)) for k in range(self.samples) if k not in found[t]
            ]
            slots = [(t, k, attempt) for t, k in wanted for attempt in drawn]
            if not slots:
                break
            outputs = engine.generate(
                [
                    replace(asked[t], seed=draw_seed(seed, tasks[t].id, f"generate/{k}", attempt))
                    for t, k, attempt in slots
                ]
            )
            for (t, k, attempt), output in zip(slots, outputs, strict=True):
                if k not in found[t]:
                    cut = output.finish == "length"
                    example = accept(tasks[t], k, attempt, output.text, cut=cut)
                    if isinstance(example, Example):
                        found[t][k] = example
                    else:
                        example.tell(tasks[t], output.text)
        return [
            distinct(task, (some[k] for k in sorted(some)))
            for task, some in zip(tasks, found, strict=True)
        ]

    def _asked(self, task: Task) -> Request:
        """Return what every attempt at an example of `task` asks; they differ in their seeds."""
        sampling = Sampling(
            self.temperature, self.top_p, self.top_k, self.repetition_penalty, self.max_tokens
        )
        grammar = example_schema(task, self.max_calls) if self.format == "json" else None
        prompt = self.asking(task)
        return Request(prompt, sampling, seed=0, grammar=grammar, owner=task.id)
