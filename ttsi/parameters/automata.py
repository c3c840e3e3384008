"""Match patterns (patterns.py) by automata, whose time is linear in the length of a text.

Whoever writes a schema and a text can still make that take minutes. So matching is work that has a
bound: a text that takes seconds has no match, and `bounded` limits the work of a whole schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

from ttsi.parameters.patterns import (
    Chars,
    Either,
    IrregularPattern,
    Node,
    Ranges,
    Repeat,
    Row,
    intersect,
    lengths,
    read_pattern,
)

_MOST_STATES = 10_000
"""A pattern whose automaton has more states is refused, because matching would be slow."""

_MOST_PAIRS = 4000

_MOST_WORK = 1_000_000

_BUILDING = 100
"""The least work of a text: of many patterns the automata are not all kept."""


class Laborious(Exception):
    """Patterns that take more work than there may be."""


class _Work:
    """How many states and ranges may still be looked at."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, looks: int) -> None:
        self.left -= looks
        if self.left < 0:
            raise Laborious


_SHARED: ContextVar[_Work | None] = ContextVar("shared", default=None)


@contextmanager
def bounded(work: int) -> Iterator[None]:
    """Bound the work of all matching within this context, which raises Laborious if it takes more.

    A look at a state is 1, and so is one at each of its steps and ranges of characters.
    """
    token = _SHARED.set(_Work(work))
    try:
        yield
    finally:
        _SHARED.reset(token)


def occurs(pattern: str, text: str) -> bool:
    """Whether `text` has a match of `pattern`; False if the search would take too long.

    Raises IrregularPattern, and Laborious within `bounded`.
    """
    automaton, shared = _automaton(pattern), _SHARED.get()
    if shared is not None:
        return automaton.takes(text, shared)
    try:
        return automaton.takes(text, _Work(_MOST_WORK))
    except Laborious:
        return False


def overlap(one: str, other: str) -> bool:
    """Whether some string matches both patterns; also True where very many states would be seen.

    Raises IrregularPattern, and Laborious where single looks are too many.
    """
    left, right = _automaton(one), _automaton(other)
    work = _SHARED.get() or _Work(_MOST_WORK)
    work.spend(_BUILDING)
    waiting = [(left.start, right.start)]
    seen = set(waiting)
    while waiting:
        a, b = waiting.pop()
        if a == left.end and b == right.end:
            return True
        if len(seen) > _MOST_PAIRS:
            return True
        work.spend(left.weight[a] * right.weight[b])
        for pair in _steps(left, right, a, b):
            if pair not in seen:
                seen.add(pair)
                waiting.append(pair)
    return False


def _steps(left: _Automaton, right: _Automaton, a: int, b: int) -> Iterator[tuple[int, int]]:
    yield from ((to, b) for to in left.free[a])
    yield from ((a, to) for to in right.free[b])
    for ranges, to in left.read[a]:
        for others, and_to in right.read[b]:
            if intersect(ranges, others):
                yield to, and_to


class _Automaton:
    """A nondeterministic automaton from `start` to `end`, with free steps and reading steps."""

    def __init__(self, node: Node) -> None:
        self.free: list[list[int]] = []
        self.read: list[list[tuple[Ranges, int]]] = []
        # The work of a look at a state: one for itself, and for each of its steps and ranges.
        self.weight: list[int] = []
        self.start = self._state()
        self.end = self._add(node, self.start)

    def takes(self, text: str, work: _Work) -> bool:
        """Whether the automaton accepts the whole text. Raises Laborious."""
        work.spend(_BUILDING + len(self.free))
        states = self._freely([self.start])
        for code in map(ord, text):
            work.spend(sum(map(self.weight.__getitem__, states)))
            states = self._freely(
                to
                for state in states
                for ranges, to in self.read[state]
                if any(low <= code <= high for low, high in ranges)
            )
            if not states:
                return False
        return self.end in states

    def _freely(self, states: Iterable[int]) -> set[int]:
        """Return these states and all that free steps reach from them."""
        waiting = list(states)
        found: set[int] = set()
        while waiting:
            state = waiting.pop()
            if state not in found:
                found.add(state)
                waiting += self.free[state]
        return found

    def _state(self) -> int:
        if len(self.free) > _MOST_STATES:
            raise OverflowError
        self.free.append([])
        self.read.append([])
        self.weight.append(1)
        return len(self.free) - 1

    def _join(self, state: int, to: int) -> None:
        self.free[state].append(to)
        self.weight[state] += 1

    def _add(self, node: Node, start: int) -> int:
        if isinstance(node, Chars):
            end = self._state()
            self.read[start].append((node.ranges, end))
            self.weight[start] += len(node.ranges)
            return end
        if isinstance(node, Row):
            for item in node.items:
                start = self._add(item, start)
            return start
        if isinstance(node, Either):
            end = self._state()
            for item in node.items:
                self._join(self._add(item, start), end)
            return end
        return self._add_repeat(node, start)

    def _add_repeat(self, node: Repeat, start: int) -> int:
        if lengths(node)[1] == 0:
            return start
        for _ in range(node.least):
            start = self._add(node.item, start)
        if node.most is None:
            loop = self._state()
            self._join(start, loop)
            self._join(self._add(node.item, loop), loop)
            return loop
        end = self._state()
        self._join(start, end)
        for _ in range(node.most - node.least):
            start = self._add(node.item, start)
            self._join(start, end)
        return end


@lru_cache(maxsize=128)
def _automaton(pattern: str) -> _Automaton:
    try:
        return _Automaton(read_pattern(pattern))
    except OverflowError:
        raise IrregularPattern(
            f"the pattern {pattern!r:.200} takes more than {_MOST_STATES} states"
        ) from None
