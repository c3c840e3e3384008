"""A plugin at work on the fakes, as a run would put it to work: one way for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ttsi.protocols import Engine
from ttsi.testing.engines import loaded
from ttsi.testing.fake_benchmark import FakeBenchmark, example_of
from ttsi.testing.fake_engine import FakeEngine
from ttsi.testing.subject import STAGES, Subject
from ttsi.types import (
    Adaptation,
    Completion,
    Demonstrations,
    Example,
    LoraRecipe,
    Prompt,
    Sample,
    Task,
    TrainJob,
)

SEED = 7

REPEATABLE = (*STAGES, "answers", "benchmarks", "scorers")
"""Kinds that cost little to put to work once more, in another process."""


@dataclass(frozen=True)
class Wave:
    """What a stage may be given, parallel lists; each kind takes its part of them."""

    tasks: list[Task]
    examples: list[list[Example]]
    base: list[Completion | None]
    adaptations: list[Adaptation | None]

    @property
    def names(self) -> list[str]:
        return [task.id for task in self.tasks]

    def part(self, places: Sequence[int]) -> Wave:
        return Wave(
            [self.tasks[at] for at in places],
            [self.examples[at] for at in places],
            [self.base[at] for at in places],
            [self.adaptations[at] for at in places],
        )


def wave_of(
    samples: Sequence[Sample], *, examples: bool = True, base: bool = True, adapters: bool = True
) -> Wave:
    """The story of `samples` so far. Without `base`, every other unadapted answer is not known;
    the adaptations take turns: none, demonstrations and, where `adapters`, an adapter."""
    tasks = [sample.task for sample in samples]
    made = [[example_of(task), example_of(task, 1)] if examples else [] for task in tasks]
    known = [_answer(task) if base or at % 2 else None for at, task in enumerate(tasks)]
    turns = [_adaptation(task, at % 3, adapters) for at, task in enumerate(tasks)]
    return Wave(tasks, made, known, turns)


def default_wave(made: Any, *, adapters: bool = True) -> Wave:
    """Six tasks, with what this stage says that it wants."""
    return wave_of(
        FakeBenchmark().samples(),
        examples=getattr(made, "needs_examples", True),
        base=getattr(made, "needs_base", False),
        adapters=adapters,
    )


def run_stage(kind: str, made: Any, wave: Wave, engine: Engine, seed: int = SEED) -> Any:
    """What the stage returns for the wave."""
    match kind:
        case "estimators":
            return made.estimate(wave.tasks, engine, seed)
        case "generators":
            return made.generate(wave.tasks, engine, seed)
        case "learners":
            if getattr(made, "needs_train", False):
                made.teach(FakeBenchmark().train)
            return made.learn(wave.tasks, wave.examples, wave.base, engine, seed)
    return made.answer(wave.tasks, wave.adaptations, engine, seed)


def exercise(subject: Subject, made: Any = None) -> Any:
    """What `made`, or a new instance, returns; of kinds with several methods, from all of them."""
    if subject.kind == "engines":
        return loaded(subject).work()
    made = subject.make() if made is None else made
    if subject.kind in STAGES:
        return run_stage(subject.kind, made, default_wave(made), FakeEngine())
    if subject.kind == "benchmarks":
        return [made.revision(), *(sample.digest for sample in made.samples())]
    if subject.kind == "answers":
        from ttsi.testing.drawn_forms import readings

        return readings(made, subject.name)
    if subject.kind == "executors":
        from ttsi.testing.executors import records

        return records(made)
    from ttsi.testing.drawn_answers import verdicts

    return verdicts(made)


def _answer(task: Task) -> Completion:
    text = f"```json\n[{example_of(task, 2).text}]\n```"
    return Completion(text, example_of(task, 2).answer, 40, 12, -3.5)


def _adaptation(task: Task, turn: int, adapters: bool) -> Adaptation | None:
    example = example_of(task)
    if turn == 0:
        return None
    if turn == 1 or not adapters:
        return Demonstrations(((example.task.input, example.text),))
    job = TrainJob(task.id, ((Prompt(example.task.messages), example.text),), LoraRecipe(), SEED)
    return FakeEngine().train([job])[0]
