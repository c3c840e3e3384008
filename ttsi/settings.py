"""Engine capabilities, sampling and adapter training, with the paper's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from ttsi._common.jsons import JSON


class EngineCapability(StrEnum):
    """What an engine can do and a stage may need.

    loglikelihood: score continuations of a prompt. generate: write text. grammar: constrain text to
    a JSON Schema. adapters: answer under a LoRA adapter. train: make one. activated: adapters that
    act from the last user turn on. recipes: train in other ways than the paper's, that is what
    `LoraRecipe.needs` and `TrainJob.needs` name it for.
    """

    LOGLIKELIHOOD = "loglikelihood"
    GENERATE = "generate"
    GRAMMAR = "grammar"
    ADAPTERS = "adapters"
    TRAIN = "train"
    ACTIVATED = "activated"
    RECIPES = "recipes"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; temperature 0 is greedy. Defaults: the paper's (section 4).

    Where a prompt thinks, a thought of up to `thought_tokens` comes before the `max_tokens` of the
    answer; a grammar holds for the answer alone.
    """

    temperature: float = 0.7
    top_p: float = 0.8
    top_k: int = 20
    repetition_penalty: float = 1.1
    max_tokens: int = 256
    thought_tokens: int = 512

    @classmethod
    def greedy(cls, max_tokens: int = 256) -> Sampling:
        return cls(
            temperature=0.0, top_p=1.0, top_k=0, repetition_penalty=1.0, max_tokens=max_tokens
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """Settings of one request, which override the inference's options; None keeps the option.

    The answer ends where one of the texts in `stop` would begin. `constrained`: it is decoded under
    its form's grammar, or under the JSON Schema in `schema`, which wins. `least` and `most` bound
    its parts, such as the calls in it. `temperature` and `top_p` are for an inference that draws
    one answer; one that draws several chooses for itself. With `tokens` the completion has them.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    constrained: bool | None = None
    schema: Mapping[str, JSON] | None = None
    least: int | None = None
    most: int | None = None
    tokens: bool = False


@dataclass(frozen=True, slots=True)
class LoraRecipe:
    """LoRA training (section F.3): all linear layers but the head, AdamW, cosine with warm-up.

    `active_from` "user_turn": the adapter acts from the last user turn on, in training and
    afterwards. `max_grad_norm` 0: gradients are not clipped. `normalised`: the gradient of each
    step is scaled to norm 1 instead. `optimizer` "sgd" is torch's, without momentum. `modules`:
    the linear layers that the adapter acts on.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    epochs: int = 3
    learning_rate: float = 1e-4
    warmup_ratio: float = 0.03
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    active_from: Literal["start", "user_turn"] = "start"
    optimizer: Literal["adamw", "sgd"] = "adamw"
    normalised: bool = False
    modules: Literal["all", "attention", "feed_forward"] = "all"

    @property
    def needs(self) -> frozenset[EngineCapability]:
        """What an engine must be able to do to train by it."""
        found = {EngineCapability.TRAIN}
        if self.active_from == "user_turn":
            found.add(EngineCapability.ACTIVATED)
        if (self.optimizer, self.normalised, self.modules) != ("adamw", False, "all"):
            found.add(EngineCapability.RECIPES)
        return frozenset(found)
