"""Candidates as rows of a pass, for models that cannot read a tree of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from .memory import Room
from .trie import Trie

Run = Callable[[Tensor, Sequence[int], Tensor], Tensor]
"""A pass over ids [rows, T] of these lengths, padded at their ends, that returns the logits at the
last argument, indices into the flattened ids."""


@torch.no_grad()
def branched(
    ids: Sequence[int], trie: Trie, room: Room, run: Run, weight: float = 1.0, beside: float = 0.0
) -> Tensor:
    """Return logits [1 + nodes, V] at the last of `ids` and at the nodes of the trie.

    Each row begins with `ids`; one of T tokens takes `weight` times T and `beside` of the room.
    """
    found: dict[tuple[int, ...], Tensor] = {}
    longest = len(ids) + max(map(len, trie.ends()))
    size = max(1, int(room.limit // (longest * weight + beside)))
    for paths in _groups(trie.ends(), size):
        width = len(ids) + max(map(len, paths))
        rows = [[*ids, *path] + [0] * (width - len(ids) - len(path)) for path in paths]
        # Logits are read from the last of `ids` to the end of each path.
        read = [
            row * width + len(ids) - 1 + depth
            for row, path in enumerate(paths)
            for depth in range(len(path) + 1)
        ]
        lengths = [len(ids) + len(path) for path in paths]
        with room.taking(int(len(paths) * (width * weight + beside))):
            logits = run(torch.tensor(rows), lengths, torch.tensor(read))
        prefixes = [path[:depth] for path in paths for depth in range(len(path) + 1)]
        found |= dict(zip(prefixes, logits, strict=True))
    return torch.stack([found[path] for path in trie.paths()])


def _groups(paths: Sequence[tuple[int, ...]], size: int) -> Iterator[Sequence[tuple[int, ...]]]:
    for at in range(0, len(paths), size):
        yield paths[at : at + size]
