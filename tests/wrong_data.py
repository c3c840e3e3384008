"""Benchmarks and scorers that are wrong in one way; see wrong.py."""

from __future__ import annotations

import contextlib
import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from wrong import fails

from ttsi.answers.calls.values import Reason, ToolCall, answer_with, calls_in
from ttsi.testing import FakeBenchmark
from ttsi.types import (
    UNPARSABLE,
    Answer,
    AnswerStatus,
    Completion,
    Message,
    Sample,
    Score,
    Task,
    Tool,
)
from ttsi_plugins.scorers.exact import Exact

# ---------------------------------------------------------------- benchmarks


class Rows(FakeBenchmark):
    """A benchmark that keeps the contract except for the `change` of its samples."""

    def samples(self) -> list[Sample]:
        return self.change(super().samples())

    def change(self, samples: list[Sample]) -> list[Sample]:
        return samples


def with_task(sample: Sample, **fields: Any) -> Sample:
    return replace(sample, task=replace(sample.task, **fields))


@fails("protocol", "`scoring` is None, not a mapping", "benchmarks")
class Unscored(Rows):
    scoring: ClassVar[Mapping[str, Any]] = None  # type: ignore[assignment]


@fails("samples", r"samples\(\) gave none", "benchmarks")
class Empty(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        return []


@fails("samples", "fake/0: tools must be a tuple", "benchmarks")
class Listed(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        return [with_task(sample, tools=list(sample.task.tools)) for sample in samples]


@fails("samples", "fake/0: there is no answer form 'essay'", "benchmarks")
class Formless(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        return [with_task(sample, form="essay") for sample in samples]


@fails("samples", "fake/0: the reference is unparsable", "benchmarks")
class Unreadable(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        return [replace(samples[0], reference=UNPARSABLE), *samples[1:]]


@fails("ids", "the id 'row-0' has not the shape fake/...", "benchmarks")
class Unnamed(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        return [with_task(sample, id=f"row-{at}") for at, sample in enumerate(samples)]


@fails("ids", "the id 'fake/0' is there twice", "benchmarks")
class Twins(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        return [*samples, samples[0]]


@fails("stable", "revision.. gave sha", "benchmarks")
class Restless(Rows):
    def revision(self) -> str:
        return f"sha256:{uuid.uuid4().hex}"


@fails("stable", "another process loads other samples", "benchmarks")
class Hashed(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        return sorted(samples, key=lambda sample: hash(sample.id))


@fails("tools", "fake/0, tool get_weather: not JSON Schema: 'text'", "benchmarks")
class Untyped(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        tool = Tool("get_weather", "", {"type": "object", "properties": {"city": {"type": "text"}}})
        return [with_task(samples[0], tools=(tool,)), *samples[1:]]


def offering(samples: list[Sample], **parameters: Any) -> list[Sample]:
    """Return the samples, the first of which has get_weather with `parameters`."""
    tool = Tool("get_weather", "", {"type": "object", **parameters})
    return [with_task(samples[0], tools=(tool,)), *samples[1:]]


@fails("tools", "fake/0, tool get_weather: #/properties/city: not is not supported", "benchmarks")
class Negates(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        return offering(samples, properties={"city": {"not": {"const": ""}}})


@fails("tools", r"#/properties/city: \$ref 'https://.*' leads out of the schema", "benchmarks")
class Refers(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        return offering(samples, properties={"city": {"$ref": "https://a.example/city.json"}})


@fails("tools", "#: oneOf has branches that one value may satisfy at once", "benchmarks")
class Hesitates(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        branch = {"properties": {"city": {"type": "string"}}}
        return offering(samples, oneOf=[branch, branch])


@fails("tools", "#/properties/city: properties allows no value: its types differ", "benchmarks")
class Contradicts(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        types = [{"type": "string"}, {"type": "integer"}]
        return offering(samples, properties={"city": {"allOf": types}})


@fails("tools", "#: requird is no keyword that is known.*Did you mean .required.", "benchmarks")
class Misspells(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        return offering(samples, properties={"city": {"type": "string"}}, requird=["city"])


@fails("replay", "fake/0: its own reference as the answer .a list. is wrong", "benchmarks")
class Unanswerable(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        call = ToolCall("get_weather", {"city": math.nan})
        return [replace(samples[0], reference=answer_with([call])), *samples[1:]]


@fails("replay", "its own reference as the answer .a list. is wrong", "benchmarks")
class Deep(Rows):
    """Values of this depth are not read from a text, right or wrong."""

    def change(self, samples: list[Sample]) -> list[Sample]:
        place: Any = {"name": "x"}
        for _ in range(70):
            place = {"name": place}
        call = ToolCall("book_table", {"guests": 2, "place": place})
        return [samples[0], replace(samples[1], reference=answer_with([call])), *samples[2:]]


@fails("prompt", "fake/0: the system turn is empty", "benchmarks")
class Mute(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        return [with_task(sample, instruction=" ") for sample in samples]


@fails("prompt", "the prompt does not show the tool get_weather", "benchmarks")
class Hidden(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        return [with_task(sample, instruction="Call a tool.") for sample in samples]


@fails("prompt", "fake/0: the user turn is empty", "benchmarks")
class Unasked(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        return [with_task(sample, turns=(Message("user", ""),)) for sample in samples]


@fails("prompt", "fake/0: the last turn is the assistant's", "benchmarks")
class Answered(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        turns = (Message("user", "Hello"), Message("assistant", "Hello!"))
        return [with_task(sample, turns=turns) for sample in samples]


@dataclass(frozen=True)
class Labelled(Task):
    gold: Answer | None = None


@fails("no-gold", "fake/0: the reference can be reached from the task", "benchmarks")
class Tells(Rows):
    def change(self, samples: list[Sample]) -> list[Sample]:
        return [
            Sample(
                Labelled(s.id, s.task.tools, s.task.instruction, s.task.input, gold=s.reference),
                s.reference,
            )
            for s in samples
        ]


@fails("train", "the training row fake/train/0 asks what fake/0 asks", "benchmarks")
class Rehearsed(Rows):
    def train(self) -> list[Sample]:
        return [with_task(s, id=s.id.replace("/", "/train/")) for s in self.samples()]


# ---------------------------------------------------------------- scorers


class Scorer:
    """`exact` except for what `judge` does."""

    def score(self, task: Task, reference: Answer, completion: Completion) -> Score:
        return self.judge(task, reference, completion)

    def judge(self, task: Task, reference: Answer, completion: Completion) -> Score:
        return Exact().score(task, reference, completion)


@fails("replay", r"the reference itself as the answer is wrong: \[\]", "scorers")
class WantsCalls(Scorer):
    def judge(self, task: Task, reference: Answer, completion: Completion) -> Score:
        if not reference.value:
            return Score(False, Reason.NO_CALL)
        return super().judge(task, reference, completion)


@fails("abstentions", r"prose without a call and \[\] score differently for \[\]", "scorers")
class WantsBrackets(Scorer):
    def judge(self, task: Task, reference: Answer, completion: Completion) -> Score:
        if completion.answer.status is AnswerStatus.DECLINED:
            return Score(False, Reason.NO_CALL)
        return super().judge(task, reference, completion)


@fails("call-order", "the same calls in another order score differently", "scorers")
class Orderly(Scorer):
    def judge(self, task: Task, reference: Answer, completion: Completion) -> Score:
        return Exact(ordered=True).score(task, reference, completion)


@fails("key-order", "the same arguments in another order score differently", "scorers")
class Textual(Scorer):
    def judge(self, task: Task, reference: Answer, completion: Completion) -> Score:
        keys = [
            sorted(str(list(call.arguments)) for call in calls_in(answer))
            for answer in (reference, completion.answer)
        ]
        if keys[0] != keys[1]:
            return Score(False, Reason.WRONG_VALUE)
        return super().judge(task, reference, completion)


def distinct(answer: Answer) -> Answer:
    """Return the answer without repeated calls."""
    calls = calls_in(answer)
    if not calls:
        return answer
    different = {json.dumps(call.as_json(), sort_keys=True): call for call in calls}
    return answer_with(different.values())


@fails("extra-call", "an answer with a superfluous call is right", "scorers")
class Merges(Scorer):
    def judge(self, task: Task, reference: Answer, completion: Completion) -> Score:
        answered = replace(completion, answer=distinct(completion.answer))
        return super().judge(task, distinct(reference), answered)


@fails("verdict", "correct is neither True nor False", "scorers", also=("portable",))
class Graded(Scorer):
    def judge(self, task: Task, reference: Answer, completion: Completion) -> Score:
        score = super().judge(task, reference, completion)
        return replace(score, correct=int(score.correct))  # type: ignore[arg-type]


@fails("verdict", "wrong without a reason why that the form has", "scorers")
class Silent(Scorer):
    def judge(self, task: Task, reference: Answer, completion: Completion) -> Score:
        return replace(super().judge(task, reference, completion), reason=None)


@fails("determinism", "another process scores the same answers differently", "scorers")
class Remarks(Scorer):
    def judge(self, task: Task, reference: Answer, completion: Completion) -> Score:
        score = super().judge(task, reference, completion)
        return replace(score, detail=str(hash(completion.text)))


@fails("hostile", "it executed .*owned", "scorers")
class Evaluates(Scorer):
    def judge(self, task: Task, reference: Answer, completion: Completion) -> Score:
        with contextlib.suppress(Exception):
            eval(completion.text)
        return super().judge(task, reference, completion)


@fails("linear", "of many calls, 4 times the text took", "scorers")
class Compares(Scorer):
    def judge(self, task: Task, reference: Answer, completion: Completion) -> Score:
        calls = calls_in(completion.answer)
        for one in calls:
            for other in calls:
                _ = one == other
        return super().judge(task, reference, completion)
