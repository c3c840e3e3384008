"""Keys, values and states of what has been read: pieces of a text, and the slots of decoding.

Layers may differ in their number of heads, and keys and values in their width.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .sight import Look, Part, partial
from .spread import Spread, Step
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

    def part(self, start: int, stop: int) -> Past:
        """Return the part of tokens start to stop, which shares memory with the whole."""
        found, at = [], 0
        for piece in self.pieces:
            first, last = max(start - at, 0), min(stop - at, piece.length)
            if first < last:
                found.append(piece.part(first, last))
            at += piece.length
        return Past(tuple(found))

    def whole(self) -> Piece:
        """Return a copy in one piece, without states."""
        layers = {}
        for layer in self.pieces[0].layers if self.pieces else ():
            keys, values = zip(*(piece.layers[layer] for piece in self.pieces), strict=True)
            layers[layer] = torch.cat(keys, dim=1), torch.cat(values, dim=1)
        return Piece(self.length, layers)

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

    States have slots, too. As a plan it is a step: one token a row or several, written behind what
    the row's slot holds. Each token is a row of the pass by itself, since rows differ in tokens.
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
        self._count, self._device = slots, device
        self._states: dict[Key, Tensor] = {}
        # On the host, so that a step reads nothing from the device.
        self._lengths = [0] * slots
        # What several slots begin with is kept once: by its key, and each slot's key and length.
        self._common: dict[Hashable, Piece] = {}
        self._begins: list[Hashable] = [None] * slots
        self._bases = [0] * slots
        # Those of the pass, each with the tokens of its rows.
        self._begun: dict[Hashable, Tensor] = {}
        self._pass = Step([], [], [], device)

    @property
    def spread(self) -> Spread | None:
        """The tokens of the pass by row, where a row has more than one."""
        return None if self._pass.most == 1 else self._pass

    def put(self, slot: int, past: Past, common: Hashable = None, shared: int = 0) -> None:
        """A row begins: `slot` holds what it has read.

        Slots with the same `common`, if it is not None, have read the same `shared` tokens first,
        as many in each call. Those are kept once, and attended to once in a step for all of them.
        That is for texts whose tokens see all before them, and that carry no states.
        """
        self._begins[slot], self._bases[slot] = common, 0
        if common is not None:
            if common not in self._common:
                self._common[common] = past.part(0, shared).whole()
            self._bases[slot], past = shared, past.part(shared, past.length)
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
        length = self._lengths[source]
        self._begins[target], self._bases[target] = self._begins[source], self._bases[source]
        for pair in self._layers.values():
            for held in pair:
                held[target, :, :length] = held[source, :, :length]
        for states in self._states.values():
            states[target] = states[source]
        self._lengths[target] = length

    def step(self, widths: Sequence[int]) -> Tensor:
        """Make ready for a pass over widths[i] tokens of slot i; their positions [tokens, 1]."""
        self._pass = Step(widths, self._lengths, self._bases, self._device)
        begun: dict[Hashable, list[int]] = {}
        for token, slot in enumerate(self._pass.slots):
            if (common := self._begins[slot]) is not None:
                begun.setdefault(common, []).append(token)
        self._begun = {
            common: torch.tensor(tokens, device=self._device) for common, tokens in begun.items()
        }
        self._common = {common: self._common[common] for common in begun}
        return self._pass.positions[:, None]

    def keep(self, counts: Sequence[int]) -> None:
        """Slot i holds the first counts[i] of the tokens that the last pass read."""
        for slot, count in enumerate(counts):
            self._lengths[slot] += count

    def states(self) -> State:
        """As `passes.Plan` has it."""
        return {key: states[: len(self._pass.widths)] for key, states in self._states.items()}

    def carry(self, states: State) -> None:
        """As `passes.Plan` has it."""
        for key, after in states.items():
            held = self._state(key, after[0])[: len(self._pass.widths)]
            if held.data_ptr() != after.data_ptr():
                held.copy_(after)

    def _state(self, key: Key, like: Tensor) -> Tensor:
        """Return the slots [slots, ...] of a state of one row, made when it is first seen."""
        if key not in self._states:
            self._states[key] = like.new_zeros(self._count, *like.shape)
        return self._states[key]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, look: Look) -> Tensor:
        """As `passes.Plan` has it."""
        step, (keys, values) = self._pass, self._layers[layer]
        keys[step.owners, :, step.places] = k[:, :, 0]
        values[step.owners, :, step.places] = v[:, :, 0]
        if not self._begun:
            return step.attend(q, keys, values, look)
        whole = step.part(q, keys, values, look)
        for common, tokens in self._begun.items():
            pair = self._common[common].layers[layer]
            whole.join(tokens, _of_one_row(q[tokens], *pair, look))
        return whole.weighed(look.over(q.shape[1], 1, 1))


def _of_one_row(q: Tensor, k: Tensor, v: Tensor, look: Look) -> Part:
    """Return the part of q [tokens, heads, 1, D] that is of keys which all tokens see.

    k is [key heads, S, D]. All tokens, and the heads that share a key head, are its queries.
    """
    tokens, heads, _, width = q.shape
    groups = len(k)
    asked = q.view(tokens, groups, -1, width).transpose(0, 1).reshape(1, groups, -1, width)
    part = partial(asked, k[None], v[None], look)
    out = part.out.view(groups, tokens, heads // groups, -1).transpose(0, 1)
    log_sum = part.log_sum.view(groups, tokens, heads // groups).transpose(0, 1)
    return Part(out.reshape(tokens, heads, 1, -1), log_sum.reshape(tokens, heads, 1))
