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
    model, device, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    engine = TransformersEngine({"id": model}, device=device)
    engine.load()
    told = engine.describe()
    rows = list(registry.load("benchmarks", "sealtool")().samples())
    tasks = [rows[at * len(rows) // count].task for at in range(count)]
    _answer({"ttsi": ttsi.__file__, **told, "name": told["device_name"]})
    for line in sys.stdin:
        engine.forget()
        _answer(_work(engine, tasks, line.strip()))


def _work(engine: Any, tasks: list[Any], stage: str) -> Any:
    prompts = [Prompt(task.messages) for task in tasks]
    if stage == "H":
        opened = [Prompt(task.messages, OPENING) for task in tasks]
        names = [[tool.name for tool in task.tools] for task in tasks]
        return [[each.logprob for each in some] for some in engine.loglikelihoods(opened, names)]
    if stage.startswith("decoding"):
        grammar = GRAMMAR if "constrained" in stage else None
        made = engine.generate(
            [Request(each, Sampling.greedy(48), 0, grammar=grammar) for each in prompts]
        )
        return [each.text for each in made]
    active = "user_turn" if "activated" in stage else "start"
    jobs = [
        TrainJob(str(at), ((prompt, _target(task)),), LoraRecipe(active_from=active), at)
        for at, (prompt, task) in enumerate(zip(prompts[:4], tasks, strict=False))
    ]
    return [list(each.training.losses) for each in engine.train(jobs)]


def _target(task: Any) -> str:
    call = {"name": task.tools[0].name, "arguments": {}}
    return f"<tool_call>\n{json.dumps(call)}\n</tool_call>"


def _answer(value: Any) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
