"""The calls in a model's answer (DESIGN section 8, rule 1).

The text is searched from its start for the first of
- `<tool_call>` blocks: each holds a call, a list, or several of them one after another, maybe in a
  code fence. Every block that is opened has to be readable, else the answer is unparsable: a call
  that was cut short is never dropped in silence;
- a list or an object, in a code fence or bare, that is a list of calls or a call. `[]` is a list of
  no calls. What follows does not count, unless a `</tool_call>` closes it (the answer's opening was
  given to the model): then further `<tool_call>` blocks do.

A call is an object with exactly one of name, tool, api, function (a string that is not blank; or,
for function, an object with name and arguments, as in OpenAI's notation) and at most one of
arguments, parameters, args: an object, or one written as a JSON string; null, a blank string and
nothing at all mean no arguments. Other keys are ignored where there are arguments; where there are
none only `id`, `type` and `index` are, so that {"name": "f", "city": "Oslo"} is not taken for f().

What is not a call is passed over as a whole, never searched for calls inside; so is a broken value
that has one of those keys, up to where its brackets balance. An answer without calls is unparsable
if such a thing, or one nested deeper than MAX_DEPTH, was passed over; else no call was made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ttsi.scoring.literals import MAX_DEPTH, Broken, Reader, Value
from ttsi.types import JSON, ParseStatus, ToolCall

NAME_KEYS = ("name", "tool", "api", "function")
ARGUMENT_KEYS = ("arguments", "parameters", "args")
_CALL_KEYS = frozenset({*NAME_KEYS, *ARGUMENT_KEYS})
_BOOKKEEPING = frozenset({"id", "type", "index"})

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_CANDIDATE = re.compile(r"<tool_call>|[\[{]")
_BEFORE_VALUE = re.compile(r"\s*(?:```[\w-]*\s*)?")
_BETWEEN_VALUES = re.compile(r"[\s,]*")


@dataclass(frozen=True, slots=True)
class Parsed:
    """The calls of an answer; none unless `status` is ok.

    `span` is the stretch of the text that holds them, from the first character of JSON to behind
    the last: text[:span[0]] and text[span[1]:] are the wrapper that the model used.
    """

    calls: tuple[ToolCall, ...]
    status: ParseStatus
    span: tuple[int, int] | None


def parse_calls(text: str) -> Parsed:
    """The calls in `text`, in time linear in its length; never raises, never evaluates."""
    return Scan(text).parse()


def calls_of(value: JSON) -> tuple[ToolCall, ...] | None:
    """The calls that a JSON value is: one call or a list of them. None if it is neither."""
    if _deeper_than(MAX_DEPTH, value):
        return None
    return Scan("").calls_of(value)


class Scan:
    """One reading of one text. `visited` counts the characters looked at."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._reader = Reader(text)
        self._inner_visited = 0

    @property
    def visited(self) -> int:
        return self._reader.visited + self._inner_visited

    def parse(self) -> Parsed:
        at, attempted = 0, False
        while found := _CANDIDATE.search(self.text, at):
            self._reader.visited += found.end() - at
            if found[0] == _OPEN:
                return self._blocks(found.start())
            outcome = self._reader.read(found.start())
            calls = self._calls_in(outcome)
            if isinstance(outcome, Value) and calls is not None:
                return self._after_bare(outcome, calls)
            looks_like_call = not _CALL_KEYS.isdisjoint(outcome.keys)
            if isinstance(outcome, Value):
                at = outcome.end
            elif looks_like_call or outcome.too_deep:
                at = self._reader.skip_balanced(outcome.at, outcome.depth)
                looks_like_call = True
            else:
                at = outcome.at
            attempted = attempted or looks_like_call
        self._reader.visited += len(self.text) - at
        return Parsed((), ParseStatus.UNPARSABLE if attempted else ParseStatus.NO_CALL, None)

    def calls_of(self, value: JSON) -> tuple[ToolCall, ...] | None:
        items = value if isinstance(value, list) else [value]
        calls = [self._call(item) for item in items]
        return None if None in calls else tuple(call for call in calls if call)

    def _after_bare(self, first: Value, calls: tuple[ToolCall, ...]) -> Parsed:
        after = self._reader.skip_space(first.end)
        if self.text.startswith(_CLOSE, after):
            return self._blocks(after, calls, (first.start, first.end))
        return Parsed(calls, ParseStatus.OK, (first.start, first.end))

    def _blocks(
        self, at: int, calls: tuple[ToolCall, ...] = (), span: tuple[int, int] | None = None
    ) -> Parsed:
        """`calls` and those of every block that is opened from `at` on."""
        found = list(calls)
        while (opened := self.text.find(_OPEN, at)) >= 0:
            self._reader.visited += opened - at
            block = self._block(opened + len(_OPEN))
            if block is None:
                return Parsed((), ParseStatus.UNPARSABLE, None)
            values, block_calls = block
            found += block_calls
            at = values[1]
            span = (span[0] if span else values[0], at)
        self._reader.visited += len(self.text) - at
        return Parsed(tuple(found), ParseStatus.OK, span)

    def _block(self, at: int) -> tuple[tuple[int, int], list[ToolCall]] | None:
        """The span of a block's values and their calls; None if there is none, or one is bad."""
        start = at = end = self._behind(_BEFORE_VALUE, at)
        calls: list[ToolCall] = []
        while self.text[at : at + 1] in ("[", "{"):
            outcome = self._reader.read(at)
            more = self._calls_in(outcome)
            if more is None or isinstance(outcome, Broken):
                return None
            calls += more
            end = outcome.end
            at = self._behind(_BETWEEN_VALUES, end)
        return ((start, end), calls) if end > start else None

    def _behind(self, pattern: re.Pattern[str], at: int) -> int:
        found = pattern.match(self.text, at)
        end = found.end() if found else at
        self._reader.visited += end - at
        return end

    def _calls_in(self, outcome: Value | Broken) -> tuple[ToolCall, ...] | None:
        if isinstance(outcome, Broken) or not outcome.sound:
            return None
        return self.calls_of(outcome.value)

    def _call(self, item: JSON) -> ToolCall | None:
        if not isinstance(item, dict):
            return None
        names = [key for key in NAME_KEYS if key in item]
        given = [key for key in ARGUMENT_KEYS if key in item]
        if len(names) != 1 or len(given) > 1:
            return None
        name = item[names[0]]
        if isinstance(name, dict) and names == ["function"] and not given and "name" in name:
            return self._call(name)
        if not isinstance(name, str) or not name.strip():
            return None
        if not given and not item.keys() <= {*names, *_BOOKKEEPING}:
            return None
        arguments = self._arguments(item[given[0]]) if given else {}
        return None if arguments is None else ToolCall(name, arguments)

    def _arguments(self, value: JSON) -> dict[str, JSON] | None:
        if value is None or (isinstance(value, str) and not value.strip()):
            return {}
        if isinstance(value, str):
            inner = Reader(value)
            read = inner.read_all()
            self._inner_visited += inner.visited
            value = read.value if read else None
        return value if isinstance(value, dict) else None


def _deeper_than(levels: int, value: JSON) -> bool:
    """Whether containers nest deeper than `levels`; without recursion."""
    layer = [value]
    for _ in range(levels):
        holders = [item.values() if isinstance(item, dict) else item for item in _holders(layer)]
        layer = [item for holder in holders for item in holder]
    return bool(_holders(layer))


def _holders(values: list[JSON]) -> list[JSON]:
    return [value for value in values if isinstance(value, dict | list)]
