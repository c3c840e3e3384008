"""A worker of `perf.commits`: the engine of the checkout on PYTHONPATH, stage by stage.

It speaks only what every commit understands: an engine's calls, and a task's messages.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import ttsi
from ttsi import registry
from ttsi.types import LoraRecipe, Prompt, Request, Sampling, TrainJob
from ttsi_plugins.engines.transformers import TransformersEngine

OPENING = '<tool_call>\n{"name": "'
GRAMMAR: Any = {
    "type": "array",
    "minItems": 1,
    "maxItems": 1,
    "items": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "arguments": {"type": "object"}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    },
}


def main() -> None:
    model, device, dtype, samples = sys.argv[1:]
    engine, count = TransformersEngine({"id": model, "dtype": dtype}, device=device), int(samples)
    engine.load()
    told = engine.describe()
    rows = list(registry.load("benchmarks", "sealtool")().samples())
    tasks = [rows[at * len(rows) // count].task for at in range(count)]
    _answer({"ttsi": ttsi.__file__, **told, "name": told["device_name"]})
    adapters: list[Any] = []
    for line in sys.stdin:
        doing, stage = json.loads(line)
        if doing == "prepare":
            adapters = _prepare(engine, tasks, stage)
            _answer("ready")
        else:
            _answer(_work(engine, tasks, stage, adapters))


def _prepare(engine: Any, tasks: list[Any], stage: str) -> list[Any]:
    """Leave in the engine what earlier stages leave there; return the adapters to answer with."""
    engine.forget()
    if stage.startswith(("decoding", "adapted")):
        prompts = [Prompt(task.messages) for task in tasks]
        engine.loglikelihoods(prompts, [["a"] for _ in prompts])
    if not stage.startswith("adapted"):
        return []
    engine.generate(_requests(tasks, [None] * len(tasks), GRAMMAR))
    return list(engine.train(_jobs(tasks, stage)))


def _work(engine: Any, tasks: list[Any], stage: str, adapters: list[Any]) -> Any:
    if stage == "H":
        opened = [Prompt(task.messages, OPENING) for task in tasks]
        names = [[tool.name for tool in task.tools] for task in tasks]
        return [[each.logprob for each in some] for some in engine.loglikelihoods(opened, names)]
    if stage.startswith("T"):
        return [list(each.training.losses) for each in engine.train(_jobs(tasks[:4], stage))]
    grammar = None if "free" in stage else GRAMMAR
    given = adapters or [None] * len(tasks)
    return [each.text for each in engine.generate(_requests(tasks, given, grammar))]


def _requests(tasks: list[Any], adapters: list[Any], grammar: Any) -> list[Request]:
    return [
        Request(Prompt(task.messages), Sampling.greedy(48), 0, adapter=adapter, grammar=grammar)
        for task, adapter in zip(tasks, adapters, strict=True)
    ]


def _jobs(tasks: list[Any], stage: str) -> list[TrainJob]:
    active: Any = "user_turn" if "activated" in stage else "start"
    return [
        TrainJob(
            str(at),
            ((Prompt(task.messages), _target(task)),),
            LoraRecipe(active_from=active),
            at,
        )
        for at, task in enumerate(tasks)
    ]


def _target(task: Any) -> str:
    call = {"name": task.tools[0].name, "arguments": {}}
    return f"<tool_call>\n{json.dumps(call)}\n</tool_call>"


def _answer(value: Any) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
