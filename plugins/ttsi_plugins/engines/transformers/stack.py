"""LoRA weights of many adapters in one tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from .spread import Spread

Pairs = list[tuple[Tensor, Tensor]]
"""A [rows, r, in] and B [rows, out, r] of each layer, in the model's order."""


@dataclass(frozen=True)
class Layer:
    """A linear layer that adapters act on."""

    name: str
    inside: int
    outside: int


class Stack:
    """LoRA weights of one adapter a row: `flat` [rows, P], `scales` [rows].

    A row holds A and B of each layer in turn, all of rank `rank`.
    """

    def __init__(self, layers: Sequence[Layer], rows: int, rank: int, like: Tensor) -> None:
        self.layers = layers
        self.rank = rank
        width = rank * sum(layer.inside + layer.outside for layer in layers)
        self.flat = like.new_zeros(rows, width)
        self.scales = like.new_zeros(rows)

    def __len__(self) -> int:
        return len(self.flat)

    def split(self, flat: Tensor) -> Pairs:
        """Return views by layer of `flat` [rows, P], or of another tensor of this width."""
        pairs, at = [], 0
        for layer in self.layers:
            middle = at + self.rank * layer.inside
            end = middle + self.rank * layer.outside
            a = flat[:, at:middle].view(len(flat), self.rank, layer.inside)
            b = flat[:, middle:end].view(len(flat), layer.outside, self.rank)
            pairs.append((a, b))
            at = end
        return pairs

    def factors(self, rows: Sequence[int]) -> Factors:
        """Return the updates of some rows as they are now, for a pass."""
        which = selected(rows)
        return Factors(self.split(self.flat[which]), self.scales[which][:, None, None])

    def put(self, row: int, other: Stack, source: int) -> None:
        """Copy row `source` of `other`, whose rank is not larger, to row `row`."""
        self.scales[row] = other.scales[source]
        if other.rank == self.rank:
            self.flat[row] = other.flat[source]
            return
        self.flat[row] = 0
        own = self.split(self.flat[row : row + 1])
        given = other.split(other.flat[source : source + 1])
        for (a, b), (small_a, small_b) in zip(own, given, strict=True):
            a[:, : other.rank] = small_a
            b[:, :, : other.rank] = small_b


def selected(rows: Sequence[int]) -> slice | list[int]:
    """Return an index for `rows`: for the first ones a slice, which gives views and not copies."""
    return slice(len(rows)) if list(rows) == list(range(len(rows))) else list(rows)


@dataclass(frozen=True)
class Factors:
    """The low-rank updates of a pass: each layer's factors, and `scales` [rows, 1, 1].

    `drop` applies dropout to a layer's input [rows, T, in] before A. `untrained`: each B is zero,
    so only B has a gradient through the low-rank parts. `spread`: the pass has a row for each
    token, and several of them belong to one row of the factors.
    """

    pairs: Pairs
    scales: Tensor
    drop: Callable[[Tensor], Tensor] | None = None
    untrained: bool = False
    spread: Spread | None = None
