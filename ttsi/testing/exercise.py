"""Running a plugin of any kind on the fakes, as a run would."""

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
"""Kinds that are cheap to run again in another process."""


@dataclass(frozen=True)
class Wave:
    """The inputs of a stage as parallel lists, of which each kind of stage takes some."""

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
    """Return stage inputs for `samples`, as earlier stages would leave them.

    Without `base`, every other base answer is None. The adaptations alternate between none,
    demonstrations and an adapter (demonstrations again, without `adapters`).
    """
    tasks = [sample.task for sample in samples]
    made = [[example_of(task), example_of(task, 1)] if examples else [] for task in tasks]
    known = [_answer(task) if base or at % 2 else None for at, task in enumerate(tasks)]
    turns = [_adaptation(task, at % 3, adapters) for at, task in enumerate(tasks)]
    return Wave(tasks, made, known, turns)


def default_wave(made: Any, *, adapters: bool = True) -> Wave:
    """Return six tasks with the examples and base answers that the stage's attributes ask for."""
    return wave_of(
        FakeBenchmark().samples(),
        examples=getattr(made, "needs_examples", True),
        base=getattr(made, "needs_base", False),
        adapters=adapters,
    )


def run_stage(kind: str, made: Any, wave: Wave, engine: Engine, seed: int = SEED) -> Any:
    """Return what the stage returns for the wave."""
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
    """Run `made`, or a new instance, on the fakes and return its results."""
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
        return Demonstrations.of([(example.task.said, example.text)])
    job = TrainJob(task.id, ((Prompt(example.task.messages), example.text),), LoraRecipe(), SEED)
    return FakeEngine().train([job])[0]
