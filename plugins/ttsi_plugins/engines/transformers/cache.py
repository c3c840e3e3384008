"""A key-value cache that grows in place.

transformers' dynamic cache copies all it holds at every step; at sixteen rows of a thousand tokens
that costs more than the step itself. Here a layer keeps room for the tokens to come.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_ROOM = 64
"""Tokens by which a full buffer is extended: one copy in so many steps."""


class RoomyLayer(DynamicLayer):
    """Keys and values [rows, heads, tokens, size] as the filled parts of larger buffers."""

    _buffers: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.get_seq_length()
        filled = held + key_states.shape[-2]
        keys, values = self._with_room(held, filled, key_states, value_states)
        keys[:, :, held:filled] = key_states
        values[:, :, held:filled] = value_states
        self.keys, self.values = keys[:, :, :filled], values[:, :, :filled]
        return self.keys, self.values

    def _with_room(self, held: int, filled: int, *new: Tensor) -> tuple[Tensor, Tensor]:
        """Buffers that hold what the layer holds, and have room up to `filled`."""
        if self._buffers is not None and held:
            # Selecting or repeating rows has put other tensors in the place of these.
            current = self.keys.data_ptr() == self._buffers[0].data_ptr()
            same_rows = self.keys.shape[0] == self._buffers[0].shape[0]
            if current and same_rows and filled <= self._buffers[0].shape[2]:
                return self._buffers
        made = []
        for states, old in zip(new, (self.keys, self.values), strict=True):
            rows, heads, _, size = states.shape
            buffer = torch.empty(
                rows, heads, filled + _ROOM, size, dtype=states.dtype, device=states.device
            )
            if held:
                buffer[:, :, :held] = old
            made.append(buffer)
        self._buffers = (made[0], made[1])
        return self._buffers


def roomy_cache(config: Any) -> DynamicCache:
    """An empty cache for a model of `config`; layers of other than full attention stay theirs."""
    cache = DynamicCache(config=config)
    cache.layers = [
        RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache
