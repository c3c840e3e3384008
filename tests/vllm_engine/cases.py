"""Real tasks, small adapters, and the measure of how near a tie two answers are."""

from __future__ import annotations

from collections.abc import Sequence

import safetensors.torch

from ttsi.types import (
    Adapter,
    Generation,
    LoraRecipe,
    Message,
    Prompt,
    Request,
    Sampling,
    Task,
    TrainJob,
)
from ttsi_benchmarks.sealtool import SealTool
from ttsi_plugins.engines.transformers import TransformersEngine
from ttsi_plugins.engines.transformers.caches import NO_PAST
from ttsi_plugins.engines.transformers.reading import NO_TRIE, Text
from ttsi_plugins.engines.transformers.tokens import Tokens

# Two steps of this recipe change most answers, whatever they are towards.
LOUD = LoraRecipe(rank=8, epochs=2, learning_rate=1e-3, warmup_ratio=0.0)
GREEDY = Sampling.greedy(max_tokens=16)


def seal_tasks(count: int) -> list[Task]:
    """Real tasks: those with the shortest prompts, shortest first."""
    tasks = (sample.task for sample in SealTool().samples())
    return sorted(tasks, key=lambda task: len(task.instruction + task.input))[:count]


def prompt(task: Task, opening: str = "") -> Prompt:
    return Prompt(task.messages, opening)


def trained(engine: TransformersEngine, tasks: Sequence[Task]) -> list[Adapter]:
    """An adapter for each task, to an answer of our own; on the query alone, which is short."""
    jobs = [
        TrainJob(
            id=task.id,
            pairs=(
                (Prompt((Message("user", task.input),)), f'{{"call": "{task.tool_names[0]}"}}'),
            ),
            recipe=LOUD,
            seed=at,
        )
        for at, task in enumerate(tasks)
    ]
    return engine.train(jobs)


def louder(adapter: Adapter, factor: float) -> Adapter:
    """`adapter` with its update multiplied: another adapter of the same form."""
    tensors = safetensors.torch.load(adapter.safetensors)
    scaled = {k: v * factor if "lora_B" in k else v for k, v in tensors.items()}
    return Adapter(safetensors.torch.save(scaled, metadata={"format": "pt"}), adapter.config)


def greedy(task: Task, adapter: Adapter | None = None) -> Request:
    return Request(prompt(task), GREEDY, seed=0, adapter=adapter)


def forced(task: Task, text: str, adapter: Adapter | None = None) -> Request:
    """A request that can be answered in one way only, by the JSON string `text`: its `logprob` is
    how likely the model finds that."""
    sampling = Sampling.greedy(max_tokens=48)
    return Request(prompt(task), sampling, 0, adapter, {"type": "string", "const": text})


def margin(
    oracle: TransformersEngine, request: Request, ours: Generation, theirs: Generation
) -> float:
    """How much likelier the oracle finds its own text than the other one at the first token in
    which they differ, in nats. Near 0 it is a tie, which rounding may break either way."""
    runtime = oracle._runtime()
    one, other = (_ids(runtime.tokens, made) for made in (ours, theirs))
    at = next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    ids = [*runtime.tokens.prompt(request.prompt), *one[:at]]
    slots = None if request.adapter is None else runtime.bank.load([request.adapter])
    with runtime.bank.on(slots):
        (reading,) = runtime.reader.run([Text(ids, NO_PAST, NO_TRIE)])
    logits = reading.logits[0].double()
    return float(logits[one[at]] - logits[other[at]])


def _ids(tokens: Tokens, made: Generation) -> list[int]:
    return [*tokens.text(made.text), *([tokens.end] if made.finish == "stop" else [])]
