"""What the contract checks of engines look at in a result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ttsi.testing.checks import require
from ttsi.types import Adapter, Generation, Likelihood, Request, TrainJob

ROUNDING = 1e-3
"""Tolerance of sums of log-probabilities: in float32 a batch's other rows change them by less."""


def check_likelihoods(scored: Any) -> None:
    """Check the likelihoods of three and of one continuation."""
    lengths = [len(some) for some in scored]
    require(lengths == [3, 1], f"lists of {lengths} likelihoods for 3 and 1 continuations")
    for item in (item for some in scored for item in some):
        sound = isinstance(item, Likelihood) and math.isfinite(item.logprob) and item.tokens >= 1
        require(sound and item.logprob <= 0, f"not the likelihood of a text: {item!r}")


def check_generations(requests: Sequence[Request], made: Any) -> None:
    """Check that each request has a text of its length, and the tokens of that text."""
    require(len(made) == len(requests), f"{len(made)} generations for {len(requests)} requests")
    for item, request in zip(made, requests, strict=True):
        most = request.sampling.max_tokens
        sound = (
            isinstance(item, Generation)
            and isinstance(item.text, str)
            and 0 <= item.completion_tokens <= most
            and item.prompt_tokens > 0
            and math.isfinite(item.logprob)
            and item.finish in ("stop", "length")
        )
        require(sound, f"no Generation of at most {most} tokens: {item!r}")
        _check_tokens(item)


def _check_tokens(item: Generation) -> None:
    told = f"{len(item.tokens)} tokens in a Generation of {item.completion_tokens}"
    require(len(item.tokens) == item.completion_tokens, told)
    text = "".join(token.text for token in item.tokens)
    require(text == item.text, f"tokens with the text {text!r}, which is {item.text!r}")
    total = sum(token.logprob for token in item.tokens)
    close = math.isclose(total, item.logprob, rel_tol=ROUNDING, abs_tol=ROUNDING)
    require(close, f"tokens whose log-probabilities sum up to {total}, and not {item.logprob}")


def check_adapters(jobs: Sequence[TrainJob], adapters: Sequence[Adapter]) -> None:
    """Check that there is an adapter for each job, another one for each, with its training."""
    require(len(adapters) == len(jobs), f"{len(adapters)} adapters for {len(jobs)} jobs")
    for job, adapter in zip(jobs, adapters, strict=True):
        sound = (
            isinstance(adapter, Adapter) and adapter.safetensors and adapter.training is not None
        )
        require(sound, f"no Adapter with weights and a record of its training: {adapter!r}")
        assert adapter.training is not None
        losses = adapter.training.losses
        steps = len(job.pairs) * job.recipe.epochs
        told = f"{len(losses)} losses for {steps} steps, all to be finite: {losses}"
        require(len(losses) == steps and all(map(math.isfinite, losses)), told)
        held_out = adapter.training.held_out
        measured = job.recipe.epochs + 1 if job.held_out else 0
        told = f"{len(held_out)} held-out losses, of {measured}, all to be finite: {held_out}"
        require(len(held_out) == measured and all(map(math.isfinite, held_out)), told)
    digests = {adapter.digest for adapter in adapters}
    require(len(digests) == len(adapters), "different jobs gave the same adapter")
