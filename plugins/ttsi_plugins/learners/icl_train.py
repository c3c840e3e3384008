"""The inductive baseline in context: labelled rows, drawn for each task, precede the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from ttsi import (
    Adaptation,
    Completion,
    Engine,
    EngineCapability,
    Example,
    Task,
    draw_seed,
    option,
)
from ttsi_plugins.learners._targets import TARGET_HELP
from ttsi_plugins.learners._train import FromRows, Row, demonstrations


@dataclass(frozen=True)
class InContextTrain(FromRows):
    """Labelled rows in context, drawn at random, instead of synthetic examples.

    Each comes before the question, as a user and an assistant turn.
    """

    needs: ClassVar[frozenset[EngineCapability]] = frozenset()

    shots: int = option(1, "How many rows are drawn for a task, each at most once.", minimum=1)
    target: Literal["tool_call", "as_answered"] = option("as_answered", TARGET_HELP)

    @property
    def needs_base(self) -> bool:
        return self.target == "as_answered"

    def learn(
        self,
        tasks: Sequence[Task],
        examples: Sequence[Sequence[Example]],
        base: Sequence[Completion | None],
        engine: Engine,
        seed: int,
    ) -> list[Adaptation]:
        self.check_forms(tasks)
        return [
            replace(
                demonstrations(task, self._draw(task, seed), self.target, answer, engine),
                source=self.source,
            )
            for task, answer in zip(tasks, base, strict=True)
        ]

    def _draw(self, task: Task, seed: int) -> list[Row]:
        left = list(self.rows)
        return [
            left.pop(draw_seed(seed, task.id, "learn", shot) % len(left))
            for shot in range(min(self.shots, len(left)))
        ]
