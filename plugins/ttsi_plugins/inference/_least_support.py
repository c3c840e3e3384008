"""What an answer is worth by support: as much as the least supported of its claims."""

from __future__ import annotations

from collections.abc import Sequence

from ttsi import Completion, Engine, Task, form_of
from ttsi_plugins._support import Basis, Claimed, supports

NEUTRAL = 0.5
"""The support of an answer that claims nothing: there is no evidence for or against it."""


def least_support(
    made: Sequence[tuple[Task, Completion]], engine: Engine, basis: Basis
) -> list[float]:
    """Return the least support of a claim of each answer, in [0, 1].

    It is 0 for an answer that cannot be read, and NEUTRAL for one that makes no claim.
    """
    claimed = [
        Claimed(task, form_of(task).claims(task, each.answer, each.text) or ())
        for task, each in made
    ]
    return [
        min(own, default=NEUTRAL) if each.readable else 0.0
        for (_, each), own in zip(made, supports(claimed, engine, basis), strict=True)
    ]
