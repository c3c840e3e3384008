"""The memory that the engine may use beyond the weights, and its shares.

Decoding and training never run at once, so both use the same share. A fixed amount and a tenth of
the rest are kept for compiled grammars and the overhead of allocators.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from .lora import widths

_GIB = 2**30
# Shares of free memory where the spec sets no budget; other processes use a CPU's memory too.
_SHARES = {"cpu": 0.5, "cuda": 0.85}
_MOST_ON_CPU = 8 * _GIB
_FIXED = 4 * _GIB // 10


@dataclass(frozen=True)
class Budget:
    """A budget of `total` bytes, and its shares."""

    total: int

    @property
    def prefixes(self) -> int:
        """Bytes for the prefix cache."""
        return 2 * self._divisible // 10

    @property
    def adapters(self) -> int:
        """Bytes for resident adapters, and their copies for the rows of a pass."""
        return 2 * self._divisible // 10

    @property
    def passes(self) -> int:
        """Bytes for the activations and logits of a pass over prompts."""
        return self._divisible // 10

    @property
    def work(self) -> int:
        """Bytes for the slots of decoding, or the activations and optimiser states of training."""
        return 4 * self._divisible // 10

    @property
    def _divisible(self) -> int:
        return max(0, self.total - _FIXED)

    @classmethod
    def of(cls, memory_gib: float | None, device: torch.device) -> Budget:
        """Return a budget of `memory_gib`, or of a share of what is free on `device` now."""
        if memory_gib is not None:
            return cls(int(memory_gib * _GIB))
        share = _SHARES.get(device.type, _SHARES["cpu"])
        if device.type == "cuda":
            return cls(int(torch.cuda.mem_get_info(device)[0] * share))
        import psutil

        return cls(min(int(psutil.virtual_memory().available * share), _MOST_ON_CPU))


@dataclass
class Room:
    """A limit on an amount taken at a time, which is lowered when memory runs out."""

    limit: int
    _taking: int = 0

    def __post_init__(self) -> None:
        self._at_first = self.limit

    @contextmanager
    def taking(self, amount: int) -> Iterator[None]:
        """Record that the block takes `amount`; if the block fails, the record stays."""
        self._taking = amount
        yield
        self._taking = 0

    def begin(self) -> None:
        """Begin a call: forget the amount at which the last one failed."""
        self._taking = 0

    def shrink(self) -> None:
        """Lower the limit to half of the amount that was being taken when memory ran out."""
        if self._taking:
            self.limit = max(1, min(self.limit, self._taking // 2))
            self._taking = 0

    @property
    def lowered(self) -> bool:
        """Whether the limit is lower than at first, because memory ran out."""
        return self.limit < self._at_first

    def restore(self) -> None:
        """Restore the first limit."""
        self.limit, self._taking = self._at_first, 0


@dataclass(frozen=True)
class Sizes:
    """Upper bounds, in bytes, of what one model's work takes, computed from its layers.

    `trained`: what training keeps of a token for the backward pass. `passed`: what a pass without
    gradients holds of a token. `target`: the logits of a target's token in float32, and their
    gradient. `logits`: the logits of a token that is read. `step`: the logits of a row in decoding,
    with their copies for penalties, grammars and sampling.
    """

    trained: int
    passed: int
    target: int
    logits: int
    step: int

    @classmethod
    def of(cls, model: Any, token_bytes: int) -> Sizes:
        """Return the sizes of `model`; `token_bytes` are those of a token's keys and values."""
        config = model.config.get_text_config()
        size = int(model.dtype.itemsize)
        inside, outside, widest = _widths(model, config)
        return cls(
            # The low-rank parts keep each input, in float32. The next operation keeps each output,
            # some twice: an activation function keeps its input, and the layer after it its result.
            trained=int((inside + 1.5 * outside) * max(size, 4)),
            # Keys and values of all layers stay and are copied once; the rest is one layer's.
            passed=2 * token_bytes + (6 * config.hidden_size + 3 * widest) * size,
            target=3 * 4 * config.vocab_size,
            logits=2 * size * config.vocab_size,
            step=16 * config.vocab_size,
        )


def _widths(model: Any, config: Any) -> tuple[int, int, int]:
    """Return a token's inputs and outputs, summed over all layers, and its widest output.

    Experts are parameters of three dimensions; a token goes through a few of them.
    """
    head = model.get_output_embeddings()
    shapes = []
    for module in model.modules():
        if isinstance(module, nn.Linear | Conv1D) and module is not head:
            shapes.append(widths(module))
        for weight in module.parameters(recurse=False):
            if weight.dim() == 3:
                experts, *sides = weight.shape
                used = min(experts, int(getattr(config, "num_experts_per_tok", None) or experts))
                shapes.append((used * min(sides), used * max(sides)))
    outside = [out for _, out in shapes]
    return sum(into for into, _ in shapes), sum(outside), max(outside, default=0)


def adapter_bytes(parameters: int, keeps_best: bool = False) -> int:
    """Return the bytes of an adapter in training, in float32.

    They hold its weights, its gradient and autograd's copy of it, AdamW's two moments, and the
    gradient in float64 while its norm is taken; with `keeps_best` the best weights, and their
    successors beside them.
    """
    return (9 if keeps_best else 7) * 4 * parameters
