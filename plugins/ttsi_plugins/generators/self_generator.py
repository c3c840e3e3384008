"""G, TT-SI: the model writes training examples like the input it is uncertain about (3.2, F.2).

It is shown the task's instruction and input, never a label, and asked for one new request with the
calls that answer it. The instruction holds the tool list, so variants keep it word for word: a
rewritten one would offer other tools.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ttsi.calls import calls_schema
from ttsi.digests import draw_seed
from ttsi.options import option
from ttsi.protocols import Engine
from ttsi.scoring.objects import find_object
from ttsi.scoring.parse import calls_of, parse_calls
from ttsi.types import Example, Generation, Message, Prompt, Request, Sampling, Task
from ttsi.validation import argument_faults

SEED_FIRST = """A user of this assistant wrote:

{seed}

Write what another user could ask: a similar request in other words, with other names and \
values. Use the same JSON form, and add the calls that answer it under the key "output". Every \
value in the calls comes from the new request. Reply with that JSON object and nothing else."""

WRITER = "You write training data for assistants that answer requests by calling tools."

QUOTED = """These are an assistant's instructions:

{instruction}

A user of that assistant wrote:

{seed}

Do not answer this request. Write one new training example like it: what another user could ask, \
in other words and with other names and values, and the calls that the assistant should answer \
with. Every value in the calls comes from the new request. Reply with one JSON object and nothing \
else: {{"input": "the new request", "output": [{{"name": "tool_name", "arguments": {{...}}}}]}}"""


@dataclass(frozen=True)
class SelfGenerator:
    """Draws up to `attempts` outputs per example and keeps the first that is valid."""

    needs: ClassVar[frozenset[str]] = frozenset({"generate"})

    samples: int = option(1, "K: how many examples to make for an input.", minimum=1, maximum=64)
    attempts: int = option(5, "How many outputs to draw for an example at most.", minimum=1)
    at_once: int = option(
        5,
        "How many attempts are drawn together. Changes the speed and not the result: each has "
        "its own seed and the first valid one in order is kept.",
        minimum=1,
    )
    prompt: Literal["quoted", "seed_first"] = option(
        "quoted",
        "Where the model sees the task's instruction: quoted in the request of a writer of data, "
        "or as its own system turn, which can share the cache of the other stages.",
    )
    format: Literal["free", "json"] = option(
        "free", "Free text as the paper, or decoding constrained to a valid example's JSON."
    )
    temperature: float = option(0.7, "Sampling temperature.", exclusiveMinimum=0)
    top_p: float = option(0.8, "Nucleus mass.", exclusiveMinimum=0, maximum=1)
    top_k: int = option(20, "Likeliest tokens kept; 0 keeps all.", minimum=0)
    repetition_penalty: float = option(1.1, "Penalty on tokens seen.", exclusiveMinimum=0)
    max_tokens: int = option(320, "Length at which an output is cut.", minimum=1)
    max_calls: int = option(4, "Most calls in an example under format json.", minimum=1)

    def generate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[list[Example]]:
        found: list[dict[int, Example]] = [{} for _ in tasks]
        for first in range(0, self.attempts, self.at_once):
            drawn = range(first, min(first + self.at_once, self.attempts))
            wanted = [
                (t, k) for t in range(len(tasks)) for k in range(self.samples) if k not in found[t]
            ]
            slots = [(t, k, attempt) for t, k in wanted for attempt in drawn]
            if not slots:
                break
            outputs = engine.generate([self._request(tasks[t], k, a, seed) for t, k, a in slots])
            for (t, k, attempt), output in zip(slots, outputs, strict=True):
                if k not in found[t]:
                    example = self._accept(tasks[t], k, attempt, output)
                    if example is not None:
                        found[t][k] = example
        return [_distinct([some[k] for k in sorted(some)]) for some in found]

    def _request(self, task: Task, k: int, attempt: int, seed: int) -> Request:
        sampling = Sampling(
            self.temperature, self.top_p, self.top_k, self.repetition_penalty, self.max_tokens
        )
        draw = draw_seed(seed, task.id, f"generate/{k}", attempt)
        prompt = Prompt(_messages(task, self.prompt))
        grammar = _example_schema(task, self.max_calls) if self.format == "json" else None
        return Request(prompt, sampling, draw, grammar=grammar)

    def _accept(self, task: Task, k: int, attempt: int, output: Generation) -> Example | None:
        """The example in `output`, or None where it breaks the contract of F.2."""
        made = find_object(output.text, ("input", "output"))
        if made is None or not isinstance(made["input"], str):
            return None
        new_input = made["input"].strip()
        written = made["output"]
        calls = parse_calls(written).calls if isinstance(written, str) else calls_of(written)
        if not calls:
            return None
        if not new_input or _folded(new_input) == _folded(task.input):
            return None
        if any(argument_faults(task.tools, call) for call in calls):
            return None
        variant = task.variant(str(k), input=new_input)
        return Example(variant, calls, output.text, attempts=attempt + 1)


def _messages(task: Task, prompt: str) -> tuple[Message, ...]:
    seed = json.dumps({"input": task.input}, ensure_ascii=False)
    if prompt == "seed_first":
        return (task.messages[0], Message("user", SEED_FIRST.format(seed=seed)))
    ask = QUOTED.format(instruction=task.instruction, seed=seed)
    return (Message("system", WRITER), Message("user", ask))


def _example_schema(task: Task, max_calls: int) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "input": {"type": "string", "minLength": 4},
            "output": calls_schema(task.tools, most=max_calls),
        },
        "required": ["input", "output"],
        "additionalProperties": False,
    }


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _distinct(examples: list[Example]) -> list[Example]:
    kept: dict[str, Example] = {}
    for example in examples:
        kept.setdefault(example.digest, example)
    return list(kept.values())
