"""States of convolutions and recurrent layers: what they carry from token to token.

A state sums up all that a layer has read. Unlike a KV cache it holds for one place in a text alone:
there is no part of it for fewer tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

Key = tuple[str, int, int]
"""Which state: "conv" or "recurrent", its layer, and its number in the layer."""

State = Mapping[Key, Tensor]
"""The states of one text after its last token, or, with rows as first dimension, of several."""

NO_STATE: State = {}


class Carried:
    """The states in a pass, for layers that expect a cache of transformers.

    `states` [rows, ...] are at first those of what was read before, and then those after the pass.
    Without gradients they are written in place where they are there. Keys and values pass through:
    the plan of the pass has the others.
    """

    def __init__(self, states: State) -> None:
        self.states = dict(states)

    def get_conv_state(self, layer_idx: int, state_idx: int = 0) -> Tensor | None:
        return self.states.get(("conv", layer_idx, state_idx))

    def get_recurrent_state(self, layer_idx: int, state_idx: int = 0) -> Tensor | None:
        return self.states.get(("recurrent", layer_idx, state_idx))

    def update_conv_state(
        self,
        conv_states: Tensor,
        layer_idx: int,
        state_idx: int = 0,
        conv_kernel_size: int | None = None,
        **_: Any,
    ) -> Tensor:
        """Return the inputs [rows, channels, T] with those before them that the kernel reaches."""
        before = self.states.get(("conv", layer_idx, state_idx))
        width = conv_kernel_size or (conv_states if before is None else before).shape[-1]
        if before is None:
            missing = max(0, width - conv_states.shape[-1])
            whole = pad(conv_states, (missing, 0))
        else:
            whole = torch.cat([before, conv_states], dim=-1)
        # A copy: a view would keep the inputs of the whole pass.
        self.states["conv", layer_idx, state_idx] = whole[..., -width:].clone()
        return whole

    def update_recurrent_state(
        self, recurrent_states: Tensor, layer_idx: int, state_idx: int = 0, **_: Any
    ) -> Tensor:
        key = "recurrent", layer_idx, state_idx
        if key in self.states and not torch.is_grad_enabled():
            self.states[key].copy_(recurrent_states)
        else:
            self.states[key] = recurrent_states
        return self.states[key]

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        return key_states, value_states

    def is_recording_past(self, layer_idx: int | None = None) -> bool:
        return False

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0


def arguments(model: Any, positions: Tensor, carried: Carried) -> dict[str, Any]:
    """Return by which names the forward method of `model` takes positions and a cache."""
    names = signature(model.forward).parameters
    placed = {"position_ids": positions} if "position_ids" in names else {}
    cache = "cache_params" if "cache_params" in names else "past_key_values"
    return {**placed, cache: carried, "use_cache": True}


def stacked(states: Sequence[State]) -> State:
    """Return copies of the states of several rows, in one tensor for each key.

    A row without states, which begins with its pass, has zeros beside rows that have some.
    """
    like = next((state for state in states if state), NO_STATE)
    return {
        key: torch.stack([state[key] if state else torch.zeros_like(one) for state in states])
        for key, one in like.items()
    }


def nbytes(state: State) -> int:
    return sum(tensor.nbytes for tensor in state.values())
