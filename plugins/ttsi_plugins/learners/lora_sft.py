"""T by LoRA: a fresh adapter for each input, trained on its synthetic examples (3.3, F.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from ttsi import (
    Adaptation,
    Completion,
    Engine,
    Example,
    LoraRecipe,
    Task,
    TrainJob,
    draw_seed,
    option,
)
from ttsi import (
    EngineCapability as Can,
)
from ttsi_plugins.learners._targets import TARGET_HELP, write_target


@dataclass(frozen=True)
class Recipe:
    """Options of training an adapter. The defaults are the paper's."""

    rank: int = option(8, "Rank r of the adapter.", minimum=1)
    alpha: float = option(16, "Scale: the update is multiplied by alpha / r.", exclusiveMinimum=0)
    dropout: float = option(0.0, "Dropout on the adapter's input.", minimum=0, exclusiveMaximum=1)
    epochs: int = option(3, "Passes over the examples, one example a step.", minimum=1)
    learning_rate: float = option(1e-4, "Peak of the cosine schedule.", exclusiveMinimum=0)
    warmup_ratio: float = option(
        0.03, "Share of steps that warm up, rounded up.", minimum=0, maximum=1
    )
    weight_decay: float = option(0.0, "AdamW's decoupled weight decay.", minimum=0)
    max_grad_norm: float = option(
        1.0, "Gradient norm above which it is clipped; 0: it is never clipped.", minimum=0
    )
    active_from: Literal["start", "user_turn"] = option(
        "start",
        "Where the adapter begins to act: at the prompt's first token, or at its user turn, so "
        "that what the base model has read of instruction and tools is not read again.",
    )

    @property
    def needs(self) -> frozenset[Can]:
        activated = {Can.ACTIVATED} if self.active_from == "user_turn" else set()
        return frozenset({Can.TRAIN, Can.ADAPTERS} | activated)

    def recipe(self) -> LoraRecipe:
        return LoraRecipe(**{part.name: getattr(self, part.name) for part in fields(LoraRecipe)})


@dataclass(frozen=True)
class LoraSft(Recipe):
    """The paper's recipe. With K=1 its three steps have rates 0, lr, lr/2: two real updates."""

    target: Literal["tool_call", "as_answered"] = option("tool_call", TARGET_HELP)

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
        recipe = self.recipe()
        jobs = []
        for task, some, answer in zip(tasks, examples, base, strict=True):
            pairs = tuple(
                (
                    example.task.prompt(),
                    write_target(self.target, task, example.answer, answer, engine),
                )
                for example in some
            )
            jobs.append(TrainJob(task.id, pairs, recipe, draw_seed(seed, task.id, "learn")))
        return list(engine.train(jobs))
