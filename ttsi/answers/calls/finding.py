"""Find the calls in a text, one after another, and the marks of thoughts between them.

Nothing is read twice: the search continues where an item ended or broke off. So it takes linear
time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from ttsi.answers.calls import marks
from ttsi.answers.calls.notations import Notations
from ttsi.answers.calls.shapes import CALL_KEYS, NAME_KEYS, Shapes
from ttsi.answers.calls.values import ToolCall
from ttsi.answers.literals import Broken, Reader, Value
from ttsi.types import JSON

_BRACKETS = re.compile(r"[\[{\s]*")
_SEPARATORS = re.compile(r"[\s,;]*")
_IN_NAME = re.compile(r"[\w.]")
_LONGEST_PREFIX = 100


class Kind(Enum):
    CALLS = auto()
    BAD = auto()
    """An attempt at a call that cannot be read."""
    DATA = auto()
    """A complete value that is no call."""
    OPEN = auto()
    CLOSE = auto()
    """OPEN and CLOSE are the marks of thoughts."""


@dataclass(frozen=True, slots=True)
class Item:
    """An item found from `start` to `end`; the search continues at `end`.

    `plain`: the calls are one JSON object or list of name and arguments.
    """

    kind: Kind
    start: int
    end: int
    calls: tuple[ToolCall, ...] = ()
    plain: bool = False


class Finder:
    """Finds calls in one text. `visited` counts the characters looked at."""

    def __init__(self, text: str, names: frozenset[str]) -> None:
        self.text = text
        self._names = names
        self._reader = Reader(text)
        self._shapes = Shapes(names)
        self._notations = Notations(self._reader, self._shapes)
        self._places = marks.places(names)
        self._in_tags = (
            (marks.XML, self._notations.xml),
            (marks.NAMED_IN_TAG, self._notations.json_arguments),
            (marks.PAIRS_IN_TAG, self._notations.pairs),
            (marks.PYTHON_CALL, self._notations.python),
        )
        self._read: dict[str, Callable[[re.Match[str]], Item | int]] = {
            "close": lambda found: Item(Kind.CLOSE, *found.span()),
            "open": lambda found: Item(Kind.OPEN, *found.span()),
            "xml": self._xml,
            "tag": self._tag,
            "action": self._action,
            "harmony": self._harmony,
            "encoded": self._encoded,
            "escaped": self._escaped,
            "value": self._value,
            "name": self._name,
        }

    @property
    def visited(self) -> int:
        return self._reader.visited + self._shapes.visited

    def items(self, at: int) -> Iterator[Item]:
        """Yield all items from `at` on."""
        while (item := self.next(at)) is not None:
            yield item
            at = item.end

    def next(self, at: int) -> Item | None:
        """Return the first item from `at` on, or None."""
        while found := self._places.search(self.text, at):
            self._reader.visited += found.end() - at
            item = self._read[(found.lastgroup or "").rstrip("0123456789")](found)
            if isinstance(item, Item):
                return item
            at = item
        self._reader.visited += len(self.text) - at
        return None

    # Each of these reads from one place and returns an item, or else where to continue.

    def _value(self, found: re.Match[str]) -> Item | int:
        start = found.start()
        if marks.PYTHON_LIST.match(self.text, start):
            end, calls, offered = self._notations.python_list(start + 1)
            return self._made(start, end, calls) if offered else end
        outcome = self._reader.read(start)
        if isinstance(outcome, Value):
            return self._of_value(outcome)
        if not self._is_attempt(outcome):
            commented = marks.COMMENTED.match(self.text, outcome.at)
            if commented and (commented[1] in CALL_KEYS or self._shapes.is_offered(commented[1])):
                return self._bad(start, commented.end())
            return outcome.at
        deep = outcome.too_deep
        return self._bad(start, self._behind(_BRACKETS, outcome.at) if deep else outcome.at)

    def _encoded(self, found: re.Match[str]) -> Item | int:
        """Read a JSON string that contains a list or an object."""
        string = self._reader.read_python(found.start())
        if string is None or not isinstance(string.value, str):
            return found.end()
        inner = Reader(string.value)
        held = inner.read_all()
        self._reader.visited += inner.visited
        if held is None:
            return found.end()
        calls = self._shapes.calls(held.value)
        if calls is not None:
            return self._made(string.start, string.end, list(calls))
        attempted = self._shapes.attempts(held.value)
        return Item(Kind.BAD if attempted else Kind.DATA, string.start, string.end)

    def _escaped(self, found: re.Match[str]) -> Item | int:
        named = marks.ESCAPED.match(self.text, found.start())
        if named is None or not self._shapes.is_offered(named[1]):
            return found.end()
        return self._bad(found.start(), named.end())

    def _xml(self, found: re.Match[str]) -> Item:
        opened = marks.XML.match(self.text, found.start())
        if opened is None:
            return self._bad(found.start(), found.end())
        end, call = self._notations.xml(opened[1], opened.end())
        return self._made(found.start(), end, call)

    def _tag(self, found: re.Match[str]) -> Item:
        """Read a tag and the row of items after it, all of which have to be calls."""
        start = at = self._behind(marks.BEFORE_CALL, found.start())
        items: list[Item] = []
        while not items or self._goes_on(at):
            item = self._in_tag(at)
            if item.kind is not Kind.CALLS:
                return self._bad(start, max(item.end, found.end()))
            items.append(item)
            at = self._behind(_SEPARATORS, item.end)
        calls = tuple(call for item in items for call in item.calls)
        plain = len(items) == 1 and items[0].plain
        return Item(Kind.CALLS, start, items[-1].end, calls, plain)

    def _goes_on(self, at: int) -> bool:
        """Whether another call follows in the row, in any notation."""
        if marks.TAG.match(self.text, at):
            return False
        begun = (pattern.match(self.text, at) for pattern, _ in self._in_tags)
        return self.text[at : at + 1] in ("[", "{") or any(begun)

    def _in_tag(self, at: int) -> Item:
        """Read the item at `at`, which has to be a call: of any tool, in any notation."""
        notations = self._notations
        if marks.PYTHON_LIST.match(self.text, at):
            end, calls, _ = notations.python_list(at + 1)
            return self._made(at, end, calls)
        if self.text[at : at + 1] in ("[", "{"):
            outcome = self._reader.read(at)
            if isinstance(outcome, Broken):
                return self._bad(at, outcome.at)
            return self._of_value(outcome)
        for pattern, read in self._in_tags:
            if opened := pattern.match(self.text, at):
                end, call = read(opened[1], opened.end())
                return self._made(at, end, call)
        return self._bad(at, at)

    def _action(self, found: re.Match[str]) -> Item | int:
        """Read ReAct's Action, at the beginning of a line, with its Action Input."""
        start = found.end()
        line = self.text[max(0, found.start() - _LONGEST_PREFIX) : found.start()]
        if not marks.BEFORE_ACTION.fullmatch(line.rpartition("\n")[2]):
            return start
        named = marks.ACTION_NAME.match(self.text, start)
        if named is None:
            looked_up = marks.ACTION_OF.match(self.text, start)
            attempted = looked_up and self._shapes.is_offered(looked_up[1])
            return self._bad(start, looked_up.end()) if looked_up and attempted else start
        given = marks.ACTION_INPUT.match(self.text, named.end())
        if given is not None:
            end, call = self._notations.json_arguments(named[1], given.end())
            if call is not None:
                return self._made(start, end, call)
        offered = self._notations.is_offered(named[1])
        return self._bad(start, named.end()) if offered else named.end()

    def _harmony(self, found: re.Match[str]) -> Item:
        start = found.end()
        named = marks.MESSAGE.match(self.text, start)
        if named is None:
            return self._bad(start, start)
        return self._made(start, *self._notations.json_arguments(named[1], named.end()))

    def _name(self, found: re.Match[str]) -> Item | int:
        """Read the name of an offered tool, followed by what may be its arguments."""
        start, end = found.span()
        followed = found[(found.lastgroup or "").replace("name", "then")]
        then = followed.strip()
        start = self._with_namespace(start)
        name = self.text[start : end - len(followed)].replace("\\_", "_")
        if then == ">" and self.text[start - 1 : start] == "/":
            return end
        if then.strip("`* \t\r\n") == "(":
            return self._made(start, *self._notations.python(name, end))
        if then in ("[ARGS]", ">"):
            at = self._reader.skip_space(end)
            return self._made(start, *self._notations.json_arguments(name, at))
        if not then.endswith("{"):
            return self._bad(start, end)
        return self._named_object(name, start, end - 1, followed)

    def _with_namespace(self, start: int) -> int:
        """Return where the dotted name begins whose last part begins at `start`."""
        begin = start
        if self.text[start - 1 : start] == ".":
            while begin > max(0, start - _LONGEST_PREFIX) and _IN_NAME.match(self.text, begin - 1):
                begin -= 1
        return begin

    def _named_object(self, name: str, start: int, at: int, followed: str) -> Item:
        """Read the object at `at` after a name: the name's arguments, or a complete call."""
        outcome = self._reader.read(at)
        if isinstance(outcome, Broken):
            return self._bad(start, outcome.at)
        calls = self._shapes.calls(outcome.value) if outcome.sound and followed != "{" else None
        if calls and all(self._notations.is_offered(call.name) for call in calls):
            return self._of_value(outcome)
        if not outcome.sound or (":" in followed and not marks.LABEL.search(followed)):
            return self._bad(start, outcome.end)
        call = ToolCall(self._notations.offered(name), outcome.value)
        return self._made(start, outcome.end, call)

    def _of_value(self, value: Value) -> Item:
        calls = self._shapes.calls(value.value) if value.sound else None
        if calls is not None:
            return Item(Kind.CALLS, value.start, value.end, calls, _is_plain(value.value))
        unsound = not value.sound and not CALL_KEYS.isdisjoint(value.keys)
        bad = unsound or self._shapes.attempts(value.value)
        return Item(Kind.BAD if bad else Kind.DATA, value.start, value.end)

    def _is_attempt(self, broken: Broken) -> bool:
        """Whether an incomplete value was meant as a call."""
        if broken.too_deep or not broken.keys.isdisjoint(CALL_KEYS | self._names):
            return True
        if broken.cut_key is None:
            return False
        return any(key.startswith(broken.cut_key) for key in CALL_KEYS | self._names)

    def _made(self, start: int, end: int, made: ToolCall | list[ToolCall] | None) -> Item:
        if made is None:
            return self._bad(start, end)
        calls = (made,) if isinstance(made, ToolCall) else tuple(made)
        return Item(Kind.CALLS, start, end, calls)

    def _bad(self, start: int, end: int) -> Item:
        return Item(Kind.BAD, start, max(end, self._reader.reach))

    def _behind(self, pattern: re.Pattern[str], at: int) -> int:
        found = pattern.match(self.text, at)
        end = found.end() if found else at
        self._reader.visited += end - at
        return end


def _is_plain(value: JSON) -> bool:
    items = value if isinstance(value, list) else [value]
    return all(any(key in item for key in NAME_KEYS) for item in items)
