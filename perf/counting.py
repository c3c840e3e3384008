"""The floor of training, and of the whole method, from the tokens that were read and written."""

from __future__ import annotations

from collections.abc import Sequence

from perf.asked import candidates, generator_prompts
from perf.common import Bench
from perf.floor import (
    candidate_paths,
    causal_pairs,
    decoding_seconds,
    distinct,
    forward,
    training_step,
)
from perf.variants import Variant, generator
from ttsi.answers.calls.values import calls_in
from ttsi.answers.calls.writing import TOOL_CALL
from ttsi.solving.solution import Solution
from ttsi.types import LoraRecipe, Prompt, TrainJob

ADAPTER_ITEM = 4  # adapters are float32 on every device


def given_tokens(bench: Bench, prompt: Prompt, recipe: LoraRecipe) -> int:
    """Return how many tokens precede the adapter; the base model computes their KV cache."""
    return bench.system_length(prompt) if recipe.active_from == "user_turn" else 0


def adaptation_flops(bench: Bench, job: TrainJob) -> int:
    """Return the FLOPs of an adapter for one example, without the tokens before it acts.

    Three epochs take two passes: the first step has rate 0, so the second has the same gradient.
    """
    ((prompt, text),) = job.pairs
    target = bench.reference.tokens.target(text)
    past = given_tokens(bench, prompt, job.recipe)
    # The target's last token is only predicted, never fed.
    new = len(bench.prompt_ids(prompt)) - past + len(target) - 1
    step = training_step(bench.shape, past=past, new=new, labels=len(target), rank=job.recipe.rank)
    return (job.recipe.epochs - 1) * step


def whole_seconds(bench: Bench, variant: Variant, solutions: Sequence[Solution]) -> float:
    """Return the least seconds of H, G, T and adapted answers of a wave, decoded in batches."""
    tasks = [solution.task for solution in solutions]
    recipe = LoraRecipe(active_from="start" if variant == "exact" else "user_turn")
    fed, read = candidate_paths(*candidates(bench, tasks))
    asked = generator_prompts(bench, generator(variant), tasks)
    flops = forward(bench.shape, *distinct([*fed, *asked]), logits=read + len(asked))
    written = [bench.reference.tokens.text(each.examples[0].text) for each in solutions]
    seconds = decoding_seconds(
        bench.shape,
        bench.rates,
        [len(prompt) for prompt in asked],
        [len(ids) for ids in written],
        itemsize=bench.dtype.itemsize,
    )
    lengths = []
    for task, solution in zip(tasks, solutions, strict=True):
        example, prompt = solution.examples[0], Prompt(task.messages)
        pair = (Prompt(example.task.messages), TOOL_CALL.write(calls_in(example.answer)))
        flops += adaptation_flops(bench, TrainJob(task.id, (pair,), recipe, seed=0))
        past, length = given_tokens(bench, prompt, recipe), len(bench.prompt_ids(prompt))
        new = length - past
        flops += forward(bench.shape, new, causal_pairs(new, past), logits=1)
        lengths.append(length)
    seconds += decoding_seconds(
        bench.shape,
        bench.rates,
        lengths,
        [each.answer.completion_tokens - 1 for each in solutions if each.answer],
        itemsize=bench.dtype.itemsize,
        adapter_bytes=ADAPTER_ITEM * bench.shape.lora(recipe.rank),
    )
    return seconds + flops / bench.rates.flops_per_second
