"""The base class of answer forms, so that stages do not depend on a particular form."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from ttsi.answers.json_lines import is_sound
from ttsi.protocols import Asking, Candidates, Claim, Context
from ttsi.types import JSON, UNPARSABLE, Answer, AnswerStatus, Score, Task

MAX_DETAIL = 200


class Form(ABC):
    """Base of answer forms: `ttsi.protocols.AnswerForm`, with the behaviour that most forms share.

    A form defines how answers are read (`parse`, `read`), written, asked for, and constrained.
    """

    name: ClassVar[str]
    reasons: ClassVar[tuple[str, ...]] = ("unparsable", "no_answer", "wrong_value")
    """The reasons why an answer is wrong; the first that applies is given."""
    fields: ClassVar[tuple[str, ...]] = ("answer", "message")
    """The keys under which a line of a predictions file may have the answer, besides `text`."""
    specimens: ClassVar[tuple[str, ...]] = ()
    """Texts that answer in this form in different ways, for the form's contract tests."""

    @property
    @abstractmethod
    def asking(self) -> Asking:
        """The words with which G asks for an example in this form."""

    @abstractmethod
    def parse(self, task: Task, text: str) -> Answer:
        """Return the answer that `text`, written by a model, gives to `task`."""

    @abstractmethod
    def write(self, task: Task, answer: Answer, like: str | None = None) -> str:
        """Write an answer as text from which `parse` reads the same answer.

        If `like`, a text by the same model, has a wrapper, the answer is written in it.
        """

    @abstractmethod
    def read(self, task: Task, value: JSON) -> Answer:
        """Return the answer for a JSON value, as G or a file of labelled rows gives it."""

    @abstractmethod
    def schema(self, task: Task, *, least: int = 1, most: int | None = None) -> JSON:
        """Return a JSON Schema of well-formed values, for decoding; None if there is none.

        `least` and `most` bound the number of parts of an answer, in a form that has parts.
        """

    def variant(self, task: Task, suffix: str, input: str) -> Task:
        """Return the task of an example: with another input, under a derived id."""
        return task.variant(suffix, input=input)

    def faults(self, task: Task, answer: Answer) -> Sequence[str]:
        """Return what is wrong with an answer as training data (G's contract); empty if fine."""
        return () if answer.status is AnswerStatus.OK else ("it gives no answer",)

    def key(self, task: Task, answer: Answer, options: Mapping[str, JSON] | None = None) -> str:
        """Return a text that is equal for answers that score alike; votes are counted by it.

        It is the value as JSON; the work does not count.
        """
        if answer.status is not AnswerStatus.OK:
            return answer.status.value
        return json.dumps(answer.value, ensure_ascii=False, sort_keys=True)

    def parts(self, task: Task, answer: Answer) -> Mapping[tuple[str, ...], str]:
        """Return the parts of an answer by their place, the same for answers that score alike.

        Several answers are compared by them, part by part. Most forms have a single part.
        """
        return {(): self.key(task, answer)}

    def score(
        self,
        task: Task,
        reference: Answer,
        answer: Answer,
        options: Mapping[str, JSON] | None = None,
    ) -> Score:
        """Score `answer` as right if it equals `reference`, else with the first reason that
        applies.

        `options` are the scorer's options that this form knows.
        """
        if answer.status is AnswerStatus.UNPARSABLE:
            return Score(False, "unparsable", "what looks like an answer cannot be read")
        if self.key(task, answer, options) == self.key(task, reference, options):
            return Score(True)
        if answer.status is AnswerStatus.DECLINED:
            told = bounded(f"expected {self.shown(task, reference)}, got none")
            return Score(False, "no_answer", told)
        wanted, given = self.shown(task, reference), self.shown(task, answer)
        return Score(False, "wrong_value", bounded(f"expected {wanted}, got {given}"))

    def candidates(
        self, task: Task, context: Context, draft: str = "", *, decline: bool = False
    ) -> Candidates | None:
        """Return the candidates that H scores; `draft` is a short answer of the model.

        `context`: in the form's own wrapper, in that of the draft, or bare after the prompt. With
        `decline`, declining is a candidate, too. None if the form has no candidates.
        """
        return None

    def claims(
        self, task: Task, answer: Answer, like: str | None = None
    ) -> tuple[Claim, ...] | None:
        """Return the parts of an answer, as `write` writes it, that the request has to bear out.

        None in a form whose answers do not repeat values of the request: there, several answers
        that agree are the support that can be had.
        """
        return None

    def without(self, task: Task, answer: Answer, claims: Sequence[Claim]) -> Answer:
        """Return the answer without the parts that make these of its claims."""
        return answer

    def predicted(self, task: Task, field: str, value: JSON) -> Answer:
        """Return the answer that a line of a predictions file gives under one of `fields`.

        `answer` is a JSON value as `read` takes it, `message` an API message that contains text.
        """
        if field == "answer":
            return self.read(task, value) if is_sound(value) else UNPARSABLE
        said = content_of(value) if isinstance(value, dict) else None
        return self.parse(task, said) if isinstance(said, str) else UNPARSABLE

    def shown(self, task: Task, answer: Answer) -> str:
        """Return the answer in one line, for people."""
        return repr(answer.value) if answer.status is AnswerStatus.OK else answer.status.value


def content_of(message: dict[str, JSON]) -> JSON:
    """Return a message's content; a list of parts becomes their text."""
    content = message.get("content")
    if not isinstance(content, list):
        return content
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    kinds = [part.get("type", "text") if isinstance(part, dict) else "text" for part in content]
    said = [text for text, kind in zip(texts, kinds, strict=True) if "text" in str(kind)]
    return "".join(map(str, said)) if all(isinstance(text, str) for text in said) else content


def bounded(text: str) -> str:
    """Cut a score's detail to MAX_DETAIL characters."""
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 3] + "..."
