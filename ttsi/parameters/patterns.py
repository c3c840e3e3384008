"""Regular expressions of schemas, as far as they are regular.

As JSON Schema defines it, a pattern may match anywhere in a string; only `^` and `$` anchor it.
Supported are literals, classes, groups, alternatives and repetitions. Look-around, back-references
and word boundaries are refused, because no grammar could enforce them.

`\\d`, `\\w` and `\\s` stand for their ASCII characters, `\\D`, `\\W` and `\\S` for all others, and
`$` for the end of the text, in scoring, the contract and the grammar alike. Patterns are matched by
automata.py.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""Code points, as sorted ranges that do not touch; both ends belong to them."""

_LAST = 0x10FFFF
_LONGEST = 10_000
"""A pattern of more characters is refused."""


class IrregularPattern(ValueError):
    """A pattern with an unsupported construct."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One character. `listed`: the pattern lists it, so that a quotation mark is intended."""

    ranges: Ranges
    listed: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    item: Node
    least: int
    most: int | None


Node: TypeAlias = Chars | Row | Either | Repeat


def _union(ranges: Sequence[tuple[int, int]]) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def intersect(one: Ranges, other: Ranges) -> Ranges:
    both = [(max(a, c), min(b, d)) for a, b in one for c, d in other]
    return _union([(low, high) for low, high in both if low <= high])


def _complement(ranges: Ranges) -> Ranges:
    ends = [-1, *(end for low, high in ranges for end in (low, high)), _LAST + 1]
    gaps = zip(ends[::2], ends[1::2], strict=True)
    return tuple((low + 1, high - 1) for low, high in gaps if low + 1 <= high - 1)


_CLASSES: dict[str, Ranges] = {
    "d": ((48, 57),),
    "w": _union([(48, 57), (65, 90), (95, 95), (97, 122)]),
    "s": _union([(9, 13), (32, 32)]),
}
_CLASSES |= {name.upper(): _complement(ranges) for name, ranges in _CLASSES.items()}
_CONTROLS = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11, "0": 0}
ANY = Chars(_complement(((10, 10),)), listed=False)
_ANYTHING = Repeat(Chars(((0, _LAST),), listed=False), 0, None)


@lru_cache(maxsize=128)
def read_pattern(pattern: str) -> Node:
    """Return a node for all strings in which `pattern` has a match. Raises IrregularPattern."""
    if len(pattern) > _LONGEST:
        raise IrregularPattern(f"a pattern of more than {_LONGEST} characters is not read")
    try:
        with warnings.catch_warnings():
            # Python warns of syntax that later versions may read differently.
            warnings.simplefilter("ignore")
            re.compile(pattern)
        return _Reader(pattern).read()
    except (re.error, OverflowError) as error:
        raise IrregularPattern(f"{pattern!r:.200} is no regular expression: {error}") from error
    except RecursionError:
        raise IrregularPattern("a pattern with so many groups in each other is not read") from None


class _Reader:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def read(self) -> Node:
        branches = [self._tied()]
        while self._take("|"):
            branches.append(self._tied())
        if self._at < len(self._pattern):
            raise self._irregular(self._pattern[self._at])
        return branches[0] if len(branches) == 1 else Either(tuple(branches))

    def _tied(self) -> Node:
        """Read a top-level alternative; unless anchored, any text may precede and follow it."""
        before = () if self._take("^") else (_ANYTHING,)
        items = self._row()
        after = () if self._take("$") else (_ANYTHING,)
        return Row((*before, *items, *after))

    def _row(self) -> list[Node]:
        items: list[Node] = []
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)$":
            items.append(self._repeated(self._atom()))
        return items

    def _atom(self) -> Node:
        char = self._next()
        if char == "(":
            return self._group()
        if char == "[":
            return self._class()
        if char == ".":
            return ANY
        if char == "\\":
            return Chars(self._escape())
        if char == "^":
            raise self._irregular("^")
        return Chars(((ord(char), ord(char)),))

    def _group(self) -> Node:
        if self._take("?") and not self._take(":"):
            raise self._irregular(f"(?{self._pattern[self._at : self._at + 1]}")
        branches = [Row(tuple(self._row()))]
        while self._take("|"):
            branches.append(Row(tuple(self._row())))
        if not self._take(")"):
            raise self._irregular("$")
        return branches[0] if len(branches) == 1 else Either(tuple(branches))

    def _class(self) -> Node:
        negated = self._take("^")
        ranges: list[tuple[int, int]] = []
        first = True
        while first or not self._take("]"):
            first = False
            char = self._next()
            low = self._escape() if char == "\\" else ((ord(char), ord(char)),)
            single = len(low) == 1 and low[0][0] == low[0][1]
            rest = self._pattern[self._at :]
            if single and rest[:1] == "-" and rest[1:2] not in ("]", ""):
                self._at += 1
                char = self._next()
                high = self._escape() if char == "\\" else ((ord(char), ord(char)),)
                ranges.append((low[0][0], high[0][0]))
            else:
                ranges += low
        found = _union(ranges)
        if not negated:
            return Chars(found)
        return Chars(_complement(found), listed=False)

    def _escape(self) -> Ranges:
        char = self._next()
        if char in _CLASSES:
            return _CLASSES[char]
        if char in _CONTROLS:
            return ((_CONTROLS[char],) * 2,)
        digits = {"x": 2, "u": 4}.get(char, 0)
        if digits:
            code = int(self._pattern[self._at : self._at + digits], 16)
            self._at += digits
            return ((code, code),)
        if char.isalnum():
            raise self._irregular(f"\\{char}")
        return ((ord(char), ord(char)),)

    def _repeated(self, item: Node) -> Node:
        counts = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        sign = self._pattern[self._at : self._at + 1]
        bounds = re.compile(r"\{(\d*)(,?)(\d*)\}").match(self._pattern, self._at)
        least, most = 0, None
        if sign in counts and sign:
            self._at += 1
            least, most = counts[sign]
        elif bounds and (bounds[1] or bounds[3]):
            self._at = bounds.end()
            least = int(bounds[1] or 0)
            most = int(bounds[3]) if bounds[3] else None if bounds[2] else least
        else:
            return item
        if self._take("+"):
            raise self._irregular(f"{sign}+")
        self._take("?")
        return Repeat(item, least, most)

    def _take(self, char: str) -> bool:
        found = self._pattern.startswith(char, self._at)
        self._at += found
        return found

    def _next(self) -> str:
        self._at += 1
        return self._pattern[self._at - 1]

    def _irregular(self, what: str) -> IrregularPattern:
        return IrregularPattern(f"{what} in the pattern {self._pattern!r:.200} cannot be held to")


def lengths(node: Node) -> tuple[int, int | None]:
    """Return the least and the greatest length of what `node` matches; None means unbounded."""
    if isinstance(node, Chars):
        return 1, 1
    if isinstance(node, Repeat):
        least, most = lengths(node.item)
        ends = None if most is None or node.most is None else most * node.most
        return least * node.least, 0 if node.most == 0 else ends
    each = [lengths(item) for item in node.items]
    fewest = [least for least, _ in each]
    most_of = [most for _, most in each if most is not None]
    bounded = len(most_of) == len(each)
    if isinstance(node, Either):
        return min(fewest), max(most_of) if bounded else None
    return sum(fewest), sum(most_of) if bounded else None
