"""Those who wait for the solutions of tasks, such as a server's clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ttsi.solving.solution import Solution, State
from ttsi.types import StageCost, Task

LEFT = "nobody waits for it any more"
LATE = "its time was up: answered by the base model"


class Waiting(Protocol):
    """Says of a task, by its id, who waits for it; called from the thread that solves.

    `left`: nobody does any more, so that nothing more is done for it. `late`: its time is up, so
    that it is not adapted to any further. `answered` is told the estimate and the base model's
    answer, as far as there is one, of a task that is still to be adapted to. `listener` returns who
    wants to be told a text of the base model while it is written, as `ttsi.TellsTexts` has it.
    """

    def left(self, id: str) -> bool: ...

    def late(self, id: str) -> bool: ...

    def answered(self, solution: Solution) -> None: ...

    def listener(self, id: str) -> Callable[[str], None] | None: ...


def parted(
    waiting: Waiting,
    states: Sequence[State],
    costs: Callable[[Task], Mapping[str, StageCost]],
    *,
    answered: bool,
) -> tuple[list[State], list[State], list[State]]:
    """Return the states of tasks that nobody waits for, that are late, and the others.

    Before the base model has `answered` none is late; after it, those who wait are told its answer,
    with the task's `costs` so far.
    """
    left, late, staying = [], [], []
    for state in states:
        if waiting.left(state.task.id):
            left.append(state)
        elif answered and waiting.late(state.task.id):
            late.append(state)
        else:
            staying.append(state)
            if answered:
                known = Solution(state.task, state.estimate, state.base, costs=costs(state.task))
                waiting.answered(known)
    return left, late, staying
