"""Attention of all rows of a pass in one call, for devices that a loop over rows keeps waiting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .sight import Look, Sight, attention

if TYPE_CHECKING:
    from .passes import Row


class Table:
    """Where the keys of each row of a pass stand, and which of them its tokens see.

    All keys lie in a line: those of the rows' pasts, then those of the pass, `width` for each row.
    A row's keys are the columns of a table: its past, padded to the longest, then its own.
    """

    def __init__(self, rows: Sequence[Row], width: int, device: torch.device) -> None:
        self._rows, self._width, self._device = rows, width, device
        self._longest = max(row.past.length for row in rows)
        self._masks: dict[tuple[Sight, int], Tensor] = {}

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, look: Look) -> Tensor:
        """As `passes.Plan` has it."""
        before = [piece.layers[layer] for row in self._rows for piece in row.past.pieces]
        keys = self._tabled([key for key, _ in before], k)
        values = self._tabled([value for _, value in before], v)
        rows, heads, length, _ = q.shape
        groups = k.shape[1]
        shared = heads // groups
        # The heads that share keys are further queries of one head.
        out = attention(
            q.reshape(rows, groups, shared * length, -1),
            keys,
            values,
            look.over(groups, shared, 1).repeated(length),
            self._mask(look.sight, shared),
        )
        return out.reshape(rows, heads, length, -1)

    def _tabled(self, before: list[Tensor], own: Tensor) -> Tensor:
        """Return [rows, heads, columns, width] of what is before [heads, n, width] and `own`."""
        line = torch.cat([*before, own.transpose(0, 1).flatten(1, 2)], dim=1)
        return line[:, self._places].transpose(0, 1)

    @cached_property
    def _places(self) -> Tensor:
        """The place in the line of each row's columns: [rows, columns]."""
        pasts = torch.tensor([row.past.length for row in self._rows])
        columns = torch.arange(self._longest)
        before = (pasts.cumsum(0) - pasts)[:, None] + columns
        before.masked_fill_(columns >= pasts[:, None], 0)
        own = torch.arange(len(pasts) * self._width).view(len(pasts), -1) + pasts.sum()
        return torch.cat([before, own], dim=1).to(self._device)

    def _mask(self, sight: Sight, times: int) -> Tensor:
        """Return [rows, 1, times * T, columns], True where a token sees a column."""
        if (sight, times) not in self._masks:
            seen, places = self._seen
            if sight.bounds(int(places.max()) + 1):
                # Padding sees itself, so that no row of weights is empty.
                seen = seen & sight.visible(places[:, self._longest :], places)
            whole = seen[:, None].to(self._device).repeat(1, 1, times, 1)
            self._masks[sight, times] = whole
        return self._masks[sight, times]

    @cached_property
    def _seen(self) -> tuple[Tensor, Tensor]:
        """Which columns tokens see without a bound [rows, T, columns], and the columns' positions.

        Both are made on the host: they are the same in all layers.
        """
        rows, width, longest = len(self._rows), self._width, self._longest
        seen = torch.zeros(rows, width, longest + width, dtype=torch.bool)
        places = torch.zeros(rows, longest + width, dtype=torch.long)
        for at, row in enumerate(self._rows):
            past, tree = row.past.length, 0 if row.tree is None else len(row.tree)
            line, end = row.line, row.line + tree
            own = seen[at, :, longest:]
            own[:line, :line] = torch.ones(line, line, dtype=torch.bool).tril()
            places[at, :past] = torch.arange(past)
            places[at, longest:] = past + torch.arange(width)
            if row.tree is not None:
                own[line:end, :line] = True
                own[line:end, line:end] = row.tree
                # The number of tree tokens that a token sees, itself included, is its depth.
                depths = row.tree.sum(1)
                places[at, longest + line : longest + end] = past + line - 1 + depths
            own[range(end, width), range(end, width)] = True
            seen[at, :end, :past] = True
        return seen, places


def worth(device: torch.device) -> bool:
    """Whether one call for all rows is faster: on a CPU it would compute with the padding."""
    return device.type != "cpu"


def past_tokens(device: torch.device, pasts: Iterable[int], layers: int) -> int:
    """Return how many tokens of a pass take the memory of its table of `pasts` tokens a row.

    A table has the keys and values of one layer, in a line and as columns: rows x longest past x 2.
    A token of a pass is charged with those of all `layers`, twice.
    """
    lengths = list(pasts)
    return len(lengths) * max(lengths, default=0) // max(1, layers) if worth(device) else 0
