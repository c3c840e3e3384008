"""What the engine may use beyond the weights, and for what.

Decoding and training never happen at once, so each may have the working share. A fixed sum and a
tenth of the rest are set aside for compiled grammars, and for what allocators lose.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

_GIB = 2**30
# Of what the device has free, where the spec sets no budget: on a CPU others use it too.
_SHARES = {"cpu": 0.5, "cuda": 0.85}
_MOST_ON_CPU = 8 * _GIB
_FIXED = 4 * _GIB // 10


@dataclass(frozen=True)
class Budget:
    """Bytes in all, and their shares."""

    total: int

    @property
    def prefixes(self) -> int:
        """For keys and values of texts that may be met again."""
        return 2 * self._divisible // 10

    @property
    def adapters(self) -> int:
        """For the adapters that answer: those at hand, and their copies for the rows of a pass."""
        return 2 * self._divisible // 10

    @property
    def passes(self) -> int:
        """For what a pass over prompts computes, and the logits that are read from it."""
        return self._divisible // 10

    @property
    def work(self) -> int:
        """For the slots of decoding, or the activations and optimiser states of training."""
        return 4 * self._divisible // 10

    @property
    def _divisible(self) -> int:
        return max(0, self.total - _FIXED)

    @classmethod
    def of(cls, memory_gib: float | None, device: torch.device) -> Budget:
        """`memory_gib`, or a share of what is free on `device` now."""
        if memory_gib is not None:
            return cls(int(memory_gib * _GIB))
        share = _SHARES.get(device.type, _SHARES["cpu"])
        if device.type == "cuda":
            return cls(int(torch.cuda.mem_get_info(device)[0] * share))
        import psutil

        return cls(min(int(psutil.virtual_memory().available * share), _MOST_ON_CPU))


@dataclass
class Room:
    """How much of something may be taken at a time; it shrinks where that did not fit."""

    limit: int
    _taking: int = 0

    def __post_init__(self) -> None:
        self._at_first = self.limit

    @contextmanager
    def taking(self, amount: int) -> Iterator[None]:
        """While the block runs `amount` is in use; where it fails, that is what failed."""
        self._taking = amount
        yield
        self._taking = 0

    def begin(self) -> None:
        """A new call: nothing is being taken, whatever the last one failed of."""
        self._taking = 0

    def shrink(self) -> None:
        """After running out of memory: from now on at most half of what was being taken."""
        if self._taking:
            self.limit = max(1, min(self.limit, self._taking // 2))
            self._taking = 0

    def restore(self) -> None:
        """As much again as at first."""
        self.limit, self._taking = self._at_first, 0


@dataclass(frozen=True)
class Sizes:
    """What the work of one model takes, in bytes: upper bounds, measured from its layers.

    `trained`: what training keeps of a token for the backward pass. `passed`: what a pass without
    gradients has in memory of a token. `target`: the logits of a token that is learnt, as float32,
    and their gradient. `logits`: those of a token that is read. `step`: those of a row that is
    being decoded, with what penalties, grammars and sampling make of them.
    """

    trained: int
    passed: int
    target: int
    logits: int
    step: int

    @classmethod
    def of(cls, model: Any, token_bytes: int) -> Sizes:
        """`token_bytes` are those of a token's keys and values."""
        config = model.config.get_text_config()
        size = int(model.dtype.itemsize)
        inside, outside, widest = _widths(model, config)
        return cls(
            # Inputs are kept by the low-rank parts, outputs by what follows, some twice: an
            # activation function keeps what it was given, and what follows keeps its result. The
            # low-rank parts read in float32.
            trained=int((inside + 1.5 * outside) * max(size, 4)),
            # Keys and values stay, and are copied into a piece; of the rest one layer at a time.
            passed=2 * token_bytes + (6 * config.hidden_size + 3 * widest) * size,
            target=3 * 4 * config.vocab_size,
            logits=2 * size * config.vocab_size,
            step=16 * config.vocab_size,
        )


def _widths(model: Any, config: Any) -> tuple[int, int, int]:
    """What a token passes through: inputs and outputs of all layers in sum, and the widest output.

    Experts lie in parameters of three dimensions; a token goes through a few of them.
    """
    head = model.get_output_embeddings()
    shapes = []
    for module in model.modules():
        if isinstance(module, nn.Linear) and module is not head:
            shapes.append((module.in_features, module.out_features))
        for weight in module.parameters(recurse=False):
            if weight.dim() == 3:
                experts, *sides = weight.shape
                used = min(experts, int(getattr(config, "num_experts_per_tok", None) or experts))
                shapes.append((used * min(sides), used * max(sides)))
    outside = [out for _, out in shapes]
    return sum(into for into, _ in shapes), sum(outside), max(outside, default=0)


def adapter_bytes(parameters: int) -> int:
    """What an adapter in training takes, in float32: its weights, its gradient, twice, for
    autograd's own, AdamW's two moments, and the gradient in float64 while its norm is taken."""
    return 7 * 4 * parameters
