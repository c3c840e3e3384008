"""What the rows of a step draw from its logits: a token each, and more where guesses were right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ttsi import EngineError, Sampling

from .grammar import allowed, unwritable
from .rows import Row
from .sampling import drawn, penalised, widest


def take(rows: Sequence[Row], logits: Tensor, ends: Sequence[int]) -> list[int]:
    """Let each row draw tokens from logits [tokens, V], and go on with them.

    A row has a line of logits for its next token, and one behind each token of its draft. It draws
    until what it draws is not its draft. Returns how many tokens each row drew. `ends` are the
    tokens that end a text. Raises EngineError where logits are no finite numbers.
    """
    dtype, logits = logits.dtype, logits.float()
    lines = [row for row in rows for _ in range(len(row.draft) + 1)]
    samplings = [row.request.sampling for row in lines]
    penalties = [sampling.repetition_penalty for sampling in samplings]
    scores = penalised(logits, lambda: [ids for row in rows for ids in row.seen()], penalties)
    scores, forced = allowed(scores, [row.grammar for row in rows], [row.draft for row in rows])
    uniforms = [number for row in rows for number in row.uniforms()]
    found = _drawn(scores, forced, logits, samplings, uniforms)
    made, at = [], 0
    for row in rows:
        own = found[at : at + len(row.draft) + 1]
        made.append(_follow(row, own, logits[at : at + len(own)], dtype, ends))
        at += len(own)
    return made


@dataclass(frozen=True)
class _Draw:
    """A token that was drawn, whether no other was allowed, its logit, and its line's best score
    and log-sum."""

    token: int
    forced: bool
    logit: float
    best: float
    log_sum: float


def _drawn(
    scores: Tensor,
    forced: Tensor,
    logits: Tensor,
    samplings: Sequence[Sampling],
    uniforms: Sequence[float],
) -> list[_Draw]:
    """Draw a token from each line of scores; the device is read once, but for ties in plenty."""
    log_sums = logits.logsumexp(-1)
    tokens, cut = drawn(scores, samplings, uniforms)
    picked = logits.gather(1, tokens[:, None])[:, 0]
    columns = (tokens, forced, picked, scores.amax(-1), log_sums, cut)
    table = torch.stack([column.double() for column in columns], dim=1)
    found = []
    for at, (token, only, logit, best, log_sum, again) in enumerate(table.tolist()):
        if again:
            token = int(widest(scores[at], samplings[at], uniforms[at]))
            logit = float(logits[at, token])
        found.append(_Draw(int(token), bool(only), logit, best, log_sum))
    return found


def _follow(
    row: Row, draws: Sequence[_Draw], logits: Tensor, dtype: torch.dtype, ends: Sequence[int]
) -> int:
    """Let `row` go on as far as it draws what was guessed; return the number of tokens drawn."""
    draft, count, right = row.draft, 0, 0
    for draw, line, guess in zip(draws, logits, [*draft, None], strict=True):
        if not math.isfinite(draw.log_sum):
            raise _not_finite(dtype)
        if draw.best == -math.inf:
            raise unwritable()
        token, logit, forced = draw.token, draw.logit, draw.forced
        if (closing := row.instead(token, ends)) is not None:
            token, logit, forced = closing, float(line[closing]), True
        row.take(token, logit - draw.log_sum, forced, ends)
        count += 1
        right += token == guess
        if row.finish or token != guess:
            break
    if row.drafter is not None:
        row.drafter.learn(right)
    row.draft = []
    return count


def _not_finite(dtype: torch.dtype) -> EngineError:
    return EngineError(
        "The model's logits are not finite numbers.",
        where=f"engine transformers, dtype {dtype}",
        cure='Use a wider type: "dtype": "float32" or "bfloat16" for the model.',
    )
