"""Read one list or object in JSON or Python-literal notation out of any text.

One pass with an explicit stack: linear in the text, no recursion, nothing evaluated. `visited`
counts the characters looked at, so that tests can verify that.

Accepted beyond JSON: single quotes, True/False/None, `+3`, `.5`, `5.`, trailing commas, raw line
breaks in strings, `\\x41`, and unknown escapes such as `\\d`, which keep their backslash as Python
does. Refused, though well-formed (`Value.sound` is False): an object that has a key twice, NaN and
infinities (1e999 is one), and numbers written with more than MAX_DIGITS characters.

An unpaired surrogate becomes U+FFFD, so that every string can be encoded as UTF-8.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field

from ttsi.answers.numbers import read_number
from ttsi.types import JSON

MAX_DEPTH = 64

_SPACE = re.compile(r"\s*")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]")
_WORD = re.compile(r"[+-]?[A-Za-z_]\w*")
_STRING_STOP = {'"': re.compile(r'["\\]'), "'": re.compile(r"['\\]")}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_CLOSERS = {"[": "]", "{": "}", "(": ")"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_NOT_FINITE = frozenset({"NaN", "nan", "Infinity", "inf"})
_SIMPLE_ESCAPES = {
    **{char: char for char in "\"'\\/"},
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "\n": "",
}


@dataclass(frozen=True, slots=True)
class Value:
    """A complete list or object: text[start:end], and the keys met anywhere inside it."""

    value: JSON
    start: int
    end: int
    sound: bool
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Broken:
    """An incomplete or wrong value; reading failed at `at`.

    `cut_key` is the beginning of an object's first key if the text ends inside it, else None.
    """

    at: int
    too_deep: bool
    keys: frozenset[str]
    cut_key: str | None


class _FaultError(Exception):
    """The text at `at` does not continue a value."""

    def __init__(self, at: int, *, too_deep: bool = False, reach: int | None = None) -> None:
        super().__init__(at)
        self.at, self.too_deep = at, too_deep
        self.reach = at if reach is None else reach


@dataclass(slots=True)
class _Open:
    """An open container. `key` is an object's key whose value is still to come."""

    holds: list[JSON] | dict[str, JSON]
    closer: str
    key: str | None = None
    comma: bool = False


@dataclass(slots=True)
class _State:
    stack: list[_Open] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    sound: bool = True
    openers: tuple[str, ...] = ("[", "{")


class Reader:
    """Reads values at given positions of one text.

    `visited`: characters looked at so far. `reach`: how far the last reading had looked when it
    failed; 0 if it succeeded.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.visited = 0
        self.reach = 0

    def read(self, start: int) -> Value | Broken:
        """Return the value that begins with the `[` or `{` at `start`."""
        state = _State()
        try:
            end, value = self._container(start, state)
        except _FaultError as fault:
            self.reach = fault.reach
            keys = frozenset(state.keys)
            return Broken(fault.at, fault.too_deep, keys, self._cut_key(fault, state))
        self.reach = 0
        return Value(value, start, end, state.sound, frozenset(state.keys))

    def read_python(self, start: int) -> Value | None:
        """Return any sound Python literal at `start`, including a text, number, word or tuple.

        A tuple becomes a list of its items, and (1) becomes 1, as in Python.
        """
        state = _State(openers=("[", "{", "("))
        try:
            read = self._container if self.text[start : start + 1] in _CLOSERS else self._scalar
            end, value = read(start, state)
        except _FaultError as fault:
            self.reach = fault.reach
            return None
        self.reach = 0
        return Value(value, start, end, True, frozenset(state.keys)) if state.sound else None

    def read_all(self) -> Value | None:
        """Return the sound value of the whole text, apart from white space around it; else None."""
        start = self.skip_space(0)
        if self.text[start : start + 1] not in ("[", "{"):
            return None
        outcome = self.read(start)
        if isinstance(outcome, Broken) or not outcome.sound:
            return None
        return outcome if self.skip_space(outcome.end) == len(self.text) else None

    def skip_space(self, at: int) -> int:
        return self._matched(_SPACE, at) or at

    def _container(self, at: int, state: _State) -> tuple[int, JSON]:
        at = self._open(at, state)
        while True:
            top = state.stack[-1]
            at = self.skip_space(at)
            if self.text[at : at + 1] == top.closer and top.key is None:
                at += 1
                state.stack.pop()
                one = top.closer == ")" and len(top.holds) == 1 and not top.comma
                value = top.holds[0] if one else top.holds  # type: ignore[index]
                if not state.stack:
                    return at, value
                at = self._store(at, value, state)
            elif isinstance(top.holds, dict) and top.key is None:
                at = self._key(at, top, state)
            elif self.text[at : at + 1] in state.openers:
                at = self._open(at, state)
            else:
                at, value = self._scalar(at, state)
                at = self._store(at, value, state)

    def _open(self, at: int, state: _State) -> int:
        if len(state.stack) == MAX_DEPTH:
            raise _FaultError(at, too_deep=True)
        opener = self.text[at]
        state.stack.append(_Open({} if opener == "{" else [], _CLOSERS[opener]))
        self.visited += 1
        return at + 1

    def _store(self, at: int, value: JSON, state: _State) -> int:
        """Store a finished value in its container and skip a comma after it."""
        top = state.stack[-1]
        if isinstance(top.holds, list):
            top.holds.append(value)
        elif top.key is not None:
            state.sound = state.sound and top.key not in top.holds
            top.holds[top.key] = value
            top.key = None
        at = self.skip_space(at)
        follows = self.text[at : at + 1]
        self.visited += 1
        if follows == ",":
            top.comma = True
            return at + 1
        if follows == top.closer:
            return at
        raise _FaultError(at)

    def _key(self, at: int, top: _Open, state: _State) -> int:
        if self.text[at : at + 1] not in ('"', "'"):
            # An unquoted key is not accepted, but it shows whether a call was meant.
            if (end := self._matched(_WORD, at)) is not None:
                state.keys.add(self.text[at:end])
            raise _FaultError(at)
        at, key = self._string(at)
        at = self.skip_space(at)
        if self.text[at : at + 1] != ":":
            raise _FaultError(at)
        state.keys.add(key)
        top.key = key
        return at + 1

    def _scalar(self, at: int, state: _State) -> tuple[int, JSON]:
        if self.text[at : at + 1] in ('"', "'"):
            return self._string(at)
        if (end := self._matched(_NUMBER, at)) is not None:
            number = read_number(self.text[at:end])
            if number is None and _LEADING_ZERO.match(self.text, at):
                raise _FaultError(at)
            state.sound = state.sound and number is not None
            return end, number
        if (end := self._matched(_WORD, at)) is not None:
            word = self.text[at:end]
            if word in _WORDS:
                return end, _WORDS[word]
            if word.lstrip("+-") in _NOT_FINITE:
                state.sound = False
                return end, None
        raise _FaultError(at)

    def _string(self, at: int) -> tuple[int, str]:
        end = self._string_end(at)
        if end > len(self.text):
            raise _FaultError(at, reach=len(self.text))
        raw = self.text[at + 1 : end - 1]
        if "\\" in raw:
            self.visited += len(raw)
            try:
                raw = _ESCAPE.sub(_unescape, raw)
            except ValueError:
                raise _FaultError(end) from None
        return end, _whole(raw)

    def _string_end(self, at: int) -> int:
        """Return the position after the closing quote, or beyond the text's end if there is none.

        Each kind of quote can be found unclosed only once, so that searching to the end stays
        linear: a later quote would have closed the first, unless a backslash precedes it, and then
        it does not open a string.
        """
        search = _STRING_STOP[self.text[at]].search
        place, end = at + 1, len(self.text) + 1
        while found := search(self.text, place):
            if found[0] != "\\":
                end = found.end()
                break
            place = found.end() + 1
        self.visited += min(end, len(self.text)) - at
        return end

    def _cut_key(self, fault: _FaultError, state: _State) -> str | None:
        top = state.stack[-1]
        at_key = isinstance(top.holds, dict) and top.key is None
        if not at_key or fault.reach < len(self.text) or top.holds:
            return None
        return self.text[fault.at + 1 :]

    def _matched(self, pattern: re.Pattern[str], at: int) -> int | None:
        found = pattern.match(self.text, at)
        if not found:
            return None
        self.visited += found.end() - at
        return found.end()


def _unescape(found: re.Match[str]) -> str:
    """Return the character of an escape. Raises ValueError if it is cut short, such as `\\u12`."""
    code = found[1]
    if code[0] in "uUx":
        point = int(code[1:], 16)
        if point > sys.maxunicode:
            raise ValueError(code)
        return chr(point)
    return _SIMPLE_ESCAPES.get(code, found[0])


def _whole(text: str) -> str:
    """Join surrogate pairs and replace lone surrogates."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
