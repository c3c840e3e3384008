"""What a form of answers says of them, so that no stage has to know which form it is."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from ttsi.answers.json_lines import is_sound
from ttsi.protocols import Asking, Candidates, Context
from ttsi.types import JSON, UNPARSABLE, Answer, AnswerStatus, Score, Task

MAX_DETAIL = 200


class Form(ABC):
    """A form of answers, as `ttsi.protocols.AnswerForm`, with what most forms share.

    A form says how answers are read (`parse`, `read`), written, asked for, and held to a schema.
    """

    name: ClassVar[str]
    reasons: ClassVar[tuple[str, ...]] = ("no_answer", "unparsable", "wrong_value")
    """Why an answer is wrong, the first that holds."""
    fields: ClassVar[tuple[str, ...]] = ("answer", "message")
    """Where a line of a predictions file may have the answer, besides `text`."""
    specimens: ClassVar[tuple[str, ...]] = ()
    """Texts that answer in this form, each in its way: what the form's contract is tried on."""

    @property
    @abstractmethod
    def asking(self) -> Asking:
        """How G asks for an example in this form."""

    @abstractmethod
    def parse(self, task: Task, text: str) -> Answer:
        """The answer that `text`, which a model wrote, gives to `task`."""

    @abstractmethod
    def write(self, task: Task, answer: Answer, like: str | None = None) -> str:
        """An answer as text. `parse` reads the same answer from it.

        It is written in the wrapper of `like`, a text by the same model, where that has one.
        """

    @abstractmethod
    def read(self, task: Task, value: JSON) -> Answer:
        """The answer that a JSON value is, as G or a file of labelled rows gives it."""

    @abstractmethod
    def schema(self, task: Task, *, least: int = 1, most: int | None = None) -> JSON:
        """JSON Schema of right-shaped values, for decoding; None where there is none.

        `least` and `most`: how many parts an answer has, in a form that has parts.
        """

    def variant(self, task: Task, suffix: str, input: str) -> Task:
        """The task with another input, under a derived id: an example's."""
        return task.variant(suffix, input=input)

    def faults(self, task: Task, answer: Answer) -> Sequence[str]:
        """What is wrong with an answer as training data (G's contract); empty where nothing is."""
        return () if answer.status is AnswerStatus.OK else ("it gives no answer",)

    def key(self, task: Task, answer: Answer, options: Mapping[str, JSON] | None = None) -> str:
        """A text that is equal for answers that score alike: what votes are counted by.

        It is the value, as JSON; the work does not count.
        """
        if answer.status is not AnswerStatus.OK:
            return answer.status.value
        return json.dumps(answer.value, ensure_ascii=False, sort_keys=True)

    def score(
        self,
        task: Task,
        reference: Answer,
        answer: Answer,
        options: Mapping[str, JSON] | None = None,
    ) -> Score:
        """Right if `answer` is `reference`; else the first of `reasons`.

        `options`: those of the scorer that this form knows.
        """
        if answer.status is AnswerStatus.UNPARSABLE:
            return Score(False, "unparsable", "what looks like an answer cannot be read")
        if self.key(task, answer, options) == self.key(task, reference, options):
            return Score(True)
        if answer.status is AnswerStatus.DECLINED:
            return Score(False, "no_answer", f"expected {self.shown(task, reference)}, got none")
        wanted, given = self.shown(task, reference), self.shown(task, answer)
        return Score(False, "wrong_value", bounded(f"expected {wanted}, got {given}"))

    def candidates(
        self, task: Task, context: Context, draft: str = "", *, decline: bool = False
    ) -> Candidates | None:
        """What H scores in the context of the wrapper of `draft`, a short answer of the model.

        `context`: in the form's own wrapper, in that of the draft, or bare after the prompt.
        `decline`: an answer that declines is a candidate, too. None where a form has no candidates.
        """
        return None

    def predicted(self, task: Task, field: str, value: JSON) -> Answer:
        """The answer that a line of a predictions file has in one of `fields`.

        `answer` is a JSON value as `read` takes it, `message` one of an API, with text in it.
        """
        if field == "answer":
            return self.read(task, value) if is_sound(value) else UNPARSABLE
        said = content_of(value) if isinstance(value, dict) else None
        return self.parse(task, said) if isinstance(said, str) else UNPARSABLE

    def shown(self, task: Task, answer: Answer) -> str:
        """The answer in one line, for people."""
        return repr(answer.value) if answer.status is AnswerStatus.OK else answer.status.value


def content_of(message: dict[str, JSON]) -> JSON:
    """A message's content: of a list of parts the text."""
    content = message.get("content")
    if not isinstance(content, list):
        return content
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    kinds = [part.get("type", "text") if isinstance(part, dict) else "text" for part in content]
    said = [text for text, kind in zip(texts, kinds, strict=True) if "text" in str(kind)]
    return "".join(map(str, said)) if all(isinstance(text, str) for text in said) else content


def bounded(text: str) -> str:
    """A score's detail, cut off at MAX_DETAIL characters."""
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 3] + "..."
