"""Candidate continuations as one tree of tokens, so that common prefixes are read once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Trie:
    """The tokens that must be read to know the likelihood of each of `candidates` (token ids).

    They are the inner nodes of the candidates' token tree, parents first: a candidate's last token
    is only predicted and never read.
    """

    def __init__(self, candidates: Sequence[Sequence[int]]) -> None:
        self.ids: list[int] = []
        self.depths: list[int] = []
        self.candidates = [tuple(candidate) for candidate in candidates]
        self._parents: list[int] = []
        self._nodes: dict[tuple[int, ...], int] = {(): -1}
        for candidate in self.candidates:
            for depth in range(1, len(candidate)):
                self._read(candidate[:depth])

    def paths(self) -> list[tuple[int, ...]]:
        """Return the tokens from the prompt's end to each row of the logits of `logprobs`."""
        return list(self._nodes)

    def ends(self) -> list[tuple[int, ...]]:
        """Return the paths that are not the beginning of another one."""
        inner = {path[:-1] for path in self._nodes if path}
        return [path for path in self._nodes if path not in inner]

    def mask(self) -> Tensor:
        """Return bool [nodes, nodes]: a node's row is True at its ancestors and itself."""
        mask = torch.eye(len(self.ids), dtype=torch.bool)
        for node, parent in enumerate(self._parents):
            if parent >= 0:
                mask[node] |= mask[parent]
        return mask

    def logprobs(self, logits: Tensor) -> list[float]:
        """Return log P of each candidate in nats, from `logits` [1 + nodes, V].

        Row 0 is what the prompt's last token predicts, row 1 + i what node i predicts. The
        log-sum-exp over the vocabulary is taken in float64: in float32 its error would exceed that
        of the whole pass.
        """
        rows, columns = [], []
        for candidate in self.candidates:
            rows += [self._nodes[candidate[:depth]] + 1 for depth in range(len(candidate))]
            columns += candidate
        if not rows:
            return [0.0 for _ in self.candidates]
        # One row at a time takes the least memory; the device is read once, for all of them.
        log_sums = torch.stack([row.double().logsumexp(-1) for row in logits])
        found = iter((logits[rows, columns].double() - log_sums[rows]).tolist())
        return [sum((next(found) for _ in candidate), 0.0) for candidate in self.candidates]

    def _read(self, path: tuple[int, ...]) -> None:
        if path not in self._nodes:
            self._nodes[path] = len(self.ids)
            self.ids.append(path[-1])
            self.depths.append(len(path))
            self._parents.append(self._nodes[path[:-1]])
