"""T by trial: train several adapters for each input, and keep the one with least held-out loss.

The last of an input's K examples is held out. A step's loss is computed before its update, so a job
whose last step is the held-out example gives that example's loss under an adapter that was not
trained on it. No engine needs to do more than train. The last step then also trains on the held-out
example, at the end of the schedule, where the learning rate is lowest, so that no generated example
is wasted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from ttsi import (
    Adaptation,
    Adapter,
    Completion,
    Engine,
    EngineError,
    Example,
    LoraRecipe,
    Prompt,
    Task,
    TrainJob,
    draw_seed,
    form_of,
    option,
)


@dataclass(frozen=True)
class BestOf:
    """Tries every rank with every rate, number of epochs and restart; ties go to the first.

    With K = 1 there is nothing to hold out: the first of each list is the recipe, without a trial.
    """

    ranks: list[int] = option(
        [8], "Ranks to try.", items={"type": "integer", "minimum": 1}, minItems=1, uniqueItems=True
    )
    learning_rates: list[float] = option(
        [1e-4, 5e-5, 2e-4],
        "Peaks of the cosine schedule to try.",
        items={"type": "number", "exclusiveMinimum": 0},
        minItems=1,
        uniqueItems=True,
    )
    epochs: list[int] = option(
        [3],
        "Numbers of passes over the examples to try.",
        items={"type": "integer", "minimum": 1},
        minItems=1,
        uniqueItems=True,
    )
    restarts: int = option(1, "Seeds to try each recipe with.", minimum=1)
    scale: float = option(2.0, "Alpha over rank, the same for every rank.", exclusiveMinimum=0)
    warmup_ratio: float = option(
        0.03, "Share of steps that warm up, rounded up.", minimum=0, maximum=1
    )
    active_from: Literal["start", "user_turn"] = option(
        "start", "Where the adapter begins to act: at the prompt's first token or its user turn."
    )
    target: Literal["tool_call", "as_answered"] = option(
        "tool_call",
        "How the training output is written: in the form's own wrapper, of calls <tool_call> "
        "tags, or in the wrapper in which the model answered this task unadapted.",
    )

    @property
    def needs(self) -> frozenset[str]:
        activated = {"activated"} if self.active_from == "user_turn" else set()
        return frozenset({"train", "adapters"} | activated)

    @property
    def needs_base(self) -> bool:
        return self.target == "as_answered"

    def recipes(self) -> list[LoraRecipe]:
        """Return the recipes to try, preferred ones first."""
        return [
            LoraRecipe(
                rank=rank,
                alpha=self.scale * rank,
                epochs=epochs,
                learning_rate=rate,
                warmup_ratio=self.warmup_ratio,
                active_from=self.active_from,
            )
            for rank, rate, epochs in product(self.ranks, self.learning_rates, self.epochs)
        ]

    def learn(
        self,
        tasks: Sequence[Task],
        examples: Sequence[Sequence[Example]],
        base: Sequence[Completion | None],
        engine: Engine,
        seed: int,
    ) -> list[Adaptation]:
        trials = [
            self._trials(task, some, answer, seed)
            for task, some, answer in zip(tasks, examples, base, strict=True)
        ]
        made = iter(engine.train([job for jobs in trials for job in jobs]))
        return [
            best(task, [next(made) for _ in jobs]) for task, jobs in zip(tasks, trials, strict=True)
        ]

    def _trials(
        self, task: Task, examples: Sequence[Example], base: Completion | None, seed: int
    ) -> list[TrainJob]:
        pairs = self._pairs(examples, base)
        if len(pairs) == 1:
            only = self.recipes()[0]
            return [TrainJob(task.id, tuple(pairs), only, draw_seed(seed, task.id, "learn"))]
        *shown, held_out = pairs
        return [
            TrainJob(
                f"{task.id}/trial-{number}",
                (*shown * recipe.epochs, held_out),
                replace(recipe, epochs=1),
                draw_seed(seed, task.id, "learn", restart),
            )
            for number, (recipe, restart) in enumerate(
                product(self.recipes(), range(self.restarts))
            )
        ]

    def _pairs(
        self, examples: Sequence[Example], base: Completion | None
    ) -> list[tuple[Prompt, str]]:
        like = base.text if self.target == "as_answered" and base is not None else None
        return [
            (one.task.prompt(), form_of(one.task).write(one.task, one.answer, like))
            for one in examples
        ]


def best(task: Task, adapters: Sequence[Adapter]) -> Adapter:
    """Return the adapter with the least loss at the beginning of its last step.

    Raises EngineError if several have no loss that is a number.
    """
    if len(adapters) == 1:
        return adapters[0]
    losses = [last_loss(adapter) for adapter in adapters]
    least = min(losses)
    if least == math.inf:
        raise EngineError(
            "None of the adapters tried has a held-out loss.",
            where=f"learner ttsi-several/best_of, {task.id}",
            cure="Lower learning_rates, or use an engine that tells each step's loss.",
        )
    return adapters[losses.index(least)]


def last_loss(adapter: Adapter) -> float:
    """Return the loss in nats per token; infinite if it is missing or training diverged."""
    losses = adapter.training.losses if adapter.training is not None else ()
    return losses[-1] if losses and math.isfinite(losses[-1]) else math.inf
