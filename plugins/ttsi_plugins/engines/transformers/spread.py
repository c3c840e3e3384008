"""Steps of decoding in which rows read different numbers of tokens: which token is whose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from .sight import Look, Part, Sight, attention, partial


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


@dataclass(frozen=True)
class Run:
    """Rows first to last - 1, which have `width` tokens each, from token `start` on.

    After the pass their slots hold `longest` tokens at most.
    """

    first: int
    last: int
    width: int
    start: int
    longest: int

    @property
    def tokens(self) -> slice:
        return slice(self.start, self.start + (self.last - self.first) * self.width)


class Step(Spread):
    """A spread of tokens that are written behind what slots hold.

    Slot i holds lengths[i] tokens, which follow bases[i] others that are kept elsewhere. `owners`,
    `places` and `positions` [tokens] are the slot of each token, its place there, and its position
    in the text.
    """

    def __init__(
        self,
        widths: Sequence[int],
        lengths: Sequence[int],
        bases: Sequence[int],
        device: torch.device,
    ) -> None:
        rows = range(len(widths))
        # The slot of each token, on the host.
        self.slots = [row for row in rows for _ in range(widths[row])]
        places = [lengths[row] + at for row in rows for at in range(widths[row])]
        positions = [place + bases[row] for row, place in zip(self.slots, places, strict=True)]
        super().__init__(widths, device, self.slots, places, positions)
        self.owners, self.places, self.positions = self._tables
        held = [lengths[row] + widths[row] for row in rows]
        # Padding takes a CPU as long as tokens do, and a loop makes a GPU wait.
        self._pads = device.type != "cpu" and not self.even
        whole = Run(0, len(widths), self.most, 0, max(held, default=0))
        self._runs = [whole] if self._pads else list(_alike(widths, held))
        self._masks: dict[tuple[Run, Sight, int], Tensor] = {}

    def attend(self, q: Tensor, keys: Tensor, values: Tensor, look: Look) -> Tensor:
        """Return attention [tokens, heads, 1, E] of q [tokens, heads, 1, D] to the slots.

        keys are [slots, key heads, T, D], values [slots, key heads, T, E].
        """
        (out,) = self._by_run(q, keys, values, look, lambda *given: (attention(*given),))
        return out

    def part(self, q: Tensor, keys: Tensor, values: Tensor, look: Look) -> Part:
        """Return the same as a part, to be joined with what is kept elsewhere."""
        return Part(*self._by_run(q, keys, values, look, _tensors))

    def _by_run(
        self, q: Tensor, keys: Tensor, values: Tensor, look: Look, how: _How
    ) -> list[Tensor]:
        """Return what `how` returns, each [tokens, heads, 1, ...], from rows of the same width."""
        q = self.padded(q) if self._pads else q
        _, heads, _, width = q.shape
        groups = keys.shape[1]
        shared = heads // groups
        parts = []
        for run in self._runs:
            rows = run.last - run.first
            slots = slice(run.first, run.last), slice(None), slice(run.longest)
            # The tokens of a row, and the heads that share its keys, are queries of one head.
            asked = q[run.tokens].view(rows, run.width, groups, shared, width)
            found = how(
                asked.permute(0, 2, 3, 1, 4).reshape(rows, groups, -1, width),
                keys[slots],
                values[slots],
                look.over(groups, shared, 1).repeated(run.width),
                self._mask(run, look.sight, shared, q.dtype),
            )
            folded = (
                each.view(rows, groups, shared, run.width, *each.shape[3:]).movedim(3, 1)
                for each in found
            )
            parts.append([each.reshape(-1, heads, 1, *each.shape[4:]) for each in folded])
        line = [torch.cat(each) if len(each) > 1 else each[0] for each in zip(*parts, strict=True)]
        return [self.flat(each) for each in line] if self._pads else line

    def _mask(self, run: Run, sight: Sight, times: int, dtype: torch.dtype) -> Tensor:
        """Return [rows, 1, times * width, longest]: 0 where a token sees a place of its slot.

        It is -inf elsewhere. The tokens of a row come `times` times. A `sight` that bounds what is
        seen is for slots that hold whole texts.
        """
        key = run, sight, times
        if key not in self._masks:
            places = self.padded(self.places) if self._pads else self.places
            at = places[run.tokens].view(-1, run.width)
            columns = torch.arange(run.longest, device=at.device)
            mask = columns <= at[..., None]
            if sight.bounds(run.longest):
                mask &= sight.visible(at, columns)
            added = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
            added.masked_fill_(~mask, -torch.inf)
            self._masks[key] = added[:, None].repeat(1, 1, times, 1)
        return self._masks[key]


_How = Callable[[Tensor, Tensor, Tensor, Look, Tensor], tuple[Tensor, ...]]


def _tensors(q: Tensor, k: Tensor, v: Tensor, look: Look, mask: Tensor) -> tuple[Tensor, ...]:
    part = partial(q, k, v, look, mask)
    return part.out, part.log_sum


def _alike(widths: Sequence[int], held: Sequence[int]) -> Iterator[Run]:
    """Yield rows side by side that have the same number of tokens."""
    first = start = 0
    for width, group in groupby(widths):
        last = first + len(list(group))
        yield Run(first, last, width, start, max(held[first:last]))
        first, start = last, start + (last - first) * width
