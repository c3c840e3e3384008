"""What the engine may use beyond the weights, and for what.

Decoding and training never happen at once, so each may have the working share. A quarter and a
fixed sum are set aside for adapters, compiled grammars, single passes and what allocators lose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

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
        return self._divisible // 3

    @property
    def work(self) -> int:
        """For the slots of decoding, or the activations and optimiser states of training."""
        return 2 * self._divisible // 3

    @property
    def _divisible(self) -> int:
        return max(0, 3 * self.total // 4 - _FIXED)

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


def training_bytes(config: Any, itemsize: int) -> int:
    """What training keeps for the backward pass, per token: an upper bound for gated layers.

    Of each layer the four wide activations of its MLP, and at most ten of the model's width: the
    residual stream, its normalised forms, queries, keys and values, and attention's output. The
    low-rank parts read theirs in float32.
    """
    layer = 10 * config.hidden_size + 4 * config.intermediate_size
    return int(config.num_hidden_layers * layer * max(itemsize, 4))


def target_bytes(config: Any) -> int:
    """What the logits of a target's token take: themselves, as float32, and their gradient."""
    return int(3 * 4 * config.vocab_size)


def adapter_bytes(parameters: int) -> int:
    """What an adapter in training takes, in float32: its weights, twice, for it is resident too;
    its gradient, twice, for autograd's own; and AdamW's two moments."""
    return 6 * 4 * parameters
