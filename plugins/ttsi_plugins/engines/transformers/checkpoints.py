"""Losses on held-out pairs during training, and each adapter as it was where its loss was least."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .bank import Bank
from .native import NativeNetwork
from .pairs import TokenJob, losses
from .passes import Network
from .stack import Stack


class Checkpoints:
    """Of each row of a group: the losses on its held-out pairs so far, and its best weights.

    Rows without such pairs have no losses. Nothing here waits for the device.
    """

    def __init__(
        self,
        network: Network | NativeNetwork,
        bank: Bank,
        jobs: Sequence[TokenJob],
        stack: Stack,
    ) -> None:
        self.losses: list[list[Tensor]] = [[] for _ in jobs]
        self._network, self._bank, self._jobs, self._stack = network, bank, jobs, stack
        # By row, the least loss and the weights that had it.
        self._best: dict[int, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def take(self, rows: Sequence[int]) -> None:
        """Measure the loss of each of `rows` on its held-out pairs, and keep the best weights."""
        found: dict[int, list[Tensor]] = {row: [] for row in rows if self._jobs[row].held_out}
        for at in range(max((len(self._jobs[row].held_out) for row in found), default=0)):
            some = [row for row in found if at < len(self._jobs[row].held_out)]
            # A pass reads one pair of each row, as in training.
            pairs = [self._jobs[row].held_out[at].ready() for row in some]
            with self._bank.through(self._stack.factors(some)):
                measured = losses(self._network, pairs)
            for row, loss in zip(some, measured, strict=True):
                found[row].append(loss)
        for row, each in found.items():
            loss = torch.stack(each).mean()
            self.losses[row].append(loss)
            if self._jobs[row].keep_best:
                self._best[row] = self._better(row, loss)

    def repeat(self, row: int) -> None:
        """Take the last loss again, of a row whose weights are the same as then."""
        self.losses[row] += self.losses[row][-1:]

    @torch.no_grad()
    def restore(self) -> None:
        """Put the best weights of the rows that keep them in the place of the last."""
        for row, (_, weights) in self._best.items():
            self._stack.flat[row] = weights

    def _better(self, row: int, loss: Tensor) -> tuple[Tensor, Tensor]:
        weights = self._stack.flat[row]
        if row not in self._best:
            return loss, weights.clone()
        least, kept = self._best[row]
        better = loss < least
        return torch.where(better, loss, least), torch.where(better, weights, kept)
