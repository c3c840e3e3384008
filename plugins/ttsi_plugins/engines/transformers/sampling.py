"""From logits to tokens, for all rows of a step at once, as transformers' `generate` draws them.

The processors and their order are those of transformers: repetition penalty over prompt and text,
grammar, temperature, top-k, top-p. The draw is the inverse of the cumulative distribution at one
uniform number a token, so a row's text depends on its own seed and on no other row. All of it stays
on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ttsi import Sampling

# Tokens beyond the top-k that are looked at for those that tie with its last, and the largest top-k
# for which rows are drawn together.
_TIES, _NARROW = 32, 1024


def penalised(
    logits: Tensor, seen: Callable[[], Sequence[Tensor]], penalties: Sequence[float]
) -> Tensor:
    """Return logits [rows, V] after the repetition penalty.

    The logit of each `seen` id of a row is divided by the row's penalty, or multiplied if negative.
    """
    if all(penalty == 1.0 for penalty in penalties):
        return logits
    # Padding repeats a row's first id: it then gets the same value twice.
    ids = pad_sequence(list(seen()), batch_first=True, padding_value=-1)
    ids = torch.where(ids < 0, ids[:, :1], ids).to(logits.device)
    factors = logits.new_tensor(penalties)[:, None]
    values = logits.gather(1, ids)
    return logits.scatter(1, ids, torch.where(values < 0, values * factors, values / factors))


def drawn(
    scores: Tensor, samplings: Sequence[Sampling], uniforms: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Return the token [rows] of each row of `scores` [rows, V]; temperature 0 takes the first.

    Of equal scores the lower id comes first. `uniforms` are in [0, 1), one for each row. Also
    returned is [rows], True where so many tokens tie with the last of the top-k that not all of
    them were looked at: such a row must be drawn by `widest`.
    """
    tokens = scores.argmax(-1)
    cut = torch.zeros_like(tokens, dtype=torch.bool)
    hot = [row for row, sampling in enumerate(samplings) if sampling.temperature > 0]
    wide = [row for row in hot if not 0 < samplings[row].top_k <= _NARROW]
    narrow = [row for row in hot if row not in wide]
    if narrow:
        some = [samplings[row] for row in narrow]
        values, ids, cut[narrow] = likeliest(scores[narrow], some)
        tokens[narrow] = _at(values, ids, some, [uniforms[row] for row in narrow])
    for row in wide:
        # One by one: a sorted row takes several times the memory of its scores.
        tokens[row] = widest(scores[row], samplings[row], uniforms[row])
    return tokens, cut


def widest(scores: Tensor, sampling: Sampling, uniform: float) -> Tensor:
    """Return the token of one row of scores [V], with all tokens looked at."""
    values, ids = scores.sort(dim=-1, descending=True, stable=True)
    if sampling.top_k > 0:
        last = values[min(sampling.top_k, len(values)) - 1]
        values = values.masked_fill(values < last, -torch.inf)
    return _at(values[None], ids[None], [sampling], [uniform])[0]


def likeliest(scores: Tensor, samplings: Sequence[Sampling]) -> tuple[Tensor, Tensor, Tensor]:
    """Return values and ids [rows, n] of what each row of `scores` [rows, V] may draw before top-p.

    The highest come first and ties by id; values of others are -inf. All samplings have a top-k. A
    few more are looked at, since all tokens that tie with the last one count; the third result
    [rows] is True where they may be more than that.
    """
    width = scores.shape[1]
    wanted = [min(sampling.top_k, width) for sampling in samplings]
    most = min(width, max(wanted) + _TIES)
    values, ids = scores.topk(most)
    ids, order = ids.sort(-1)
    values, order = values.gather(1, order).sort(dim=-1, descending=True, stable=True)
    last = values.gather(1, torch.tensor(wanted, device=scores.device)[:, None] - 1)
    cut = (values[:, -1:] == last)[:, 0] & (last > -torch.inf)[:, 0] & (most < width)
    return values.masked_fill(values < last, -torch.inf), ids.gather(1, order), cut


def _at(
    values: Tensor, ids: Tensor, samplings: Sequence[Sampling], uniforms: Sequence[float]
) -> Tensor:
    """Return the ids [rows] at which the rows' distributions reach their uniform numbers."""
    summed = nucleus(values, samplings).cumsum(-1)
    # Rounding may leave the sum below the number that was drawn.
    last = (summed < summed[:, -1:]).sum(-1, keepdim=True)
    at = (summed <= summed.new_tensor(uniforms)[:, None]).sum(-1, keepdim=True).minimum(last)
    return ids.gather(1, at)[:, 0]


def nucleus(values: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """Return probabilities [rows, n] of `values`, highest first, after temperature and top-p."""
    temperatures = [sampling.temperature for sampling in samplings]
    # In float64, so that the width of the table, which depends on other rows, changes no draw.
    wide = values.double()
    found = (wide / wide.new_tensor(temperatures)[:, None]).softmax(-1)
    # A token stays while it and all less likely ones together exceed probability 1 - p.
    tail = found.flip(-1).cumsum(-1).flip(-1)
    kept = tail > 1 - wide.new_tensor([sampling.top_p for sampling in samplings])[:, None]
    kept[:, 0] = True
    found = found.masked_fill(~kept, 0)
    return found / found.sum(-1, keepdim=True)
