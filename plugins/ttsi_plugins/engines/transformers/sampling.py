"""From a row of logits to a token, as `transformers.generate` would draw it.

The processors and their order are those of transformers: repetition penalty over prompt and text,
temperature, top-k, top-p. The draw is the inverse of the cumulative distribution at one uniform
number per step, so a row's text depends on its own seed and on no other row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ttsi.types import Sampling


def penalised(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Logits [V] with those of `seen` ids divided (where positive) or multiplied by `penalty`."""
    if penalty == 1.0:
        return logits
    values = logits[seen]
    return logits.index_put((seen,), torch.where(values < 0, values * penalty, values / penalty))


def distribution(logits: Tensor, seen: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """The ids that may be drawn and their probabilities, most likely first.

    `logits` [V] float32 (-inf: not allowed), `seen` the ids of prompt and text so far.
    """
    scores = penalised(logits, seen, sampling.repetition_penalty) / sampling.temperature
    if 0 < sampling.top_k < scores.numel():
        lowest = torch.topk(scores, sampling.top_k).values[-1]
        scores = scores.masked_fill(scores < lowest, -torch.inf)
    ids = torch.nonzero(scores > -torch.inf).squeeze(1)
    ordered, order = torch.sort(scores[ids], descending=True, stable=True)
    ids = ids[order]
    if sampling.top_p < 1.0:
        # A token stays while it and all less likely ones hold more than 1 - p of the mass.
        tail = ordered.flip(0).softmax(0).cumsum(0).flip(0)
        kept = tail > 1 - sampling.top_p
        kept[0] = True
        ids, ordered = ids[kept], ordered[kept]
    return ids, ordered.softmax(0)


def choose(logits: Tensor, seen: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """One token id; temperature 0 takes the highest (penalised) logit."""
    if sampling.temperature == 0:
        return int(penalised(logits, seen, sampling.repetition_penalty).argmax())
    ids, probabilities = distribution(logits, seen, sampling)
    uniform = torch.rand((), generator=generator, dtype=torch.float64)
    below = probabilities.double().cumsum(0) <= uniform
    return int(ids[min(int(below.sum()), len(ids) - 1)])
