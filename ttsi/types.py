"""What flows through a run, in the order in which it flows.

    Sample -> Task -> Estimate -> Example -> Adaptation -> Completion -> Score -> Record

Stages see Tasks, never Samples: the reference stays with the scorer (gold isolation).
Everything is frozen; nothing here knows of tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Literal, TypeAlias

from ttsi._common.jsons import JSON as JSON
from ttsi.digests import bytes_digest, json_digest
from ttsi.errors import PluginError


@dataclass(frozen=True)
class Tool:
    """A function on offer. `parameters` is a JSON Schema of type object, as the model sees it."""

    name: str
    description: str
    parameters: Mapping[str, JSON]

    @cached_property
    def schema(self) -> Mapping[str, JSON]:
        """The parameters in plain form: what scoring, G's contract and the grammar go by.

        Raises PluginError where they use what is not supported (docs/benchmarks.md).
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


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    name: str
    arguments: Mapping[str, JSON]

    def as_json(self) -> dict[str, JSON]:
        return {"name": self.name, "arguments": dict(self.arguments)}


@dataclass(frozen=True, slots=True)
class AnyOf(ToolCall):
    """A reference that several calls match: `arguments` are those of one of them.

    `allowed` has the right values of each argument, those of `arguments` among them; arguments
    named in `optional` may also be left out.
    """

    allowed: Mapping[str, tuple[JSON, ...]]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """All that H, G, T and the engine ever see of a sample.

    `instruction` is the rendered system turn (task instruction and tools: the part that samples
    share), `input` the rendered user turn (the query, or the dialogue so far).
    """

    id: str
    tools: tuple[Tool, ...]
    instruction: str
    input: str

    @property
    def messages(self) -> tuple[Message, ...]:
        return (Message("system", self.instruction), Message("user", self.input))

    @property
    def tool_names(self) -> tuple[str, ...]:
        return tuple(tool.name for tool in self.tools)

    def variant(self, suffix: str, *, input: str) -> Task:
        """The same question form and tools with another input, under a derived id."""
        return replace(self, id=f"{self.id}#{suffix}", input=input)


@dataclass(frozen=True, slots=True)
class Sample:
    """A Task plus its reference calls. Only scoring opens the reference."""

    task: Task
    reference: tuple[ToolCall, ...]

    @property
    def id(self) -> str:
        return self.task.id

    @property
    def digest(self) -> str:
        """Changes when anything of prompt, tools or reference does."""
        tools = [[t.name, t.description, t.parameters] for t in self.task.tools]
        calls = [_with_alternatives(call) for call in self.reference]
        return json_digest([self.id, self.task.instruction, self.task.input, tools, calls])


def _with_alternatives(call: ToolCall) -> dict[str, JSON]:
    if not isinstance(call, AnyOf):
        return call.as_json()
    return call.as_json() | {"allowed": dict(call.allowed), "optional": call.optional}


# ---------------------------------------------------------------- what stages ask of an engine


@dataclass(frozen=True, slots=True)
class Prompt:
    """A chat, and the text with which the assistant's turn is made to begin."""

    messages: tuple[Message, ...]
    opening: str = ""


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a model reads, for people: texts in order, each with whether it is a control token or a
    marker of calls or thoughts, and how many `tokens` they are together."""

    pieces: tuple[tuple[str, bool], ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class Likelihood:
    """log P(continuation | prompt), summed over its tokens, in nats."""

    logprob: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; temperature 0 is greedy. Defaults: the paper's (section 4)."""

    temperature: float = 0.7
    top_p: float = 0.8
    top_k: int = 20
    repetition_penalty: float = 1.1
    max_tokens: int = 256

    @classmethod
    def greedy(cls, max_tokens: int = 256) -> Sampling:
        return cls(
            temperature=0.0, top_p=1.0, top_k=0, repetition_penalty=1.0, max_tokens=max_tokens
        )


@dataclass(frozen=True, slots=True)
class Request:
    """One text to generate. `grammar` is a JSON Schema the text must be valid for."""

    prompt: Prompt
    sampling: Sampling
    seed: int
    adapter: Adapter | None = None
    grammar: Mapping[str, JSON] | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """`logprob` is the sum over the generated tokens under the model's own distribution (before
    temperature, penalties and grammar), end token included; `finish`: stop, or length when
    max_tokens cut it. `text` excludes the prompt's opening and the tokens that end the text, and
    nothing else: tokens that mark calls and thoughts are in it as their texts."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    logprob: float
    finish: Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class LoraRecipe:
    """Section F.3: LoRA on all linear layers but the head, AdamW, cosine with warm-up.

    `active_from` user_turn: the adapter acts from the last user turn on, in training and after.
    `max_grad_norm` 0: gradients are not clipped.
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


@dataclass(frozen=True, slots=True)
class TrainJob:
    """Adapt to `pairs` of (prompt, target text), one pair a step, in order, `epochs` times.

    The loss of a step is the mean cross entropy over the target's tokens and its end token.
    """

    id: str
    pairs: tuple[tuple[Prompt, str], ...]
    recipe: LoraRecipe
    seed: int


# ---------------------------------------------------------------- what stages make


@dataclass(frozen=True, slots=True)
class Estimate:
    """How sure the model is. `confidence` u in [0, 1]; uncertain iff u < threshold.

    `scores`: log-likelihood by candidate, in the task's tool order; empty where none were scored.
    """

    confidence: float
    uncertain: bool
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Example:
    """A synthetic (task, calls) pair: the model's raw `text`, and how many `attempts` it took."""

    task: Task
    calls: tuple[ToolCall, ...]
    text: str
    attempts: int

    @property
    def digest(self) -> str:
        return json_digest([self.task.input, [call.as_json() for call in self.calls]])


@dataclass(frozen=True, slots=True)
class Training:
    """What happened while an adapter was trained: one entry a step."""

    losses: tuple[float, ...]
    learning_rates: tuple[float, ...]
    seconds: float
    tokens: int


@dataclass(frozen=True)
class Adapter:
    """LoRA weights for one input, in memory, in PEFT's own format.

    `safetensors` are the bytes of adapter_model.safetensors, `config` is adapter_config.json;
    `source` says what it was trained on where that was not the input's own examples.
    """

    safetensors: bytes = field(repr=False)
    config: Mapping[str, JSON]
    training: Training | None = None
    source: str = ""

    @cached_property
    def digest(self) -> str:
        return bytes_digest(self.safetensors)


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """In-context adaptation: (input, output) turns that precede the question."""

    turns: tuple[tuple[str, str], ...]
    source: str = ""

    @property
    def digest(self) -> str:
        return json_digest([list(turn) for turn in self.turns])


Adaptation: TypeAlias = Adapter | Demonstrations


class ParseStatus(StrEnum):
    OK = "ok"
    NO_CALL = "no_call"
    UNPARSABLE = "unparsable"


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer: its text and the calls parsed from it (empty unless status is ok)."""

    text: str
    calls: tuple[ToolCall, ...]
    status: ParseStatus
    prompt_tokens: int = 0
    completion_tokens: int = 0
    logprob: float = 0.0


class Reason(StrEnum):
    """Why an answer is wrong: the first reason found."""

    NO_CALL = "no_call"
    UNPARSABLE = "unparsable"
    WRONG_NAME = "wrong_name"
    MISSING_ARGUMENT = "missing_argument"
    EXTRA_ARGUMENT = "extra_argument"
    WRONG_VALUE = "wrong_value"
    WRONG_COUNT = "wrong_count"
    ENGINE_ERROR = "engine_error"


@dataclass(frozen=True, slots=True)
class Score:
    """`correct`, or else the first `reason` why not, with a `detail` for people."""

    correct: bool
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StageCost:
    """This sample's even share of what its wave spent in a stage; shares add up to the whole.

    Attempts that failed count, too: those of a wave that was halved, and those before a resume. Of
    an engine's call that raised, the seconds are known and the tokens are not. What a plugin spent
    outside the engine (`ttsi.charge`) is the sample's own: its tokens are in the sums,
    `usd` is what they cost.
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


@dataclass(frozen=True, slots=True)
class Record:
    """One sample's whole story, as journaled. A record with an `error` is tried again."""

    id: str
    digest: str
    seed: int
    estimate: Estimate | None = None
    examples: tuple[Example, ...] = ()
    receipt: Mapping[str, JSON] | None = None
    base: Completion | None = None
    base_score: Score | None = None
    final: Completion | None = None
    final_score: Score | None = None
    adapted: bool = False
    note: str = ""
    error: str = ""
    costs: Mapping[str, StageCost] = field(default_factory=dict)

    @property
    def uncertain(self) -> bool:
        """Whether it was estimated, and found uncertain."""
        return self.estimate is not None and self.estimate.uncertain
