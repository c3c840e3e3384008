"""Answer forms that are wrong in one way; see wrong.py."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from wrong import fails

from ttsi.answers.form import Form
from ttsi.answers.objects import behind_thoughts
from ttsi.protocols import Asking, Candidates, Claim, Context
from ttsi.types import DECLINED, JSON, UNPARSABLE, Answer, AnswerStatus, Message, Score, Task

COLOURS = ("red", "green", "blue")


class Colour(Form):
    """A form that keeps its contract: an answer is the last colour that a text names."""

    name: ClassVar[str] = "fake"
    specimens: ClassVar[tuple[str, ...]] = ("red", "It is not red, but green.")

    @property
    def asking(self) -> Asking:
        return Asking("painters", "the colour to take", "its colour", "It fits.", '"red"')

    def parse(self, task: Task, text: str) -> Answer:
        said = behind_thoughts(text)
        return UNPARSABLE if said is None else self.last(said)

    def last(self, said: str) -> Answer:
        place, colour = max((said.rfind(each), each) for each in COLOURS)
        return Answer.of(colour) if place >= 0 else DECLINED

    def write(self, task: Task, answer: Answer, like: str | None = None) -> str:
        return str(answer.value) if answer.status is AnswerStatus.OK else ""

    def read(self, task: Task, value: JSON) -> Answer:
        return self.parse(task, value) if isinstance(value, str) else UNPARSABLE

    def schema(self, task: Task, *, least: int = 1, most: int | None = None) -> JSON:
        return {"type": "string", "enum": list(COLOURS)}

    def candidates(
        self, task: Task, context: Context, draft: str = "", *, decline: bool = False
    ) -> Candidates | None:
        return Candidates("", COLOURS, COLOURS, COLOURS)


@fails("protocol", "an attribute of AnswerForm is missing", "answers")
class Nameless(Colour):
    def __getattribute__(self, name: str) -> Any:
        if name == "name":
            raise AttributeError(name)
        return super().__getattribute__(name)


@fails("specimens", "the specimen 'no colour' is read as declined", "answers")
class Unread(Colour):
    specimens: ClassVar[tuple[str, ...]] = ("red", "green", "no colour")


@fails("specimens", "1 different answers to try it on", "answers")
class Monotone(Colour):
    specimens: ClassVar[tuple[str, ...]] = ("red", "so red")

    def schema(self, task: Task, *, least: int = 1, most: int | None = None) -> JSON:
        return {"type": "string", "enum": ["red"]}


@fails("values", "null is read as an answer", "answers")
class Forgiving(Colour):
    def read(self, task: Task, value: JSON) -> Answer:
        return Answer.of("red") if value is None else super().read(task, value)


@fails("values", "the empty text '' is read as unparsable", "answers")
class Strict(Colour):
    def last(self, said: str) -> Answer:
        return super().last(said) if said else UNPARSABLE


@fails("values", "KeyError", "answers")
class Trusting(Colour):
    def read(self, task: Task, value: JSON) -> Answer:
        return super().read(task, value["answer"] if isinstance(value, dict) else value)


@fails("values", "the value is 'red' though the status is declined", "answers")
class Torn(Colour):
    def read(self, task: Task, value: JSON) -> Answer:
        return Answer(AnswerStatus.DECLINED, "red") if value == [] else super().read(task, value)


@fails("round-trip", "'green' is written as 'GREEN' and read as declined", "answers")
class Loud(Colour):
    def write(self, task: Task, answer: Answer, like: str | None = None) -> str:
        return super().write(task, answer, like).replace("green", "GREEN")


@fails("round-trip", "with the work 'Is it red", "answers")
class Workless(Colour):
    specimens: ClassVar[tuple[str, ...]] = ("red", "Is it red?\ngreen")

    def last(self, said: str) -> Answer:
        answer = super().last(said)
        return replace(answer, work=said.rpartition("\n")[0].strip()) if answer.value else answer


@fails("key", "right is False for ok '(green|blue)', where ok '(green|blue)'", "answers")
class Partial(Colour):
    def key(self, task: Task, answer: Answer, options: Mapping[str, JSON] | None = None) -> str:
        return "cold" if answer.value in ("green", "blue") else super().key(task, answer)

    def score(
        self,
        task: Task,
        reference: Answer,
        answer: Answer,
        options: Mapping[str, JSON] | None = None,
    ) -> Score:
        return Colour().score(task, reference, answer)


@fails("reasons", "the reason is none of `reasons`", "answers")
class Inventive(Colour):
    def score(
        self,
        task: Task,
        reference: Answer,
        answer: Answer,
        options: Mapping[str, JSON] | None = None,
    ) -> Score:
        score = super().score(task, reference, answer, options)
        return score if score.correct else replace(score, reason="too_bright")


@fails("reasons", "a reason says why not", "answers")
class Silent(Colour):
    def score(
        self,
        task: Task,
        reference: Answer,
        answer: Answer,
        options: Mapping[str, JSON] | None = None,
    ) -> Score:
        return Score(super().score(task, reference, answer, options).correct)


@fails("thoughts", "a thought that is not closed is read as ok 'red'", "answers")
class Impatient(Colour):
    def parse(self, task: Task, text: str) -> Answer:
        return self.last(text)


@fails("schema", "is declined 'None' as a value and ok '(red|green|blue)' as text", "answers")
class Typed(Colour):
    def read(self, task: Task, value: JSON) -> Answer:
        return DECLINED if value in COLOURS else super().read(task, value)


@fails("schema", "is not JSON Schema", "answers")
class Vague(Colour):
    def schema(self, task: Task, *, least: int = 1, most: int | None = None) -> JSON:
        return {"enum": "colour"}


@fails("variant", "a variant changes more than input and choices", "answers")
class Forgetful(Colour):
    def variant(self, task: Task, suffix: str, input: str) -> Task:
        return replace(super().variant(task, suffix, input), instruction="Choose a colour.")


@fails("variant", "a variant of a conversation has other turns", "answers")
class Alone(Colour):
    def variant(self, task: Task, suffix: str, input: str) -> Task:
        return super().variant(task, suffix, input).after([Message("user", input)])


@fails("asking", "`asking` has an empty part", "answers")
class Mute(Colour):
    @property
    def asking(self) -> Asking:
        return replace(super().asking, rule="")


@fails("candidates", "names, texts and told are not parallel", "answers")
class Untold(Colour):
    def candidates(
        self, task: Task, context: Context, draft: str = "", *, decline: bool = False
    ) -> Candidates | None:
        return Candidates("", COLOURS, COLOURS, ())


@fails("candidates", "bare has an opening", "answers")
class Wrapped(Colour):
    def candidates(
        self, task: Task, context: Context, draft: str = "", *, decline: bool = False
    ) -> Candidates | None:
        return Candidates("Take ", COLOURS, COLOURS, COLOURS)


class Claiming(Colour):
    """Claims its colour, which may be left out."""

    def claims(
        self, task: Task, answer: Answer, like: str | None = None
    ) -> tuple[Claim, ...] | None:
        written = self.write(task, answer, like)
        return (Claim("", written, (0, len(written)), True, False),) if written else ()


@fails("claims", "which claims 1 parts", "answers")
class Insistent(Claiming):
    pass


@fails("claims", "does not stand in what", "answers")
class Displaced(Claiming):
    def claims(
        self, task: Task, answer: Answer, like: str | None = None
    ) -> tuple[Claim, ...] | None:
        return tuple(replace(claim, span=(0, 99)) for claim in super().claims(task, answer) or ())


@fails("claims", "points to nothing", "answers")
class Lost(Claiming):
    def claims(
        self, task: Task, answer: Answer, like: str | None = None
    ) -> tuple[Claim, ...] | None:
        return tuple(replace(claim, where="/0/x") for claim in super().claims(task, answer) or ())


@fails("determinism", "another process reads the same texts differently", "answers")
class Elsewhere(Colour):
    def last(self, said: str) -> Answer:
        answer = super().last(said)
        return replace(answer, work=str(os.getpid())) if answer.value else answer

    def write(self, task: Task, answer: Answer, like: str | None = None) -> str:
        return str(answer.value)


@fails("hostile", "it executed", "answers")
class Curious(Colour):
    def last(self, said: str) -> Answer:
        if said.startswith("open("):
            eval(said)
        return super().last(said)


@fails("linear", "4 times the text took", "answers")
class Slow(Colour):
    def last(self, said: str) -> Answer:
        for start in range(len(said)):
            for _ in said[start:]:
                pass
        return super().last(said)
