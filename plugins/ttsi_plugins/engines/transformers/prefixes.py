"""The base model's prefix cache: a radix tree of token ids with their keys, values and states.

Prompts share the KV cache of their common prefix, within a sample (the stages of one task) and
across samples (tasks that offer the same tools).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from .caches import NO_PAST, Past, Piece
from .states import nbytes


@dataclass(eq=False)
class _Node:
    """Some tokens and what reading them left behind."""

    tokens: tuple[int, ...] = ()
    kv: Piece | None = None
    parent: _Node | None = None
    children: dict[int, _Node] = field(default_factory=dict)
    used: int = 0


class Prefixes:
    """A cache of at most `budget` bytes; least recently used leaves go first.

    A Past that was handed out stays valid when its tokens are dropped here. With `carries` a text
    can go on only where the states of its layers are known: at the end of what was read in a pass.
    """

    def __init__(self, budget: int, carries: bool = False) -> None:
        self.budget = budget
        self.carries = carries
        self.bytes = 0
        self._root = _Node()
        self._clock = count(1)

    def longest(self, ids: Sequence[int]) -> Past:
        """Return what is kept of the longest cached prefix of `ids` that a text can go on from."""
        past = found = NO_PAST
        now = next(self._clock)
        for node, shared in self._walk(ids):
            node.used = now
            assert node.kv is not None
            past = past.then(node.kv.part(0, shared))
            if past.state or not self.carries:
                found = past
        return found

    def known(self, ids: Sequence[int]) -> int:
        """Return how many tokens `ids` and the cached texts have in common."""
        return sum(shared for _, shared in self._walk(ids))

    def add(self, ids: Sequence[int], start: int, piece: Piece) -> None:
        """Keep `piece`, what reading ids[start:] after ids[:start] left behind.

        Nothing is kept if ids[:start] has been dropped meanwhile.
        """
        parent, known = self._root, 0
        # As a list: the walk must not meet the nodes that `_split` makes.
        for node, shared in list(self._walk(ids)):
            parent = node if shared == len(node.tokens) else self._split(node, shared)
            known += shared
        if start <= known < len(ids):
            own = piece if known == start else piece.part(known - start).copy()
            leaf = _Node(tuple(ids[known:]), own, parent, used=next(self._clock))
            parent.children[ids[known]] = leaf
            self.bytes += own.nbytes
        elif known == len(ids) and parent.kv is not None and not parent.kv.state:
            # These tokens were read before as the beginning of a longer text, of other states.
            parent.kv = replace(parent.kv, state=piece.state)
            self.bytes += nbytes(piece.state)
        self._shrink()

    def clear(self) -> None:
        self._root, self.bytes = _Node(), 0

    def _walk(self, ids: Sequence[int]) -> Iterator[tuple[_Node, int]]:
        """Yield the nodes along `ids` and how many of their tokens agree: all, but in the last."""
        node, at = self._root, 0
        while at < len(ids) and ids[at] in node.children:
            node = node.children[ids[at]]
            shared = common(node.tokens, ids[at : at + len(node.tokens)])
            at += shared
            yield node, shared
            if shared < len(node.tokens):
                return

    def _split(self, node: _Node, at: int) -> _Node:
        """Divide `node` after its first `at` tokens; return the new node of these."""
        assert node.kv is not None
        assert node.parent is not None
        # Copies: a view would keep the whole of it in memory when the other half is dropped.
        first, rest = node.kv.part(0, at).copy(), node.kv.part(at).copy()
        upper = _Node(node.tokens[:at], first, node.parent, {node.tokens[at]: node}, node.used)
        node.parent.children[node.tokens[0]] = upper
        node.tokens, node.kv, node.parent = node.tokens[at:], rest, upper
        return upper

    def _shrink(self) -> None:
        while self.bytes > self.budget:
            oldest = min(self._leaves(), key=lambda leaf: leaf.used)
            assert oldest.kv is not None
            assert oldest.parent is not None
            del oldest.parent.children[oldest.tokens[0]]
            self.bytes -= oldest.kv.nbytes

    def _leaves(self) -> Iterator[_Node]:
        # Without recursion: a conversation that grows turn by turn makes a deep tree.
        waiting = list(self._root.children.values())
        while waiting:
            node = waiting.pop()
            waiting += node.children.values()
            if not node.children:
                yield node


def common(one: Sequence[object], other: Sequence[object]) -> int:
    """Return the length of the common prefix of two sequences."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
