"""Episodes in lockstep: each step of a wave of episodes is a wave of tasks for the solver.

An episode is a benchmark's environment. It gives a task, takes the model's answer, gives the next
task, and says in the end whether all went right; its reference stays inside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from ttsi.errors import ends_the_run
from ttsi.protocols import Episode
from ttsi.running.steps import step_of, turns_of, with_turns
from ttsi.solving.costs import add_costs
from ttsi.solving.pipeline import Pipeline
from ttsi.solving.solution import Known, Solution
from ttsi.spec import EstimateAt
from ttsi.types import Completion, Estimate, Record, Sample, Score, Step, Task

_SURE = Known(Estimate(confidence=1.0, uncertain=False), None, {})
"""What is said of a step at which H is not asked: the base model answers it."""


@dataclass(eq=False)
class _Play:
    """One episode being played: the task at hand, and the steps so far.

    It has ended once there is no task: with a score or with an error. What goes wrong inside an
    environment is its own sample's error; what ttsi itself says cannot go on is raised.
    """

    sample: Sample
    steps: list[Solution] = field(default_factory=list)
    task: Task | None = None
    score: Score | None = None
    turns: Sequence[Score] = ()
    error: str = ""
    _episode: Episode | None = None

    @classmethod
    def begin(cls, sample: Sample) -> _Play:
        if sample.episode is None:
            raise ValueError(f"sample {sample.id} is no episode")
        play = cls(sample)
        with play._costs_its_sample():
            play._episode = sample.episode()
            play._goes_on(play._episode.start())
        return play

    def take(self, solution: Solution) -> None:
        """Go on with an answer; an error ends the episode."""
        self.task, self.error = None, solution.error
        if solution.answer is None or self._episode is None:
            return
        self.steps.append(solution)
        with self._costs_its_sample():
            self._goes_on(self._episode.step(solution.answer))

    def _goes_on(self, task: Task | None) -> None:
        """Name the task by its step, since what is drawn depends on the name; or score the end."""
        if task is not None:
            self.task = replace(task, id=f"{self.sample.id}@{len(self.steps)}")
        elif not self.steps:
            self.error = "episode: it ended before its first step"
        elif self._episode is not None:
            self.score = self._episode.score()
            self.turns = turns_of(self._episode)

    @contextmanager
    def _costs_its_sample(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if ends_the_run(error):
                raise
            self.error = f"episode: {type(error).__name__}: {error}"


def play(
    pipeline: Pipeline,
    samples: Sequence[Sample],
    seed: int,
    *,
    estimate_at: EstimateAt,
    baseline: bool,
) -> Iterator[Record]:
    """Yields a record for each episode once it has ended.

    With `baseline` an episode in which something was adapted is played again by the base model
    alone, for the score that it has without adaptation.
    """
    adapted = []
    for ended in _lockstep(pipeline, samples, estimate_at):
        if baseline and any(step.adapted for step in ended.steps) and not ended.error:
            adapted.append(ended)
        else:
            yield _record(ended, None, seed)
    base = {
        each.sample.id: each for each in _lockstep(pipeline, [a.sample for a in adapted], "never")
    }
    for ended in adapted:
        yield _record(ended, base[ended.sample.id], seed)


def _lockstep(
    pipeline: Pipeline, samples: Sequence[Sample], estimate_at: EstimateAt | Literal["never"]
) -> Iterator[_Play]:
    active = [_Play.begin(sample) for sample in samples]
    while True:
        yield from (play for play in active if play.task is None)
        active = [play for play in active if play.task is not None]
        if not active:
            return
        tasks = {play.task.id: play for play in active if play.task is not None}
        wave = [play.task for play in tasks.values() if play.task is not None]
        known = {task.id: _SURE for task in wave if not _estimates(task, estimate_at)}
        for solution in pipeline.solve(wave, known):
            tasks[solution.task.id].take(solution)


def _estimates(task: Task, estimate_at: EstimateAt | Literal["never"]) -> bool:
    """Whether H is asked: a turn begins where a user has spoken last."""
    if estimate_at == "first_of_turn":
        return task.messages[-1].role == "user"
    return estimate_at == "every_step"


def _record(ended: _Play, base: _Play | None, seed: int) -> Record:
    """One record for an episode: its last answers, its scores, and its steps."""
    plays = [ended, base] if base is not None else [ended]
    costs = add_costs(*(step.costs for each in plays for step in each.steps))
    told = Record(ended.sample.id, ended.sample.digest, seed, costs=costs)
    error = next((each.error for each in plays if each.error), "")
    if error:
        return replace(told, error=error)
    untouched = not any(step.adapted for step in ended.steps)
    before = ended if untouched else base
    return replace(
        told,
        estimate=ended.steps[0].estimate,
        base=_last(before),
        base_score=before.score if before is not None else None,
        final=_last(ended),
        final_score=ended.score,
        adapted=not untouched,
        steps=_steps(ended),
        base_steps=_steps(base) if base is not None else (),
    )


def _last(play: _Play | None) -> Completion | None:
    return play.steps[-1].answer if play is not None else None


def _steps(play: _Play) -> tuple[Step, ...]:
    steps = [step_of(each, first=place == 0) for place, each in enumerate(play.steps)]
    return with_turns(steps, play.turns)
