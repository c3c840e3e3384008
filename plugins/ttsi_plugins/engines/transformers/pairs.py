"""What an adapter learns from: pairs of token ids, and their losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ttsi import LoraRecipe

from .caches import NO_PAST, Past
from .native import NativeNetwork
from .passes import Network, Row, Rows


@dataclass(frozen=True)
class Pair:
    """A `target` to learn after `prompt`, both token ids; the adapter acts from `start` on.

    `past` is what the base model's reading of prompt[:start] left behind; `read` returns it, where
    it is to be read when it is needed, without an adapter. The adapter always acts on the prompt's
    last token, which predicts the target's first. The loss is the target's, and `prompt_loss` times
    that of the last `taught` tokens of the prompt, times `weight`. Raises ValueError for an empty
    target, or a `start` that does not fit the prompt, `taught` and `past`.
    """

    prompt: Sequence[int]
    target: Sequence[int]
    past: Past = field(default=NO_PAST, compare=False)
    start: int = 0
    weight: float = 1.0
    prompt_loss: float = 0.0
    taught: int = 0
    read: Callable[[], Past] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.target or not 0 <= self.start < len(self.prompt) - self.taught:
            raise ValueError(f"nothing to learn from {len(self.prompt)} tokens at {self.start}")
        if self.read is None and self.past.length != self.start:
            raise ValueError(f"a past of {self.past.length} tokens before token {self.start}")

    def ready(self) -> Pair:
        """Return the pair with its `past`, which is read now if it was not."""
        return self if self.read is None else replace(self, past=self.read(), read=None)

    @property
    def line(self) -> list[int]:
        """The tokens that a pass reads: the target's last token is only predicted."""
        return [*self.prompt[self.start :], *self.target[:-1]]

    @property
    def learnt(self) -> list[int]:
        """The tokens whose cross entropy counts, the last ones of prompt and target."""
        return [*self.prompt[len(self.prompt) - self.taught :], *self.target]

    def loss(self, each: Tensor) -> Tensor:
        """Return the loss from the cross entropy of each token of `learnt`."""
        loss = each[self.taught :].mean()
        if self.taught:
            loss = loss + self.prompt_loss * each[: self.taught].mean()
        return loss * self.weight


@dataclass(frozen=True)
class TokenJob:
    """One adapter to be trained; `invocation` are the ids from which an activated adapter acts.

    `held_out` and `keep_best` are as in `ttsi.TrainJob`.
    """

    id: str
    pairs: Sequence[Pair]
    recipe: LoraRecipe
    seed: int
    invocation: Sequence[int] = ()
    held_out: Sequence[Pair] = ()
    keep_best: bool = False

    @property
    def order(self) -> list[Pair]:
        """The pair of each step."""
        return list(self.pairs) * self.recipe.epochs

    @property
    def tokens(self) -> int:
        """The tokens that are read in training, those of held-out pairs included."""
        epochs = self.recipe.epochs
        read = [[len(pair.line) + 1 for pair in some] for some in (self.pairs, self.held_out)]
        return epochs * sum(read[0]) + (epochs + 1) * sum(read[1])


def losses(network: Network | NativeNetwork, pairs: Sequence[Pair]) -> list[Tensor]:
    """Return each ready pair's loss; the head is applied only where a token is learnt."""
    lines = [pair.line for pair in pairs]
    width, device = max(map(len, lines)), network.device
    ids = torch.tensor([line + [0] * (width - len(line)) for line in lines], device=device)
    # Padding repeats the last position, since positions must stay in the model's range.
    ends = torch.tensor([[len(line) - 1] for line in lines], device=device)
    starts = torch.tensor([[pair.start] for pair in pairs], device=device)
    positions = starts + torch.arange(width, device=device).minimum(ends)
    counts = [len(pair.learnt) for pair in pairs]
    read = _ranges(
        (row * width + len(line) - count, count)
        for row, (line, count) in enumerate(zip(lines, counts, strict=True))
    )
    plan = Rows([Row(len(line), pair.past) for line, pair in zip(lines, pairs, strict=True)])
    logits = network.run(ids, positions, plan, read.to(device))
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    labels = torch.tensor([token for pair in pairs for token in pair.learnt], device=device)
    each = nn.functional.cross_entropy(logits, labels, reduction="none")
    return [pair.loss(part) for pair, part in zip(pairs, torch.split(each, counts), strict=True)]


def _ranges(spans: Iterable[tuple[int, int]]) -> Tensor:
    """Return the numbers of all spans (first, count), concatenated."""
    return torch.cat([torch.arange(first, first + count) for first, count in spans])
