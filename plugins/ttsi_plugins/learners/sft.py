"""The inductive baseline: one LoRA adapter, trained once on labelled rows, for every task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ttsi import (
    Adaptation,
    Adapter,
    Completion,
    Engine,
    Example,
    Task,
    TrainJob,
    draw_seed,
    option,
)
from ttsi_plugins.learners._targets import write_target
from ttsi_plugins.learners._train import FromRows
from ttsi_plugins.learners.lora_sft import Recipe


@dataclass(frozen=True)
class Sft(FromRows, Recipe):
    """Trains one adapter on labelled rows, for all inputs: ordinary fine-tuning.

    The seed of its training depends only on the run's.

    It trains at the first wave that has something to adapt, so the cost is in that wave's costs,
    and keeps the adapter.
    """

    target: Literal["tool_call", "list"] = option(
        "tool_call",
        "How the training output is written: in <tool_call> tags as the paper, or as a bare JSON "
        "list of calls, which is how constrained decoding writes.",
    )
    _trained: dict[int, Adapter] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        FromRows.__post_init__(self)
        Recipe.__post_init__(self)

    @property
    def needs_base(self) -> bool:
        return False

    def learn(
        self,
        tasks: Sequence[Task],
        examples: Sequence[Sequence[Example]],
        base: Sequence[Completion | None],
        engine: Engine,
        seed: int,
    ) -> list[Adaptation]:
        if seed not in self._trained:
            (adapter,) = engine.train([self._job(engine, seed)])
            self._trained[seed] = replace(adapter, source=self.source)
        return [self._trained[seed]] * len(tasks)

    def _job(self, engine: Engine, seed: int) -> TrainJob:
        pairs = [
            (row.task.prompt(), write_target(self.target, row.task, row.answer, None, engine))
            for row in self.rows
        ]
        return self.job("train", pairs, draw_seed(seed, "train", "learn"))
