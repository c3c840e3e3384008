"""Likelihoods of candidate continuations: one prefill a prompt, candidates as tails on its cache.

For a prompt of P tokens and C candidates of n_i tokens, the model reads P + sum(n_i - 1) tokens and
the head 1 + sum(n_i - 1) of their positions, where C whole passes read sum(P + n_i) in both.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ttsi.types import Likelihood

Progress = Callable[[int, int], None]


@torch.inference_mode()
def score(
    model: Any,
    prompts: Sequence[list[int]],
    continuations: Sequence[Sequence[list[int]]],
    max_batch: int,
    progress: Progress,
) -> list[list[Likelihood]]:
    """log P(continuation | prompt) for every candidate of every prompt, in nats.

    The logits have the model's precision, their log-softmax is taken in float64: float32 sums over
    a vocabulary are off by more than the whole pass is.
    Prompts with the same ids share their prefill. An empty continuation has probability 1.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(tuple(prompt), []).append(index)
    results: list[list[Likelihood]] = [[] for _ in prompts]
    done = 0
    for prompt_ids, members in groups.items():
        wanted = dict.fromkeys(tuple(c) for index in members for c in continuations[index])
        found = _score_prompt(model, prompt_ids, list(wanted), max_batch)
        for index in members:
            results[index] = [found[tuple(c)] for c in continuations[index]]
        done += len(members)
        progress(done, len(prompts))
    return results


def _score_prompt(
    model: Any,
    prompt: tuple[int, ...],
    candidates: list[tuple[int, ...]],
    max_batch: int,
) -> dict[tuple[int, ...], Likelihood]:
    found = {candidate: Likelihood(0.0, 0) for candidate in candidates if not candidate}
    rest = sorted((candidate for candidate in candidates if candidate), key=len)
    if not rest:
        return found
    ids = torch.tensor([prompt], device=model.device)
    out = model(input_ids=ids, use_cache=True, logits_to_keep=1)
    first = out.logits[0, -1].double().log_softmax(-1)
    for start in range(0, len(rest), max_batch):
        chunk = rest[start : start + max_batch]
        totals = first[[candidate[0] for candidate in chunk]]
        longest = len(chunk[-1])
        if longest > 1:
            last = start + max_batch >= len(rest)
            cache = out.past_key_values if last else copy.deepcopy(out.past_key_values)
            totals += _tails(model, cache, chunk, longest)
        for candidate, total in zip(chunk, totals.tolist(), strict=True):
            found[candidate] = Likelihood(total, len(candidate))
    return found


def _tails(model: Any, cache: Any, chunk: list[tuple[int, ...]], longest: int) -> Tensor:
    """Sum of log P of each candidate's tokens after its first, float64 [len(chunk)].

    Tails are padded on the right: under a causal mask no token sees what follows it.
    """
    ids = torch.zeros(len(chunk), longest, dtype=torch.long)
    for row, candidate in enumerate(chunk):
        ids[row, : len(candidate)] = torch.tensor(candidate)
    ids = ids.to(model.device)
    cache.batch_repeat_interleave(len(chunk))
    logits = model(input_ids=ids[:, :-1], past_key_values=cache, use_cache=True).logits
    totals = []
    for row, candidate in enumerate(chunk):
        after_first = ids[row, 1 : len(candidate), None]
        logprobs = logits[row, : len(after_first)].double().log_softmax(-1)
        totals.append(logprobs.gather(1, after_first).sum())
    return torch.stack(totals)
