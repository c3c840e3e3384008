"""From logits to tokens, for all rows of a step at once, as transformers' `generate` draws them.

The processors and their order are those of transformers: repetition penalty over prompt and text,
grammar, temperature, top-k, top-p. Only the likeliest tokens of a row leave the device. The draw is
the inverse of the cumulative distribution at one uniform number a step, so a row's text depends on
its own seed and on no other row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ttsi import Sampling

# More than top_k of a row are looked at, since all tokens that tie with the last one count.
_TIES = 32


def penalised(logits: Tensor, seen: Sequence[Tensor], penalties: Sequence[float]) -> Tensor:
    """Return logits [rows, V] after the repetition penalty.

    The logit of each `seen` id of a row is divided by the row's penalty, or multiplied if negative.
    """
    if all(penalty == 1.0 for penalty in penalties):
        return logits
    # Padding repeats a row's first id: it then gets the same value twice.
    ids = pad_sequence(list(seen), batch_first=True, padding_value=-1)
    ids = torch.where(ids < 0, ids[:, :1], ids).to(logits.device)
    factors = logits.new_tensor(penalties)[:, None]
    values = logits.gather(1, ids)
    return logits.scatter(1, ids, torch.where(values < 0, values * factors, values / factors))


def likeliest(scores: Tensor, samplings: Sequence[Sampling]) -> list[tuple[Tensor, Tensor]]:
    """Return for each row of `scores` [rows, V] the (values, ids) that may be drawn before top-p.

    They are on the CPU, the highest first and ties by id.
    """
    width = scores.shape[1]
    wanted = [_top_k(sampling, width) for sampling in samplings]
    most = min(width, max(wanted) + _TIES)
    values, ids = (part.cpu() for part in scores.topk(most, sorted=False))
    found = []
    for row, top_k in enumerate(wanted):
        own, own_ids = _ordered(values[row], ids[row])
        if most < width and own[top_k - 1] == own[-1]:
            own, own_ids = _ordered(scores[row].cpu(), torch.arange(width))
        kept = (own >= own[top_k - 1]) & (own > -torch.inf)
        found.append((own[kept], own_ids[kept]))
    return found


def nucleus(values: Tensor, sampling: Sampling) -> Tensor:
    """Return the probabilities of the first tokens of `values` (highest first) that top-p keeps."""
    scaled = values / sampling.temperature
    if sampling.top_p < 1.0:
        # A token stays while it and all less likely ones together exceed probability 1 - p.
        tail = scaled.flip(0).softmax(0).cumsum(0).flip(0)
        kept = tail > 1 - sampling.top_p
        kept[0] = True
        scaled = scaled[kept]
    return scaled.softmax(0)


def choose(values: Tensor, ids: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """Draw one of a row's likeliest tokens; temperature 0 takes the first."""
    if sampling.temperature == 0:
        return int(ids[0])
    uniform = torch.rand((), generator=generator, dtype=torch.float64)
    below = nucleus(values, sampling).double().cumsum(0) <= uniform
    return int(ids[min(int(below.sum()), int(below.numel()) - 1)])


def _top_k(sampling: Sampling, width: int) -> int:
    if sampling.temperature == 0:
        return 1
    return min(sampling.top_k, width) if sampling.top_k > 0 else width


def _ordered(values: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Sort by value, the highest first and ties by id."""
    by_id = ids.argsort()
    order = by_id[values[by_id].argsort(descending=True, stable=True)]
    return values[order], ids[order]
