"""Steps of decoding in which rows read different numbers of tokens: which token is whose."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .sight import Sight


class Spread:
    """Tokens of several rows in a line, and the same as a table with a row for each.

    Row i has widths[i] tokens. `most` is the width of the table, whose cells behind a row's last
    token repeat it. `tables` are further numbers of each token, which go to `device` with the rest.
    """

    def __init__(self, widths: Sequence[int], device: torch.device, *tables: Sequence[int]) -> None:
        self.widths = widths
        self.most = max(widths, default=0)
        self.even = all(width == self.most for width in widths)
        cells, places, at = [], [], 0
        for row, width in enumerate(widths):
            cells += [at + min(column, width - 1) for column in range(self.most)]
            places += [row * self.most + column for column in range(width)]
            at += width
        numbers = torch.tensor([*cells, *places, *(n for table in tables for n in table)])
        parts = numbers.to(device, torch.long).split([len(cells), *[at] * (1 + len(tables))])
        self._cells, self._places, *self._tables = parts

    def padded(self, line: Tensor) -> Tensor:
        """Return a line [tokens, ...] as a table [rows * most, ...]."""
        return line if self.even else line[self._cells]

    def flat(self, table: Tensor) -> Tensor:
        """Return a table [rows * most, ...] as a line [tokens, ...]."""
        return table if self.even else table[self._places]


class Step(Spread):
    """A spread of tokens that are written behind what slots hold.

    Slot i holds lengths[i] tokens, which follow bases[i] others that are kept elsewhere. `owners`,
    `places` and `positions` [tokens] are the slot of each token, its place there, and its position
    in the text. `longest` is the most that a slot holds after the pass.
    """

    def __init__(
        self,
        widths: Sequence[int],
        lengths: Sequence[int],
        bases: Sequence[int],
        device: torch.device,
    ) -> None:
        rows = range(len(widths))
        self.longest = max((lengths[row] + widths[row] for row in rows), default=0)
        owners = [row for row in rows for _ in range(widths[row])]
        places = [lengths[row] + at for row in rows for at in range(widths[row])]
        positions = [place + bases[row] for row, place in zip(owners, places, strict=True)]
        super().__init__(widths, device, owners, places, positions)
        self.owners, self.places, self.positions = self._tables
        self._masks: dict[tuple[Sight, int], Tensor] = {}

    def mask(self, sight: Sight, times: int, dtype: torch.dtype) -> Tensor:
        """Return [rows, 1, times * most, longest]: 0 where a token sees a place of its slot.

        It is -inf elsewhere. The tokens of a row come `times` times. A `sight` that bounds what is
        seen is for slots that hold whole texts.
        """
        if (sight, times) not in self._masks:
            at = self.padded(self.places).view(len(self.widths), self.most)
            columns = torch.arange(self.longest, device=at.device)
            mask = columns <= at[..., None]
            if sight.bounds(self.longest):
                mask &= sight.visible(at, columns)
            added = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
            added.masked_fill_(~mask, -torch.inf)
            self._masks[sight, times] = added[:, None].repeat(1, 1, times, 1)
        return self._masks[sight, times]
