"""What Algorithm 1 makes of one task: its results so far in a wave, and its solution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import shorten

from ttsi.optional import Verdict
from ttsi.types import JSON, Adaptation, Completion, Estimate, Example, Rejections, StageCost, Task


@dataclass(frozen=True, slots=True)
class Known:
    """Results of a task that are not computed again: its estimate, its base answer, their costs.

    A task for which there is an `adaptation` already is answered under it, and nothing else is done
    for it.
    """

    estimate: Estimate | None
    base: Completion | None
    costs: Mapping[str, StageCost]
    adaptation: Adaptation | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Solution:
    """The result of Algorithm 1 for one task; with an `error` it has nothing but its costs.

    `base`: the answer of the base model, if it was asked.
    `rejected`: what G wrote that became no example.
    `receipt`: how the task's adaptation was made, if one was.
    `adapted`: the answer under the adaptation; None if nothing was adapted, or if the base answer
    was kept instead.
    `adaptation`: that under which it was answered. No record keeps it, and `ttsi.Solver` leaves it
    out.
    """

    task: Task
    estimate: Estimate | None = None
    base: Completion | None = None
    examples: tuple[Example, ...] = ()
    rejected: Rejections = field(default_factory=Rejections)
    receipt: Mapping[str, JSON] | None = None
    adapted: Completion | None = None
    adaptation: Adaptation | None = None
    note: str = ""
    error: str = ""
    costs: Mapping[str, StageCost] = field(default_factory=dict)

    def __repr__(self) -> str:
        if self.answer is None:
            return f"<Solution of {self.task.id}: error {self.error}>"
        sure = f"confidence {self.estimate.confidence:.2f}, " if self.estimate else ""
        how = "adapted" if self.adapted else "not adapted"
        text = shorten(self.answer.text, 60, placeholder=" …")
        return f"<Solution of {self.task.id}: {sure}{how}: {text!r}>"

    @property
    def answer(self) -> Completion | None:
        """The adapted answer, or else the base model's; None after an error."""
        return self.adapted or self.base


@dataclass(eq=False)
class State:
    """The results so far of one task in a wave; `given`: its adaptation was there already."""

    task: Task
    estimate: Estimate | None = None
    base: Completion | None = None
    examples: Sequence[Example] = ()
    rejected: Rejections = field(default_factory=Rejections)
    adaptation: Adaptation | None = None
    adapted: Completion | None = None
    verdict: Verdict | None = None
    given: bool = False

    @classmethod
    def of(cls, task: Task, known: Known | None) -> State:
        """Return the initial state of a task, with the `known` results."""
        if known is None:
            return cls(task)
        given = known.adaptation is not None
        return cls(task, known.estimate, known.base, adaptation=known.adaptation, given=given)

    @property
    def uncertain(self) -> bool:
        return self.estimate is not None and self.estimate.uncertain

    @property
    def refused(self) -> bool:
        """Whether there is an adapted answer, and the base model's was kept instead."""
        return self.verdict is not None and not self.verdict.kept
