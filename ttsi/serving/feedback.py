"""What clients say of answers, as labelled rows that learners and the benchmark `file` read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ttsi.answers.calls.values import calls_in
from ttsi.errors import TtsiError
from ttsi.rows.calls import calls_of, check
from ttsi.serving.conversations import refused
from ttsi.serving.fields import Fields
from ttsi.serving.refusals import Refusal, bad
from ttsi.serving.tickets import Outcome
from ttsi.types import JSON, Tool


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that feedback can be given to: what was asked, and the calls that were made."""

    row: Mapping[str, Any]
    tools: tuple[Tool, ...]
    calls: list[JSON]


class Answers:
    """The last answers, by their ids; of older ones nothing is known any more."""

    def __init__(self, most: int, most_bytes: int = 64 * 2**20) -> None:
        self._most, self._most_bytes, self._bytes = most, most_bytes, 0
        self._kept: OrderedDict[str, tuple[Given, int]] = OrderedDict()

    def keep(self, id: str, size: int, row: Mapping[str, Any], outcome: Outcome) -> None:
        """Keep an answer to a request of `size` bytes, if tools were on offer."""
        if not row["tools"]:
            return
        tools = outcome.task.tools or ()
        calls = [call.as_json() for call in calls_in(outcome.completion.answer)] if tools else []
        self._kept[id] = (Given(row, tools, calls), size)
        self._bytes += size
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            self._bytes -= self._kept.popitem(last=False)[1][1]

    def find(self, id: str) -> Given:
        """Return an answer. Raises Refusal for one that is not known."""
        if id not in self._kept:
            told = f"There is no answer {id!r:.100} with tools among the last {self._most}."
            raise Refusal(404, told, param="id", code="not_found")
        return self._kept[id][0]


def labelled(body: Mapping[str, Any], answers: Answers) -> dict[str, Any] | None:
    """Return the labelled row that feedback gives, or None if it does not say what is right.

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
        return {"id": id, **given.row, "reference": given.calls}
    if answer is None:
        return None
    try:
        calls = calls_of(answer, "answer", "answer")
        check(calls, given.tools, "answer")
    except TtsiError as error:
        raise refused(error, "answer") from None
    return {"id": id, **given.row, "reference": [call.as_json() for call in calls]}
