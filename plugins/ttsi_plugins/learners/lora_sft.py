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
    Prompt,
    Task,
    TrainJob,
    UsageError,
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
    weight_decay: float = option(
        0.0,
        "Weight decay: AdamW's, which is decoupled, or SGD's, added to the gradient.",
        minimum=0,
    )
    max_grad_norm: float = option(
        1.0, "Gradient norm above which it is clipped; 0: it is never clipped.", minimum=0
    )
    active_from: Literal["start", "user_turn"] = option(
        "start",
        "Where the adapter begins to act: at the prompt's first token, or at its user turn, so "
        "that what the base model has read of instruction and tools is not read again.",
    )
    optimizer: Literal["adamw", "sgd"] = option(
        "adamw", "AdamW, as in the paper, or SGD without momentum."
    )
    normalised: bool = option(
        False, "Scale the gradient of each step to norm 1, in place of clipping it."
    )
    modules: Literal["all", "attention", "feed_forward"] = option(
        "all",
        "The linear layers that the adapter acts on: all but the head, those of attention, or "
        "those of the feed-forward parts.",
    )
    prompt_loss: float = option(
        0.0,
        "Weight of the loss over the prompt's tokens from its last user turn on, beside that over "
        "the output's.",
        minimum=0,
    )
    held_out: int = option(
        0,
        "How many examples, the last ones, are set aside: the loss on them is measured before "
        "training and after each epoch. One at least is left to train on.",
        minimum=0,
    )
    keep: Literal["last", "best"] = option(
        "last",
        "Which adapter answers: the last one, or that of the least loss on the examples set aside, "
        "which may be the untrained one. Where none could be set aside it is the last.",
    )

    def __post_init__(self) -> None:
        if self.keep == "best" and not self.held_out:
            raise UsageError(
                "Without examples set aside no adapter is known to be the best.",
                where='learner, "keep": "best"',
                cure='Set "held_out" to 1 or more, or "keep" to "last".',
            )

    @property
    def needs(self) -> frozenset[Can]:
        own = {Can.RECIPES} if self.prompt_loss or self.held_out else set()
        return self.recipe().needs | {Can.ADAPTERS} | own

    def recipe(self) -> LoraRecipe:
        return LoraRecipe(**{part.name: getattr(self, part.name) for part in fields(LoraRecipe)})

    def job(self, id: str, pairs: Sequence[tuple[Prompt, str]], seed: int) -> TrainJob:
        """Return the job of training on `pairs`, with the last ones held out."""
        taught = max(1, len(pairs) - self.held_out)
        return TrainJob(
            id,
            tuple(pairs[:taught]),
            self.recipe(),
            seed,
            prompt_loss=self.prompt_loss,
            held_out=tuple(pairs[taught:]),
            keep=self.keep if pairs[taught:] else "last",
        )


@dataclass(frozen=True)
class LoraSft(Recipe):
    """The paper's: trains a LoRA adapter on the examples, for one input.

    With K=1 its three steps have rates 0, lr, lr/2: two real updates.
    """

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
        jobs = []
        for task, some, answer in zip(tasks, examples, base, strict=True):
            pairs = [
                (
                    example.task.prompt(),
                    write_target(self.target, task, example.answer, answer, engine),
                )
                for example in some
            ]
            jobs.append(self.job(task.id, pairs, draw_seed(seed, task.id, "learn")))
        return list(engine.train(jobs))
