"""What stages and engines exchange: prompts and texts, training jobs and adapters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

from ttsi._common.jsons import JSON
from ttsi.digests import bytes_digest
from ttsi.errors import PluginError
from ttsi.settings import EngineCapability, LoraRecipe, Sampling


@dataclass(frozen=True)
class Tool:
    """A function on offer. `parameters` is a JSON Schema of type object, as the model sees it."""

    name: str
    description: str
    parameters: Mapping[str, JSON]

    @cached_property
    def schema(self) -> Mapping[str, JSON]:
        """The parameters in plain form, which scoring, G's contract and the grammar use.

        Raises PluginError if they use an unsupported keyword (docs/benchmarks.md).
        """
        from ttsi.parameters.plain import SchemaFault, plain_parameters

        try:
            return plain_parameters(self.parameters)
        except SchemaFault as fault:
            raise PluginError(
                f"Parameters of tool {self.name!r} cannot be used: {fault.keyword} {fault.what}.",
                where=f"tool {self.name!r}, parameters, {fault.pointer}",
                cure=fault.cure,
            ) from fault


Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; a `tool` turn is what a tool returned."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A chat, the assistant's first words, tools for the chat template, and `thinking`: whether the
    answer may begin with a thought, where the spec's `model.thinking` is on.

    Without messages the prompt is the `opening` alone, which the model goes on with as plain text.
    """

    messages: tuple[Message, ...]
    opening: str = ""
    tools: tuple[Tool, ...] = ()
    thinking: bool = False


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a model reads, for people: (text, is a control token or marker), and all `tokens`."""

    pieces: tuple[tuple[str, bool], ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class Likelihood:
    """log P(continuation | prompt), summed over its `tokens` in number, in nats.

    The continuation is tokenised by itself; no token that ends the text is added.
    """

    logprob: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Request:
    """One text to generate. `grammar` is a JSON Schema the text must be valid for.

    Once one of the texts in `stop` stands in it, an engine may end it: its reader cuts it there.
    `owner` is the id of the task that it is for, by which an engine may be told that nobody waits
    for it any more (`ttsi.Leaves`).
    """

    prompt: Prompt
    sampling: Sampling
    seed: int
    adapter: Adapter | None = None
    grammar: Mapping[str, JSON] | None = None
    stop: tuple[str, ...] = ()
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a generated text.

    `text` is the part of the text that it wrote: a character of several tokens belongs to the last
    of them, and an end token has none. `logprob` is under the model's own distribution (before
    temperature, penalties and grammar), in nats. `forced`: the grammar allowed no other token, or
    the engine wrote it to close a thought. Text that is certain can often be written by several
    tokens, and is then not forced. An engine that cannot tell says False.
    """

    text: str
    logprob: float
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Generation:
    """A generated text, with the marks of calls and thoughts and without the prompt's opening.

    `tokens`: what was generated, end token included; their texts joined are `text`, their
    log-probabilities sum up to `logprob`. `finish`: "length" if it was cut off.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    logprob: float
    finish: Literal["stop", "length"]
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """An output of G that is no example: its `text`, cut where it is long, and the reason.

    `detail` says in words what is wrong with it.
    """

    reason: str
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Rejections:
    """The outputs of G that are no examples for a task.

    `counts` has all of them, by reason; `kept` are the first few.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    kept: tuple[Rejected, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainJob:
    """Adapt to `pairs` of (prompt, target text), one pair a step, in order, `epochs` times.

    The loss of a step is the mean cross entropy over the target's tokens and its end token. To it
    is added `prompt_loss` times that over the prompt's tokens from its last user turn on, and the
    sum is multiplied by the pair's weight; without `weights` all are 1.

    The loss on the targets of `held_out` alone, the mean over the pairs, is measured before the
    first step and after each epoch. With `keep` "best" the adapter is that of the least such loss,
    the earliest of equals; the untrained one, under which the model is as it was, is among them.
    """

    id: str
    pairs: tuple[tuple[Prompt, str], ...]
    recipe: LoraRecipe
    seed: int
    weights: tuple[float, ...] = ()
    prompt_loss: float = 0.0
    held_out: tuple[tuple[Prompt, str], ...] = ()
    keep: Literal["last", "best"] = "last"

    def __post_init__(self) -> None:
        if self.weights and len(self.weights) != len(self.pairs):
            raise ValueError(f"{len(self.weights)} weights for {len(self.pairs)} pairs")
        if not all(math.isfinite(each) and each >= 0 for each in (*self.weights, self.prompt_loss)):
            raise ValueError("weights of losses are finite and not negative")
        if self.keep == "best" and not self.held_out:
            raise ValueError("without held-out pairs no checkpoint is the best")

    @property
    def needs(self) -> frozenset[EngineCapability]:
        """What an engine must be able to do to train it."""
        plain = not (self.weights or self.prompt_loss or self.held_out)
        return self.recipe.needs if plain else self.recipe.needs | {EngineCapability.RECIPES}


@dataclass(frozen=True, slots=True)
class Training:
    """The course of an adapter's training: `losses` and `learning_rates` have an entry per step.

    `held_out`: the losses on held-out pairs before the first step and after each epoch, if there
    are such pairs. `tokens`: those that were read, held-out pairs included.
    """

    losses: tuple[float, ...]
    learning_rates: tuple[float, ...]
    seconds: float
    tokens: int
    held_out: tuple[float, ...] = ()


@dataclass(frozen=True)
class Adapter:
    """LoRA weights for one input, in memory, in PEFT's own format.

    `safetensors` are the bytes of adapter_model.safetensors, `config` is adapter_config.json.
    A request is answered under it as its `adapter`. `source` names the training data if that was
    not the input's own examples.
    """

    safetensors: bytes = field(repr=False)
    config: Mapping[str, JSON]
    training: Training | None = None
    source: str = ""

    @cached_property
    def digest(self) -> str:
        return bytes_digest(self.safetensors)


@dataclass(frozen=True, slots=True)
class StageCost:
    """This sample's even share of what its wave spent in a stage; shares add up to the whole.

    Failed attempts count, too: those of a wave that was halved and those before a resume. If an
    engine's call raised, its seconds are counted and its tokens are not. What a plugin spent
    outside the engine (`ttsi.charge`) is the sample's own: its tokens are in the sums, `usd` too.
    """

    seconds: float = 0.0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    usd: float = 0.0

    def __add__(self, other: StageCost) -> StageCost:
        return StageCost(
            self.seconds + other.seconds,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.usd + other.usd,
        )
