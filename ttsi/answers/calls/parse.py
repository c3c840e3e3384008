"""Parse the calls in a model's answer (docs/method.md, scoring rule 1).

- The text before the last closing mark of a thought is not searched (`marks.THOUGHTS`). An unclosed
  thought makes the answer unparsable. A mark inside a string of a call is text.
- All calls of the answer count: in tags, fences, lists and rows, or further on after prose.
- `[]` declines only if the answer makes no call.
- An attempt is never `no call`. An attempt is an object that is meant as a call (`shapes`), a tag
  that announces one (`marks.CALL_TAGS`), `Action:` with the name of an offered tool, or the name of
  an offered tool followed by `(`, `{`, `[ARGS]` or `>`. After white space, `(` begins prose unless
  keyword arguments or nothing are in it: f (a=1) is a call, f (it is closed) is not.
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

    The answer begins at `answer`, after the thoughts. `span` is the part of the text that holds the
    calls, from the first character of the first to the end of the last. `plain`: the calls are one
    JSON object or list of name and arguments, so that text[answer:span[0]] and text[span[1]:] are
    the wrapper that the model used.
    """

    calls: tuple[ToolCall, ...]
    status: AnswerStatus
    span: tuple[int, int] | None
    plain: bool = False
    answer: int = 0


def parse_calls(text: str, tools: Iterable[str] = ()) -> Parsed:
    """Parse the calls in `text`, the answer of a model that was offered the tools of these names.

    Takes time linear in the text's length; never raises, never evaluates. Without names, only JSON
    and calls in tags are recognised.
    """
    return Scan(text, tools).parse()


def calls_of(value: JSON, tools: Iterable[str] = ()) -> tuple[ToolCall, ...] | None:
    """Return the calls in a JSON value: one call or a list of them. None if it is neither."""
    if deeper_than(MAX_DEPTH, value):
        return None
    return Shapes(marks.spellings(tools)).calls(value)


def read_calls(written: JSON, tools: Iterable[str] = ()) -> tuple[ToolCall, ...] | None:
    """Return the calls in a JSON value, or in its text if it is one; None or empty if it has none.

    There is no schema here, so a value without a type gets the type that it looks like.
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
    """One scan of one text. `visited` counts the characters looked at."""

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
        """Return where the answer begins, after all thoughts; None if a thought is not closed."""
        found = self._answer()
        return found and found[0]

    def _answer(self) -> tuple[int, Iterable[Item]] | None:
        """Return where the answer begins, and its items; None if a thought is not closed.

        A mark inside a string of a call, or of any complete value, does not count. Inside an
        unreadable attempt, a mark counts only next to a line break, where models write it.
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
        # An attempt contained the end of a thought: the text after that end is read again.
        return answer, finder.items(answer) if again else items

    def _closed_within(self, item: Item) -> int | None:
        ends = [
            found.end()
            for found in marks.CLOSES_ALONE.finditer(self.text, item.start, item.end)
            if "\n" in (self.text[found.start() - 1], self.text[found.end() : found.end() + 1])
        ]
        return ends[-1] if ends else None
