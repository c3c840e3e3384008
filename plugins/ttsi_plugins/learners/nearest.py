"""T by retrieval: the labelled rows nearest to each input, in its context or as training pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from ttsi import (
    Adaptation,
    Completion,
    Engine,
    Example,
    Task,
    UsageError,
    option,
)
from ttsi import (
    EngineCapability as Can,
)
from ttsi_plugins.learners._bm25 import Bm25
from ttsi_plugins.learners._targets import TARGET_HELP
from ttsi_plugins.learners._train import FromRows, demonstrations
from ttsi_plugins.learners.lora_sft import LoraSft


@dataclass(frozen=True)
class Nearest(FromRows, LoraSft):
    """Labelled rows like the input, in context or trained on, instead of synthetic ones.

    It takes the rows whose questions share the most telling words (BM25).

    The nearest row comes last: next to the question, or as the last pair of an epoch, which is also
    the first to be set aside under `held_out`. Rows that ask exactly what the task asks are left
    out, since they hold its answer. The options of training count in mode `pairs` alone.
    """

    mode: Literal["context", "pairs"] = option(
        "context",
        "Show the rows before the question, or train an adapter on them as lora_sft does.",
    )
    shots: int = option(3, "How many rows are taken for a task.", minimum=1)
    target: Literal["tool_call", "as_answered"] = option("as_answered", TARGET_HELP)

    def __post_init__(self) -> None:
        FromRows.__post_init__(self)
        LoraSft.__post_init__(self)

    @property
    def needs(self) -> frozenset[Can]:
        return super().needs if self.mode == "pairs" else frozenset()

    @cached_property
    def _index(self) -> Bm25:
        return Bm25([row.task.input for row in self.rows])

    def learn(
        self,
        tasks: Sequence[Task],
        examples: Sequence[Sequence[Example]],
        base: Sequence[Completion | None],
        engine: Engine,
        seed: int,
    ) -> list[Adaptation]:
        self.check_forms(tasks)
        places = [self._places(task) for task in tasks]
        chosen = [[self.rows[at] for at in some] for some in places]
        if self.mode == "pairs":
            pairs = [[Example(row.task, row.answer, "", 1) for row in rows] for rows in chosen]
            made = super().learn(tasks, pairs, base, engine, seed)
        else:
            made = [
                demonstrations(task, rows, self.target, answer, engine)
                for task, rows, answer in zip(tasks, chosen, base, strict=True)
            ]
        return [
            replace(each, source=f"{self.source}, of these {_numbers(some)}")
            for each, some in zip(made, places, strict=True)
        ]

    def _places(self, task: Task) -> list[int]:
        """Return the places of the task's rows, the nearest last."""
        ranked = self._index.ranked(task.input)
        others = [at for at in ranked if self.rows[at].task.said != task.said]
        if not others:
            raise UsageError(
                "No labelled row asks anything else than the task does.",
                where=f"task {task.id}, {self.source}",
                cure='Give the learner a "file" with other rows.',
            )
        return others[: self.shots][::-1]


def _numbers(places: Sequence[int]) -> str:
    return ", ".join(str(at + 1) for at in places)
