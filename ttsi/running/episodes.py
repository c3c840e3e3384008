"""Episodes in lockstep: each step of a wave of episodes is a wave of tasks for the solver.

An episode is a benchmark's environment. It gives a task, takes the model's answer, gives the next
task, and says in the end whether all went right; its reference stays inside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ttsi.protocols import Episode
from ttsi.solving.pipeline import Known, Pipeline, Solution, add_costs
from ttsi.spec import EstimateAt
from ttsi.types import Completion, Estimate, Record, Sample, Step, Task

_SURE = Known(Estimate(confidence=1.0, uncertain=False), None, {})
"""What is said of a step at which H is not asked: the base model answers it."""


@dataclass(eq=False)
class _Play:
    """One episode being played: the task at hand, and the steps so far."""

    sample: Sample
    episode: Episode
    task: Task | None
    steps: list[Solution] = field(default_factory=list)
    error: str = ""

    @classmethod
    def begin(cls, sample: Sample) -> _Play:
        if sample.episode is None:
            raise ValueError(f"sample {sample.id} is no episode")
        episode = sample.episode()
        play = cls(sample, episode, None)
        play.task = play.named(episode.start())
        return play

    def named(self, task: Task | None) -> Task | None:
        """The task under the id of its step: what is drawn for a step depends on that."""
        return task and replace(task, id=f"{self.sample.id}@{len(self.steps)}")

    def take(self, solution: Solution) -> None:
        """Go on with an answer; an error ends the episode."""
        self.task, self.error = None, solution.error
        if solution.answer is None:
            return
        self.steps.append(solution)
        try:
            self.task = self.named(self.episode.step(solution.answer))
        except Exception as error:  # an environment's fault costs one sample, not the run
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
    while active:
        tasks = {play.task.id: play for play in active if play.task is not None}
        wave = [play.task for play in tasks.values() if play.task is not None]
        known = {task.id: _SURE for task in wave if not _estimates(task, estimate_at)}
        for solution in pipeline.solve(wave, known):
            tasks[solution.task.id].take(solution)
        yield from (play for play in active if play.task is None)
        active = [play for play in active if play.task is not None]


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
    if error or not ended.steps:
        return replace(told, error=error or "episode: it ended before its first step")
    score, first = ended.episode.score(), ended.steps[0]
    untouched = not any(step.adapted for step in ended.steps)
    before = ended if untouched else base
    base_score = score if untouched or base is None else base.episode.score()
    return replace(
        told,
        estimate=first.estimate,
        base=_last(before),
        base_score=base_score if before is not None else None,
        final=_last(ended),
        final_score=score,
        adapted=not untouched,
        steps=tuple(map(_step, ended.steps)),
    )


def _last(play: _Play | None) -> Completion | None:
    return play.steps[-1].answer if play is not None else None


def _step(solution: Solution) -> Step:
    assert solution.answer is not None  # a step without an answer ends the episode
    return Step(
        input=solution.task.messages[-1].content,
        estimate=solution.estimate,
        examples=solution.examples,
        receipt=solution.receipt,
        answer=solution.answer,
        adapted=solution.adapted is not None,
    )
