"""What flows through a run, in the order in which it flows.

    Sample -> Task -> Estimate -> Example -> Adaptation -> Completion -> Score -> Record

Stages see Tasks, never Samples: the reference stays with the scorer (gold isolation). What an
answer is, an answer form says (`ttsi.answers`); here it is a status and a JSON value.
Everything is frozen; nothing here knows of tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, TypeAlias

from ttsi._common.jsons import JSON as JSON
from ttsi.digests import bytes_digest, json_digest
from ttsi.errors import PluginError
from ttsi.settings import EngineCapability as EngineCapability
from ttsi.settings import LoraRecipe as LoraRecipe
from ttsi.settings import Sampling as Sampling


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
    """One turn of a conversation; a `tool` turn is what a tool returned."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


class AnswerStatus(StrEnum):
    """ok: there is a value. declined: the model did not answer in the form. unparsable: it tried,
    and what it wrote cannot be read."""

    OK = "ok"
    DECLINED = "declined"
    UNPARSABLE = "unparsable"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a text says. `value` is JSON, of the kind that its form has; None unless status is ok.

    `work`: the steps that led to the value, in forms whose answers are worked out in the text. Two
    answers of the same value are equal to scorers and votes, whatever led to them.
    """

    status: AnswerStatus
    value: JSON = None
    work: str = ""

    @classmethod
    def of(cls, value: JSON, work: str = "") -> Answer:
        return cls(AnswerStatus.OK, value, work)


DECLINED = Answer(AnswerStatus.DECLINED)
UNPARSABLE = Answer(AnswerStatus.UNPARSABLE)


@dataclass(frozen=True, slots=True)
class Task:
    """All that H, G, T and the engine ever see of a sample: a conversation to be answered.

    `instruction` is the rendered system turn (task instruction and tools: the part that samples
    share), `input` what G is shown of the rest: the query, or the dialogue so far. `turns` are the
    turns after the system turn; without them `input` is the one user turn. `form` names the answer
    form, `choices` are the options of a form that chooses among some.
    """

    id: str
    tools: tuple[Tool, ...]
    instruction: str
    input: str
    form: str = "calls"
    choices: tuple[str, ...] = ()
    turns: tuple[Message, ...] = ()

    @property
    def messages(self) -> tuple[Message, ...]:
        turns = self.turns or (Message("user", self.input),)
        return (Message("system", self.instruction), *turns)

    @property
    def tool_names(self) -> tuple[str, ...]:
        return tuple(tool.name for tool in self.tools)

    def variant(self, suffix: str, *, input: str, choices: tuple[str, ...] | None = None) -> Task:
        """The same instruction, form and tools with another input, under a derived id.

        `choices`: those of the other input, where they are others.
        """
        other = self.choices if choices is None else choices
        return replace(self, id=f"{self.id}#{suffix}", input=input, choices=other, turns=())


@dataclass(frozen=True, slots=True)
class Sample:
    """A Task plus its reference. Only scoring opens the reference.

    `episode` makes, of a sample that is played in steps, a new `ttsi.protocols.Episode`: a function
    that can be pickled. The task is then its first one, and the episode scores itself.
    """

    task: Task
    reference: Answer
    episode: Callable[[], Any] | None = None

    @property
    def id(self) -> str:
        return self.task.id

    @property
    def digest(self) -> str:
        """Changes when anything of prompt, tools, form or reference does."""
        task = self.task
        tools = [[t.name, t.description, t.parameters] for t in task.tools]
        shown = [self.id, task.instruction, task.input, tools, self.reference.value]
        more = [task.form, task.choices, [[turn.role, turn.content] for turn in task.turns]]
        return json_digest([*shown, *more])


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
    """A synthetic (task, answer) pair: the model's raw `text`, and how many `attempts` it took."""

    task: Task
    answer: Answer
    text: str
    attempts: int

    @property
    def digest(self) -> str:
        work = [self.answer.work] if self.answer.work else []
        return json_digest([self.task.input, self.answer.value, *work])


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


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model wrote, and the answer that was read from it.

    `cut`: the text was cut off at max_tokens. What is read from it may not be what the model would
    have come to.
    """

    text: str
    answer: Answer
    prompt_tokens: int = 0
    completion_tokens: int = 0
    logprob: float = 0.0
    cut: bool = False

    @property
    def readable(self) -> bool:
        """Whether it is known what was answered. A text that was cut off before it came to an
        answer declines nothing."""
        if self.answer.status is AnswerStatus.DECLINED:
            return not self.cut
        return self.answer.status is AnswerStatus.OK


ENGINE_ERROR = "engine_error"
"""The reason of a sample without an answer."""


@dataclass(frozen=True, slots=True)
class Score:
    """`correct`, or else the first `reason` why not, of those that the form has, with a `detail`
    for people."""

    correct: bool
    reason: str | None = None
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
class Step:
    """One step of an episode: what was said last, and what the solver made of it."""

    input: str
    estimate: Estimate | None
    examples: tuple[Example, ...]
    receipt: Mapping[str, JSON] | None
    answer: Completion
    adapted: bool


@dataclass(frozen=True, slots=True)
class Record:
    """One sample's whole story, as journaled. A record with an `error` is tried again.

    That of an episode has its `steps`, and the last step's answers.
    """

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
    steps: tuple[Step, ...] = ()

    @property
    def uncertain(self) -> bool:
        """Whether it was estimated, and found uncertain."""
        return self.estimate is not None and self.estimate.uncertain
