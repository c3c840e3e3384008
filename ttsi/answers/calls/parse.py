"""The calls in a model's answer (docs/method.md, scoring rule 1).

- What stands before the last closing mark of a thought is not searched (`marks.THOUGHTS`). A
  thought that is not closed is no answer: unparsable. A mark inside a string of a call is text.
- All calls of the answer count: in tags, fences, lists and rows, or further on after prose.
- `[]` declines only if the answer makes no call.
- An attempt is never `no call`. It is an object that is meant as a call (`shapes`), a tag that
  promises one (`marks.CALL_TAGS`), `Action:` with the name of a tool on offer, or the name of a
  tool on offer followed by `(`, `{`, `[ARGS]` or `>`. With white space before it `(` begins prose,
  unless keyword arguments or nothing are in it: f (a=1) is a call, f (it is closed) is not.
- An attempt that cannot be read makes the answer unparsable. Nothing inside an attempt is searched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ttsi.answers.calls import marks
from ttsi.answers.calls.finding import Finder, Item, Kind
from ttsi.answers.calls.shapes import Shapes, deeper_than
from ttsi.answers.calls.values import ToolCall
from ttsi.answers.literals import MAX_DEPTH
from ttsi.answers.numbers import Untyped
from ttsi.types import JSON, AnswerStatus


@dataclass(frozen=True, slots=True)
class Parsed:
    """The calls of an answer; none unless `status` is ok.

    The answer begins at `answer`, behind the thoughts. `span` is the stretch of the text that holds
    the calls, from the first character of the first to behind the last. `plain`: they are one JSON
    object or list of name and arguments, so that text[answer:span[0]] and text[span[1]:] are the
    wrapper that the model used.
    """

    calls: tuple[ToolCall, ...]
    status: AnswerStatus
    span: tuple[int, int] | None
    plain: bool = False
    answer: int = 0


def parse_calls(text: str, tools: Iterable[str] = ()) -> Parsed:
    """The calls in `text`, the answer of one who was offered the `tools` of these names.

    Takes time linear in the text's length; never raises, never evaluates. Without the names only
    what is a call by itself is read: JSON, and calls in tags.
    """
    return Scan(text, tools).parse()


def calls_of(value: JSON, tools: Iterable[str] = ()) -> tuple[ToolCall, ...] | None:
    """The calls that a JSON value is: one call or a list of them. None if it is neither."""
    if deeper_than(MAX_DEPTH, value):
        return None
    return Shapes(marks.spellings(tools)).calls(value)


def read_calls(written: JSON, tools: Iterable[str] = ()) -> tuple[ToolCall, ...] | None:
    """The calls that a JSON value is, or that are in its text; None or none if there are none.

    A value without a type is what it looks like: no schema decides here.
    """
    if isinstance(written, str):
        return tuple(map(_as_it_looks, parse_calls(written, tools).calls))
    return calls_of(written, tools)


def _as_it_looks(call: ToolCall) -> ToolCall:
    items = call.arguments.items()
    return ToolCall(
        call.name, {key: each.value if isinstance(each, Untyped) else each for key, each in items}
    )


class Scan:
    """One reading of one text. `visited` counts the characters looked at."""

    def __init__(self, text: str, tools: Iterable[str] = ()) -> None:
        self.text = text
        self._finder = Finder(text, marks.spellings(tools))

    @property
    def visited(self) -> int:
        return self._finder.visited

    def parse(self) -> Parsed:
        found = self._answer()
        if found is None:
            return Parsed((), AnswerStatus.UNPARSABLE, None)
        answer, items = found
        read: list[Item] = []
        for item in items:
            if item.kind in (Kind.BAD, Kind.OPEN):
                return Parsed((), AnswerStatus.UNPARSABLE, None, answer=answer)
            if item.kind is Kind.CALLS:
                read.append(item)
        made = [item for item in read if item.calls] or read[:1]
        if not made:
            return Parsed((), AnswerStatus.DECLINED, None, answer=answer)
        calls = tuple(call for item in made for call in item.calls)
        plain = len(made) == 1 and made[0].plain
        return Parsed(calls, AnswerStatus.OK, (made[0].start, made[-1].end), plain, answer)

    def answer_start(self) -> int | None:
        """Where the answer begins, behind all thoughts; None if a thought is not closed."""
        found = self._answer()
        return found and found[0]

    def _answer(self) -> tuple[int, Iterable[Item]] | None:
        """Where the answer begins, and what is in it; None if a thought is not closed.

        A mark in a string of a call, or of any complete value, is no mark. Neither is one in an
        attempt that cannot be read, unless a line begins or ends there, as models write it.
        """
        finder, answer, at = self._finder, 0, 0
        if not marks.may_hold_thoughts(self.text):
            return 0, finder.items(0)
        items: list[Item] = []
        again = False
        while (item := finder.next(at)) is not None:
            at = item.end
            if item.kind is Kind.OPEN:
                closed = marks.closed(self.text[item.start : at], self.text, at)
                if closed is None:
                    return None
                at = closed
            within = self._closed_within(item) if item.kind is Kind.BAD else None
            if within is not None or item.kind in (Kind.OPEN, Kind.CLOSE):
                answer, items, again = within or at, [], within is not None
            else:
                items.append(item)
        # A thought's end was read over as part of an attempt: what follows it is read again.
        return answer, finder.items(answer) if again else items

    def _closed_within(self, item: Item) -> int | None:
        ends = [
            found.end()
            for found in marks.CLOSES_ALONE.finditer(self.text, item.start, item.end)
            if "\n" in (self.text[found.start() - 1], self.text[found.end() : found.end() + 1])
        ]
        return ends[-1] if ends else None
