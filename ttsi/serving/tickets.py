"""One answer that a client waits for, and what it becomes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ttsi.solving.solution import Solution
from ttsi.solving.waiting import LATE
from ttsi.types import AnswerStatus, Completion, Example, StageCost, Task

CERTAIN = "the model is certain"
ADAPTED = "the model was uncertain, and adapted"
ASKED = "the base model was asked for"
SAID = "~said"
"""Behind a task's id it names the task that is asked if the answer has no words."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was answered to a task. `confidence` is None where H was not asked."""

    task: Task
    completion: Completion
    reason: str
    confidence: float | None = None
    adapted: bool = False
    examples: tuple[Example, ...] = ()
    costs: Mapping[str, StageCost] = field(default_factory=dict)


def outcome_of(solution: Solution, completion: Completion, reason: str = "") -> Outcome:
    """Return the outcome of a solution; `reason` says why nothing was adapted, if it is known."""
    adapted, estimate = solution.adapted is not None, solution.estimate
    told = ADAPTED if adapted else reason or solution.note or CERTAIN
    return Outcome(
        solution.task,
        completion,
        told,
        None if reason or estimate is None else estimate.confidence,
        adapted,
        solution.examples,
        solution.costs,
    )


def says_nothing(answer: Completion, spoken: Task | None) -> bool:
    """Return whether an answer calls no tool and has no words either, so that `spoken` is asked."""
    if spoken is None:
        return False
    if answer.answer.status is AnswerStatus.DECLINED:
        held = spoken.asked is not None and spoken.asked.schema is not None
        return held or not answer.text.strip()
    return bool(answer.answer.value == [])


@dataclass(eq=False)
class Ticket:
    """A task that somebody waits for; `spoken` is asked if the answer to it declines.

    `plain`: the task's input is a text that the model goes on with. `left` and `late` are set by
    the event loop, and read by the thread that solves. `told` is called in the event loop with the
    text so far, while the base model writes it.
    """

    task: Task
    adapts: bool
    future: asyncio.Future[Outcome]
    spoken: Task | None = None
    plain: bool = False
    left: bool = False
    late: bool = False
    base: Solution | None = None
    told: Callable[[str], None] | None = None

    def expire(self) -> None:
        """Let the base model's answer be the ticket's, now or as soon as it is there."""
        self.late = True
        answer = self.base.base if self.base is not None else None
        if self.base is None or answer is None or says_nothing(answer, self.spoken):
            return
        if not self.future.done():
            self.future.set_result(replace(outcome_of(self.base, answer), reason=LATE))


@dataclass(eq=False)
class Group:
    """Tickets for the same task, which is solved once."""

    task: Task
    adapts: bool
    spoken: Task | None
    plain: bool
    tickets: list[Ticket]

    @property
    def left(self) -> bool:
        return all(ticket.left for ticket in self.tickets)

    @property
    def listened(self) -> bool:
        """Whether a text is wanted while it is written, and nothing takes its place later."""
        return not self.adapts and any(ticket.told for ticket in self.tickets)

    @property
    def late(self) -> bool:
        return all(ticket.left or ticket.late for ticket in self.tickets)


def grouped(tickets: list[Ticket], most: int) -> tuple[list[Group], list[Ticket]]:
    """Return groups of up to `most` different tasks, and the tickets that have to wait.

    Two tasks of a wave have different ids: of two different ones with the same id one waits.
    """
    groups: dict[str, Group] = {}
    waiting: list[Ticket] = []
    for ticket in tickets:
        found = groups.get(ticket.task.id)
        same = (ticket.task, ticket.adapts, ticket.spoken, ticket.plain)
        if found is None and len(groups) < most:
            groups[ticket.task.id] = Group(*same, [ticket])
        elif found is not None and (found.task, found.adapts, found.spoken, found.plain) == same:
            found.tickets.append(ticket)
        else:
            waiting.append(ticket)
    return list(groups.values()), waiting
