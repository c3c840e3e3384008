"""One episode being played: its environment, the steps so far, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ttsi.errors import ends_the_run
from ttsi.optional import turns_of
from ttsi.protocols import Episode
from ttsi.running.steps import limit_reached, step_of
from ttsi.solving.costs import add_costs
from ttsi.solving.solution import Known, Solution
from ttsi.spec import Episodes
from ttsi.types import Adaptation, Estimate, Played, Sample, Score, StageCost, Step, Task

_SURE = Known(Estimate(confidence=1.0, uncertain=False), None, {})
"""What the solver is told at a step at which H is not asked: the base model answers it."""


@dataclass(eq=False)
class Play:
    """One episode being played; with `alone` by the base model alone.

    It has ended once there is no `task`: with a score or with an error; `note` says which limit of
    the rules ended it. What goes wrong inside an environment is its own sample's error; what ttsi
    itself says cannot go on is raised.
    """

    sample: Sample
    rules: Episodes
    alone: bool = False
    steps: list[Step] = field(default_factory=list)
    costs: Mapping[str, StageCost] = field(default_factory=dict)
    task: Task | None = None
    score: Score | None = None
    turns: Sequence[Score] = ()
    error: str = ""
    note: str = ""
    _kept: Adaptation | None = None
    _episode: Episode | None = None

    @classmethod
    def begin(
        cls, sample: Sample, rules: Episodes, played: Sequence[Played] = (), *, alone: bool = False
    ) -> Play:
        """Start the environment, and give it the answers of the steps that were `played` before.

        They are used as long as the environment shows what it showed then.
        """
        if sample.episode is None:
            raise ValueError(f"sample {sample.id} is no episode")
        play = cls(sample, rules, alone)
        with play._costs_its_sample():
            play._episode = sample.episode()
            play._goes_on(play._episode.start())
        for each in _without_kept(played):
            if play.task is None or play.task.digest != each.step.digest:
                break
            play._take(each.step, each.costs)
        return play

    @property
    def adapted(self) -> bool:
        return any(step.adapted for step in self.steps)

    @property
    def known(self) -> Known | None:
        """What the solver is told of the task at hand; None where H is to be asked."""
        if self._kept is not None:
            return Known(None, None, {}, self._kept)
        in_turn = self.rules.estimate_at == "first_of_turn" and not self._begins_turn
        return _SURE if self.alone or in_turn else None

    def take(self, solution: Solution) -> Played | None:
        """Go on with the answer to the task at hand, and return the step; an error ends the play.

        Then the result is None.
        """
        asked = self.known is None
        if solution.answer is None:
            self.costs = add_costs(self.costs, solution.costs)
            self.task, self.error = None, solution.error
            return None
        step = step_of(solution, first=not self.steps, asked=asked)
        self._take(step, solution.costs)
        stays = self.rules.keep == "turn" and self.task is not None and not self._begins_turn
        self._kept = solution.adaptation if stays else None
        return Played(
            self.sample.id,
            self.sample.digest,
            self.alone,
            len(self.steps) - 1,
            step,
            solution.costs,
            self._kept is not None,
        )

    def _take(self, step: Step, costs: Mapping[str, StageCost]) -> None:
        self.steps.append(step)
        self.costs = add_costs(self.costs, costs)
        self.task = None
        assert self._episode is not None  # a play without one has no task
        with self._costs_its_sample():
            self._goes_on(self._episode.step(step.answer))

    @property
    def _begins_turn(self) -> bool:
        """Whether the task at hand is the first one of a turn."""
        return not self.steps or (self.task is not None and self.task.messages[-1].role == "user")

    def _goes_on(self, task: Task | None) -> None:
        """Name the task by its step, since what is drawn depends on the name; or score the end."""
        if task is not None:
            spent = sum(cost.seconds for cost in self.costs.values())
            self.note = limit_reached(self.rules, self.steps, spent)
        if task is not None and not self.note:
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


def _without_kept(played: Sequence[Played]) -> Sequence[Played]:
    """Return the steps before the one whose adaptation would now be in force.

    No file holds the adaptation, so that the episode goes on from where it was made: H, G and T are
    asked what they were asked then, and make the same.
    """
    count = len(played)
    while count and played[count - 1].kept:
        count -= 1
    return played[:count]
