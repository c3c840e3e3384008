"""The form `calls`: an answer is a list of calls of the tools on offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from ttsi.answers.calls import Switches
from ttsi.answers.calls.claims import claims_of, without
from ttsi.answers.calls.match import call_parts, canonical_calls, score_calls
from ttsi.answers.calls.parse import read_calls
from ttsi.answers.calls.predicted import of_calls, of_message, of_text
from ttsi.answers.calls.validation import argument_faults
from ttsi.answers.calls.values import Reason, answer_with, calls_in
from ttsi.answers.calls.writing import TOOL_CALL, Wrapper, call_json, calls_schema
from ttsi.answers.form import Form
from ttsi.protocols import Asking, Candidates, Claim, Context
from ttsi.types import JSON, UNPARSABLE, Answer, AnswerStatus, Score, Task

NO_CALL = "none"
"""The pseudo-name scored for an answer that makes no call."""

CALLED = "Another answer to this request called {name}."
MADE_NO_CALL = "Another answer to this request called no tool."

ASKING = Asking(
    data_for="assistants that answer requests by calling tools",
    answer="the calls that the assistant should answer with",
    answer_to_it="the calls that answer it",
    rule="Every value in the calls comes from the new request.",
    shape='[{"name": "tool_name", "arguments": {...}}]',
)


class Calls(Form):
    """Calls of tools, compared call by call.

    A value is a list of {"name", "arguments"}; a reference may have alternatives.

    `[]` and prose both decline. The scorer's options are those of `Switches`.
    """

    name: ClassVar[str] = "calls"
    reasons: ClassVar[tuple[str, ...]] = tuple(reason.value for reason in Reason)
    fields: ClassVar[tuple[str, ...]] = ("calls", "tool_calls", "message", "answer")
    asking = ASKING

    def parse(self, task: Task, text: str) -> Answer:
        return of_text(text, task.tool_names)

    def write(self, task: Task, answer: Answer, like: str | None = None) -> str:
        """Write calls in `<tool_call>` tags as the paper does, or in the wrapper of `like`.

        No call is written as an empty list, in that wrapper if it has a list.
        """
        return self._wrapper(task, like).write(calls_in(answer))

    def read(self, task: Task, value: JSON) -> Answer:
        calls = read_calls(value, task.tool_names)
        return answer_with(calls) if calls else UNPARSABLE

    def schema(self, task: Task, *, least: int = 1, most: int | None = None) -> JSON:
        return calls_schema(task.tools, least=least, most=most) if task.tools else None

    def faults(self, task: Task, answer: Answer) -> Sequence[str]:
        calls = calls_in(answer)
        if not calls:
            return ("it makes no call",)
        return [fault for call in calls for fault in argument_faults(task.tools, call)]

    def key(self, task: Task, answer: Answer, options: Mapping[str, JSON] | None = None) -> str:
        if answer.status is AnswerStatus.UNPARSABLE:
            return answer.status.value
        return canonical_calls(task.tools, calls_in(answer), Switches(**(options or {})))

    def parts(self, task: Task, answer: Answer) -> Mapping[tuple[str, ...], str]:
        """Return each call, and each of its arguments."""
        return call_parts(task.tools, calls_in(answer)) or super().parts(task, answer)

    def score(
        self,
        task: Task,
        reference: Answer,
        answer: Answer,
        options: Mapping[str, JSON] | None = None,
    ) -> Score:
        return score_calls(task.tools, calls_in(reference), answer, Switches(**(options or {})))

    def candidates(
        self, task: Task, context: Context, draft: str = "", *, decline: bool = False
    ) -> Candidates:
        """Return the names of the offered tools, in their order."""
        names = (*task.tool_names, NO_CALL) if decline else task.tool_names
        told = tuple(map(_told, names))
        if context == "bare":
            return Candidates("", names, names, told)
        wrapper = Wrapper.of(draft, task.tool_names) if context == "as_answered" else None
        # The closing quote makes names comparable if one is a prefix of another.
        closed = tuple(f'{name}"' for name in names)
        return Candidates((wrapper or TOOL_CALL).opening, names, closed, told)

    def claims(self, task: Task, answer: Answer, like: str | None = None) -> tuple[Claim, ...]:
        """Return the arguments of all calls, each as a claim."""
        return claims_of(task, calls_in(answer), self._wrapper(task, like))

    def without(self, task: Task, answer: Answer, claims: Sequence[Claim]) -> Answer:
        return answer_with(without(calls_in(answer), claims)) if claims else answer

    def predicted(self, task: Task, field: str, value: JSON) -> Answer:
        """Read a list of calls, or a message with calls in a field of its own or in its text."""
        of = of_message if field == "message" else of_calls
        return of(value, task.tool_names)

    def shown(self, task: Task, answer: Answer) -> str:
        if answer.status is not AnswerStatus.OK:
            return answer.status.value
        return ", ".join(map(call_json, calls_in(answer))) or "no call"

    def _wrapper(self, task: Task, like: str | None) -> Wrapper:
        wrapper = Wrapper.of(like, task.tool_names) if like is not None else None
        return wrapper or TOOL_CALL


def _told(name: str) -> str:
    return MADE_NO_CALL if name == NO_CALL else CALLED.format(name=name)
