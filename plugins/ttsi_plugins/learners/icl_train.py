"""The inductive baseline in context: labelled rows, drawn for each task, precede the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ttsi import (
    Adaptation,
    Completion,
    Demonstrations,
    Engine,
    EngineCapability,
    Example,
    Task,
    UsageError,
    draw_seed,
    option,
)
from ttsi_plugins.learners._targets import TARGET_HELP, write_target
from ttsi_plugins.learners._train import FromRows, Row

OTHER_TOOLS = "An earlier request, which came with instructions and tools of its own:"


@dataclass(frozen=True)
class InContextTrain(FromRows):
    """A learner that puts drawn rows before the question, each as a user and an assistant turn."""

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
        self._check_forms(tasks)
        return [
            Demonstrations(
                tuple(
                    (
                        shown(row, task),
                        write_target(self.target, task, row.answer, answer, engine),
                    )
                    for row in self._draw(task, seed)
                ),
                source=self.source,
            )
            for task, answer in zip(tasks, base, strict=True)
        ]

    def _check_forms(self, tasks: Sequence[Task]) -> None:
        """Raise UsageError if a row's answer could not be written as a task's."""
        shown = ", ".join(sorted({row.task.form for row in self.rows}))
        for form in sorted({task.form for task in tasks}):
            if form != shown:
                raise UsageError(
                    f"The labelled rows have answers of form {shown}, and the tasks want {form}.",
                    where=f"learner icl_train, {self.source}",
                    cure=f'Give a "file" of rows of form {form}, and "form": "{form}".',
                )

    def _draw(self, task: Task, seed: int) -> list[Row]:
        left = list(self.rows)
        return [
            left.pop(draw_seed(seed, task.id, "learn", shot) % len(left))
            for shot in range(min(self.shots, len(left)))
        ]


def shown(row: Row, task: Task) -> str:
    """Return the row's question, with its own instruction and tools unless they are the task's.

    Under the task's tools the row's calls would be to tools that were not offered. The whole
    instruction is copied, so that nothing depends on how a benchmark words it.
    """
    if row.task.instruction == task.instruction:
        return row.task.input
    return f"{OTHER_TOOLS}\n\n{row.task.instruction}\n\n{row.task.input}"
