"""Stages that break rules for stages; see wrong.py."""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from wrong import Sound, fails

from ttsi.answers import form_of
from ttsi.answers.calls.parse import parse_calls
from ttsi.answers.calls.values import ToolCall, answer_with, calls_in
from ttsi.digests import draw_seed
from ttsi.errors import EngineError
from ttsi.optional import Verdict
from ttsi.protocols import Engine
from ttsi.testing.fake_benchmark import example_of
from ttsi.types import (
    Answer,
    AnswerStatus,
    Completion,
    Demonstrations,
    Estimate,
    Example,
    Prompt,
    Request,
    Sample,
    Sampling,
    Task,
)

# ---------------------------------------------------------------- estimators


@fails("parallel", "5 results for 6 tasks")
class Loses(Sound):
    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> Any:
        made = super().estimate(tasks, engine, seed)
        return made[:5] if len(made) == 6 else made


@fails("parallel", "returns tuple, not a list")
class Tuples(Sound):
    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> Any:
        return tuple(super().estimate(tasks, engine, seed))


@fails("results", "fake/0: confidence 1.5 is no number from 0 to 1")
class Sure(Sound):
    def judge(self, task: Task, logprob: float) -> Estimate:
        return replace(super().judge(task, logprob), confidence=1.5)


@fails("results", "uncertain is int, not bool", also=("portable",))
class Counts(Sound):
    def judge(self, task: Task, logprob: float) -> Estimate:
        return replace(super().judge(task, logprob), uncertain=1)  # type: ignore[arg-type]


@fails("determinism", "another process with the same seed gave different results")
class Hashes(Sound):
    def judge(self, task: Task, logprob: float) -> Estimate:
        return Estimate(hash(task.id) % 1000 / 1000, uncertain=True)


@fails("wave", "all together and one at a time it gave different results for fake/1")
class Ranks(Sound):
    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> Any:
        made = super().estimate(tasks, engine, seed)
        least = min(each.confidence for each in made)
        return [replace(each, confidence=each.confidence - least) for each in made]


@fails("wave", "in another order it gave different results for fake/0")
class Places(Sound):
    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> Any:
        order = sorted(task.id for task in tasks)
        turned = [task.id for task in tasks] != order
        made = super().estimate(tasks, engine, seed)
        return [replace(each, uncertain=turned) for each in made]


@fails("needs", "does not list what it asked the engine for: loglikelihood")
class Needless(Sound):
    needs: Any = frozenset()


@fails("no-gold", "a sample's reference is found in its results")
class Peeks(Sound):
    def judge(self, task: Task, logprob: float) -> Estimate:
        found = [each for each in gc.get_referrers(task) if isinstance(each, Sample)]
        calls = [call for each in found for call in calls_in(each.reference)]
        return Estimate(0.5, False, {call.name: 0.0 for call in calls})


@fails("no-gold", "a sample's reference is found in what it asked the engine")
class Asks(Sound):
    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> Any:
        holders = [each for task in tasks for each in gc.get_referrers(task)]
        found = [each for each in holders if isinstance(each, Sample)]
        gold = [str(each.reference) for each in found if "canary" in str(each.reference)]
        engine.loglikelihoods([Prompt(tasks[0].messages)], [gold])
        return super().estimate(tasks, engine, seed)


@fails("engine-errors", r"it went on when the engine failed in \['loglikelihoods'\]")
class Swallows(Sound):
    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> Any:
        try:
            return super().estimate(tasks, engine, seed)
        except EngineError:
            return [Estimate(0.0, True) for _ in tasks]


@fails("engine-errors", "EngineError came out as ValueError: no likelihoods")
class Renames(Sound):
    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> Any:
        try:
            return super().estimate(tasks, engine, seed)
        except EngineError as error:
            raise ValueError("no likelihoods") from error


@fails("inputs", "it changed the tasks that it was given: fake/0")
class Writes(Sound):
    def judge(self, task: Task, logprob: float) -> Estimate:
        task.tools[0].parameters.setdefault("title", "mine")  # type: ignore[attr-defined]
        return super().judge(task, logprob)


@fails("reset", "after another wave it gave different results for fake/3")
class Tires(Sound):
    def __init__(self) -> None:
        self.waves = 0

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> Any:
        self.waves += 1
        made = super().estimate(tasks, engine, seed)
        return [replace(each, confidence=each.confidence / self.waves) for each in made]


@fails("abstentions", "as sure as if all had made the same")
class AsksCallersOnly(Sound):
    """Confidence is the share of the commonest call among the answers that make one."""

    needs: Any = frozenset({"generate"})

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> Any:
        return [self.agreement(task, engine, seed) for task in tasks]

    def agreement(self, task: Task, engine: Engine, seed: int) -> Estimate:
        seeds = [draw_seed(seed, task.id, "estimate", draw) for draw in range(4)]
        drawn = engine.generate([Request(Prompt(task.messages), Sampling(), s) for s in seeds])
        calls = [str(parse_calls(each.text, task.tool_names).calls) for each in drawn]
        made = [each for each in calls if each != "()"]
        confidence = max(map(made.count, made)) / len(made) if made else 1.0
        return Estimate(confidence, confidence < 0.9)


# ---------------------------------------------------------------- the other stages


class Writer:
    """A generator that keeps its contract except for the `change` of its examples."""

    needs: Any = frozenset()
    samples = 1

    def generate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> Any:
        return [self.change(task, [example_of(task)]) for task in tasks]

    def change(self, task: Task, made: list[Example]) -> Any:
        return made


@fails("results", "not valid for its task: 'no_tool' is not an offered tool", "generators")
class CallsOthers(Writer):
    def change(self, task: Task, made: list[Example]) -> Any:
        return [replace(each, answer=answer_with([ToolCall("no_tool", {})])) for each in made]


@fails("results", "2 examples, and its option `samples` is 1", "generators")
class TooMany(Writer):
    def change(self, task: Task, made: list[Example]) -> Any:
        return [*made, example_of(task, 1)]


@fails("results", "an example's input is empty, or the task's own", "generators")
class Copies(Writer):
    def change(self, task: Task, made: list[Example]) -> Any:
        return [replace(each, task=task.variant("0", input=task.input)) for each in made]


@fails("results", "other turns before the user's last one than its task", "generators")
class Forgets(Writer):
    def change(self, task: Task, made: list[Example]) -> Any:
        alone = [each.task.after(each.task.said[-1:]) for each in made]
        return [replace(each, task=task) for each, task in zip(made, alone, strict=True)]


class Teacher:
    """A learner that keeps its contract except for what `adapt` does."""

    needs: Any = frozenset()
    needs_base = False

    def learn(self, tasks: Any, examples: Any, base: Any, engine: Engine, seed: int) -> Any:
        return [self.adapt(some, answer) for some, answer in zip(examples, base, strict=True)]

    def adapt(self, examples: list[Example], answer: Completion | None) -> Any:
        return Demonstrations.of((each.task.said, each.text) for each in examples)


@fails("results", "demonstrations begin with a user and end with the assistant", "learners")
class HalfShown(Teacher):
    def adapt(self, examples: list[Example], answer: Completion | None) -> Any:
        return Demonstrations(tuple(turn for each in examples for turn in each.task.said))


@fails("results", "a turn of demonstrations is no Message with a text", "learners")
class InPairs(Teacher):
    def adapt(self, examples: list[Example], answer: Completion | None) -> Any:
        return Demonstrations(tuple((e.task.input, e.text) for e in examples))  # type: ignore[misc]


@fails("inputs", "it changed the examples that it was given: fake/0", "learners")
class UsesUp(Teacher):
    def adapt(self, examples: list[Example], answer: Completion | None) -> Any:
        return super().adapt([examples.pop(0), *examples], answer)


class Answerer:
    """An inference stage that keeps its contract except for what `change` does."""

    needs: Any = frozenset({"generate"})

    def answer(self, tasks: Any, adaptations: Any, engine: Engine, seed: int) -> Any:
        requests = [
            Request(Prompt(task.messages), Sampling(), draw_seed(seed, task.id, "answer"))
            for task in tasks
        ]
        drawn = engine.generate(requests)
        return [
            self.change(self.read(task, each.text)) for task, each in zip(tasks, drawn, strict=True)
        ]

    def read(self, task: Task, text: str) -> Completion:
        return Completion(text, form_of(task).parse(task, text))

    def change(self, made: Completion) -> Completion:
        return made


@fails(
    "results",
    "the value is .*get_weather.* though the status is declined",
    "inference",
    ("portable",),
)
class Miscounts(Answerer):
    def change(self, made: Completion) -> Completion:
        value = answer_with([ToolCall("get_weather", {})]).value
        return replace(made, answer=Answer(AnswerStatus.DECLINED, value))


@fails("reading", "was read as declined null, not ok", "inference")
class ReadsJsonOnly(Answerer):
    """Does not tell the parser which tools are offered, so that other notations are prose."""

    def read(self, task: Task, text: str) -> Completion:
        return super().read(replace(task, tools=()), text)


@fails("abstentions", "all answers but one made no call", "inference")
class VotesOfCallersOnly(Answerer):
    def answer(self, tasks: Any, adaptations: Any, engine: Engine, seed: int) -> Any:
        return [self.vote(task, engine, seed) for task in tasks]

    def vote(self, task: Task, engine: Engine, seed: int) -> Completion:
        seeds = [draw_seed(seed, task.id, "answer", draw) for draw in range(5)]
        drawn = engine.generate([Request(Prompt(task.messages), Sampling(), s) for s in seeds])
        answers = [self.read(task, each.text) for each in drawn]
        return max(answers, key=lambda each: each.answer.status is AnswerStatus.OK)


@fails("gate", "all together and one at a time it gave different verdicts", "inference")
class JudgesByTheWave(Answerer):
    def judge(self, rivals: Any, engine: Engine, seed: int) -> Any:
        return [Verdict(True, "company", 0.0, float(len(rivals))) for _ in rivals]


@fails("gate", "is neither None nor a Verdict of finite numbers", "inference")
class JudgesByNothing(Answerer):
    def judge(self, rivals: Any, engine: Engine, seed: int) -> Any:
        return [Verdict(False, "nothing", -math.inf, -math.inf) for _ in rivals]


@fails("needs", "does not list what it asked the engine for: grammar", "inference")
class Constrains(Answerer):
    def answer(self, tasks: Any, adaptations: Any, engine: Engine, seed: int) -> Any:
        grammar = {"type": "boolean"}
        request = Request(Prompt(tasks[0].messages), Sampling(), 0, grammar=grammar)
        engine.generate([request])
        return super().answer(tasks, adaptations, engine, seed)
