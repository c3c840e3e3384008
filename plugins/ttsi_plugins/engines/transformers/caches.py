"""Keys, values and states of what has been read: pieces of a text, and the slots of decoding.

Layers may differ in their number of heads, and keys and values in their width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .sight import Look, Sight, attention
from .states import NO_STATE, Key, State, nbytes

Shapes = Mapping[int, tuple[int, int, int]]
"""Key heads, and the widths of a key and of a value, of each layer with attention."""


@dataclass(frozen=True)
class Piece:
    """Keys [heads, n, D] and values [heads, n, E] of n consecutive tokens, by layer.

    `state` is what other layers carry on after the last token: it is empty if there are none, and
    unknown, and empty, for a part that ends earlier.
    """

    length: int
    layers: Mapping[int, tuple[Tensor, Tensor]]
    state: State = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return sum(k.nbytes + v.nbytes for k, v in self.layers.values()) + nbytes(self.state)

    def part(self, start: int, stop: int | None = None) -> Piece:
        """Return the part of tokens start to stop, which shares memory with the whole."""
        stop = self.length if stop is None else stop
        layers = {at: (k[:, start:stop], v[:, start:stop]) for at, (k, v) in self.layers.items()}
        return Piece(stop - start, layers, self.state if stop == self.length else NO_STATE)

    def copy(self) -> Piece:
        layers = {at: (k.clone(), v.clone()) for at, (k, v) in self.layers.items()}
        return Piece(self.length, layers, self.state)


@dataclass(frozen=True)
class Past:
    """What reading the tokens before a row's own left behind, as pieces one behind the other."""

    pieces: tuple[Piece, ...] = ()

    @property
    def length(self) -> int:
        return sum(piece.length for piece in self.pieces)

    @property
    def state(self) -> State:
        """The states after the last token; empty for no tokens, where layers carry none, and after
        a part of a piece."""
        return self.pieces[-1].state if self.pieces else NO_STATE

    def then(self, piece: Piece) -> Past:
        # Only the states after the last token are ever used.
        before = (replace(each, state=NO_STATE) if each.state else each for each in self.pieces)
        return Past((*before, piece))


NO_PAST = Past()


def token_bytes(shapes: Shapes, size: int) -> int:
    """Return the bytes of one token's keys and values, in numbers of `size` bytes."""
    return size * sum(heads * (key + value) for heads, key, value in shapes.values())


class Slots:
    """Key-value slots of the rows that are being decoded, by layer [slots, key heads, T, D].

    States have slots, too. As a plan it is a step: one token a row, written behind what its slot
    holds.
    """

    def __init__(
        self, shapes: Shapes, slots: int, tokens: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        # Zeros: unseen places have weight 0, and 0 times uninitialised memory could be NaN.
        self._layers = {
            layer: tuple(
                torch.zeros(slots, heads, tokens, width, dtype=dtype, device=device)
                for width in widths
            )
            for layer, (heads, *widths) in shapes.items()
        }
        self._count = slots
        self._states: dict[Key, Tensor] = {}
        self._lengths = torch.zeros(slots, dtype=torch.long, device=device)
        self._at, self._longest, self._rows = self._lengths, 0, self._lengths
        self._masks: dict[Sight, Tensor] = {}

    def put(self, slot: int, past: Past) -> None:
        """A row begins, or moves: `slot` holds what it has read."""
        at = 0
        for piece in past.pieces:
            after = at + piece.length
            for layer, pair in piece.layers.items():
                for held, read in zip(self._layers[layer], pair, strict=True):
                    held[slot, :, at:after] = read
            at = after
        for key, state in past.state.items():
            self._state(key, state)[slot] = state
        for key in self._states.keys() - past.state.keys():
            self._states[key][slot] = 0
        self._lengths[slot] = at

    def move(self, source: int, target: int) -> None:
        """The row in `source` goes on in `target`."""
        length = int(self._lengths[source])
        for pair in self._layers.values():
            for held in pair:
                held[target, :, :length] = held[source, :, :length]
        for states in self._states.values():
            states[target] = states[source]
        self._lengths[target] = length

    def step(self, rows: int) -> Tensor:
        """Make ready for a pass over the first `rows` slots; their positions [rows, 1]."""
        self._at = self._lengths[:rows].clone()
        self._rows = torch.arange(rows, device=self._at.device)
        self._longest = int(self._at.max()) + 1
        self._masks = {}
        self._lengths[:rows] += 1
        return self._at[:, None]

    def states(self) -> State:
        """As `passes.Plan` has it."""
        return {key: states[: len(self._rows)] for key, states in self._states.items()}

    def carry(self, states: State) -> None:
        """As `passes.Plan` has it."""
        for key, after in states.items():
            held = self._state(key, after[0])[: len(self._rows)]
            if held.data_ptr() != after.data_ptr():
                held.copy_(after)

    def _state(self, key: Key, like: Tensor) -> Tensor:
        """Return the slots [slots, ...] of a state of one row, made when it is first seen."""
        if key not in self._states:
            self._states[key] = like.new_zeros(self._count, *like.shape)
        return self._states[key]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, look: Look) -> Tensor:
        """As `passes.Plan` has it."""
        rows, heads, _, width = q.shape
        keys, values = self._layers[layer]
        keys[self._rows, :, self._at] = k[:, :, 0]
        values[self._rows, :, self._at] = v[:, :, 0]
        groups = k.shape[1]
        shared = heads // groups
        out = attention(
            q.reshape(rows, groups, shared, width),
            keys[:rows, :, : self._longest],
            values[:rows, :, : self._longest],
            look.over(groups, shared, 1),
            self._mask(look.sight).expand(rows, groups, shared, -1),
        )
        return out.reshape(rows, heads, 1, v.shape[-1])

    def _mask(self, sight: Sight) -> Tensor:
        """Return [rows, 1, 1, longest], True where a row's token sees its slot."""
        if sight not in self._masks:
            columns = torch.arange(self._longest, device=self._at.device)
            mask = columns <= self._at[:, None]
            if sight.bounds(self._longest):
                mask &= sight.visible(self._at[:, None], columns)[:, 0]
            self._masks[sight] = mask[:, None, None]
        return self._masks[sight]
