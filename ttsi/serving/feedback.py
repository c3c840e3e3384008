"""What clients say of answers, as labelled rows that learners and the benchmark `file` read."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ttsi.answers.calls.values import calls_in
from ttsi.errors import TtsiError
from ttsi.rows.calls import calls_of, check
from ttsi.serving.conversations import check_size, refused
from ttsi.serving.fields import Fields
from ttsi.serving.refusals import Refusal, bad
from ttsi.serving.served import Served
from ttsi.serving.tickets import Outcome
from ttsi.types import JSON, Tool


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that feedback can be given to: what was asked, as JSON, and the calls made."""

    row: str
    tools: tuple[Tool, ...]
    calls: list[JSON]


@dataclass(frozen=True, slots=True)
class Told:
    """What a client says of an answer: `row` is the labelled row that follows, if one does."""

    id: str
    correct: bool
    row: dict[str, Any] | None


class Answers:
    """The last answers, by their ids; of older ones nothing is known any more."""

    def __init__(self, most: int, most_bytes: int = 64 * 2**20) -> None:
        self._most, self._most_bytes, self._bytes = most, most_bytes, 0
        self._kept: OrderedDict[str, Given] = OrderedDict()
        self._labelled: set[str] = set()

    def keep(self, id: str, row: Mapping[str, Any], outcome: Outcome) -> None:
        """Keep an answer, if tools were on offer."""
        if not row["tools"]:
            return
        tools = outcome.task.tools or ()
        calls = [call.as_json() for call in calls_in(outcome.completion.answer)] if tools else []
        # Texts: objects would take a hundred times as much memory.
        kept = self._kept[id] = Given(json.dumps(row), tools, calls)
        self._bytes += len(kept.row)
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            oldest, given = self._kept.popitem(last=False)
            self._bytes -= len(given.row)
            self._labelled.discard(oldest)

    def find(self, id: str) -> Given:
        """Return an answer. Raises Refusal for one that is not known."""
        found = self._kept.get(id)
        if found is None:
            told = f"There is no answer {id!r:.100} with tools among the last {self._most}."
            raise Refusal(404, told, param="id", code="not_found")
        return found

    @contextmanager
    def labelling(self, id: str) -> Iterator[None]:
        """Note that an answer gets a row, unless that fails. Raises Refusal if it has one."""
        if id in self._labelled:
            told = f"The answer {id!r:.100} has a row already: a file holds one for each."
            raise Refusal(409, told, param="id", code="conflict")
        self._labelled.add(id)
        try:
            yield
        except BaseException:
            self._labelled.discard(id)
            raise


def read_feedback(body: Mapping[str, Any], served: Served, *, answers: Answers) -> Told:
    """Return what a body says of one of the `answers`.

    `answer` is a list of calls, [] for none, in the notations that files have. Raises Refusal.
    """
    fields = Fields(body)
    id, correct = fields.text("id"), body.get("correct")
    if id is None:
        raise bad("id", "id is that of the answer.")
    if not isinstance(correct, bool):
        raise bad("correct", "correct is true or false.")
    given, answer = answers.find(id), body.get("answer")
    if correct:
        return Told(id, correct, _row(id, given, given.calls))
    if answer is None:
        return Told(id, correct, None)
    check_size(answer, served.limits, "answer")
    try:
        calls = calls_of(answer, "answer", "answer")
        check(calls, given.tools, "answer")
    except TtsiError as error:
        raise refused(error, "answer") from None
    return Told(id, correct, _row(id, given, [call.as_json() for call in calls]))


def _row(id: str, given: Given, calls: list[JSON]) -> dict[str, Any]:
    return {"id": id, **json.loads(given.row), "reference": calls}
