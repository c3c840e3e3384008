"""The data types of a run, in the order in which they are produced.

    Sample -> Task -> Estimate -> Example -> Adaptation -> Completion -> Score -> Record

Stages see Tasks, never Samples: the reference stays with the scorer (gold isolation). An answer
form (`ttsi.answers`) defines what an answer is; here it is a status and a JSON value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeAlias

from ttsi._common.jsons import JSON as JSON
from ttsi.digests import json_digest
from ttsi.exchange import Adapter as Adapter
from ttsi.exchange import Generation as Generation
from ttsi.exchange import Likelihood as Likelihood
from ttsi.exchange import Message as Message
from ttsi.exchange import Prompt as Prompt
from ttsi.exchange import Rejected as Rejected
from ttsi.exchange import Rejections as Rejections
from ttsi.exchange import Rendered as Rendered
from ttsi.exchange import Request as Request
from ttsi.exchange import Role as Role
from ttsi.exchange import StageCost as StageCost
from ttsi.exchange import Token as Token
from ttsi.exchange import Tool as Tool
from ttsi.exchange import Training as Training
from ttsi.exchange import TrainJob as TrainJob
from ttsi.settings import Asked as Asked
from ttsi.settings import EngineCapability as EngineCapability
from ttsi.settings import LoraRecipe as LoraRecipe
from ttsi.settings import Sampling as Sampling


class AnswerStatus(StrEnum):
    """ok: has a value; declined: no answer in the form; unparsable: an unreadable attempt."""

    OK = "ok"
    DECLINED = "declined"
    UNPARSABLE = "unparsable"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer that a text gives. `value` is JSON as its form defines; None unless status is ok.

    `work`: the steps to the value, where answers are worked out; scorers and votes do not read it.
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
    share). `input` is what the user said last, which G writes something else for. `turns` are the
    turns after the system turn; without them `input` is the one user turn. `form` names the answer
    form, and `choices` are the options in a form that chooses among some.

    A task with a `bare` instruction, one without tools, is asked natively: that is the system turn,
    and the model's chat template writes the tools. `asked` is what who asks wants of the answer, if
    that is not left to the inference.
    """

    id: str
    tools: tuple[Tool, ...]
    instruction: str
    input: str
    form: str = "calls"
    choices: tuple[str, ...] = ()
    turns: tuple[Message, ...] = ()
    bare: str | None = None
    asked: Asked | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """All turns; without an instruction there is no system turn."""
        told = self.instruction if self.bare is None else self.bare
        return (Message("system", told), *self.said) if told else self.said

    @property
    def said(self) -> tuple[Message, ...]:
        """The turns after the system turn."""
        return self.turns or (Message("user", self.input),)

    @property
    def past(self) -> tuple[Message, ...]:
        """The turns before the user's last one; none in a task of a single turn."""
        asked = [at for at, turn in enumerate(self.turns) if turn.role == "user"]
        return self.turns[: asked[-1]] if asked else ()

    @property
    def offered(self) -> tuple[Tool, ...]:
        """The tools that the chat template is to write; none if they stand in the instruction."""
        return () if self.bare is None else self.tools

    def prompt(self, opening: str = "") -> Prompt:
        """Return what the model is asked, with the text that the assistant's turn begins with."""
        return Prompt(self.messages, opening, self.offered)

    @property
    def tool_names(self) -> tuple[str, ...]:
        return tuple(tool.name for tool in self.tools)

    @property
    def digest(self) -> str:
        """A digest that changes with any part but the id and what is `asked`."""
        tools = [[t.name, t.description, t.parameters] for t in self.tools]
        turns = [[turn.role, turn.content] for turn in self.turns]
        shown = [self.instruction, self.bare, self.input, self.form, self.choices]
        return json_digest([*shown, tools, turns])

    def after(self, turns: Sequence[Message]) -> Task:
        """Return the task at the end of the conversation that these turns are.

        Raises ValueError if no user speaks in them.
        """
        said = [turn.content for turn in turns if turn.role == "user"]
        if not said:
            raise ValueError("a conversation needs a turn of the user")
        only = len(turns) == 1
        return replace(self, input=said[-1], turns=() if only else tuple(turns))

    def variant(self, suffix: str, *, input: str, choices: tuple[str, ...] | None = None) -> Task:
        """Return the task with another input, under a derived id; instruction, form and tools stay.

        In a conversation the input takes the place of what the user said last. What follows that is
        left out, since it answers what was said; the turns before it stay. `choices` are the
        options of the other input, if they differ. What is `asked` of the answer is left out.
        """
        other = self.choices if choices is None else choices
        return replace(self, id=f"{self.id}#{suffix}", choices=other, asked=None).after(
            (*self.past, Message("user", input))
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """A Task plus its reference, which only scoring opens.

    A sample that is played in steps has an `episode`: a picklable function that makes a new
    `ttsi.protocols.Episode`. The task is then its first one, and the episode scores itself.
    """

    task: Task
    reference: Answer
    episode: Callable[[], Any] | None = None

    @property
    def id(self) -> str:
        return self.task.id

    @property
    def digest(self) -> str:
        """A digest that changes with any part of prompt, tools, form or reference."""
        task = self.task
        tools = [[t.name, t.description, t.parameters] for t in task.tools]
        shown = [self.id, task.instruction, task.input, tools, self.reference.value]
        more = [task.form, task.choices, [[turn.role, turn.content] for turn in task.turns]]
        native = [] if task.bare is None else [task.bare]
        return json_digest([*shown, *more, *native])


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
    """A synthetic (task, answer) pair: the model's raw `text`, and how many `attempts` it took.

    `evidence`: shares, by name, of how far the answer is borne out, such as agreement and support.
    """

    task: Task
    answer: Answer
    text: str
    attempts: int
    evidence: Mapping[str, float] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        work = [self.answer.work] if self.answer.work else []
        return json_digest([self.task.input, self.answer.value, *work])


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """In-context adaptation: turns that precede the question, after the system turn.

    Each demonstration is a conversation of its own: what was said, and the assistant's answer.
    """

    turns: tuple[Message, ...]
    source: str = ""

    @classmethod
    def of(cls, shown: Iterable[tuple[Sequence[Message], str]], source: str = "") -> Demonstrations:
        """Return demonstrations of what was said, turn by turn, with the answers to it."""
        every = [(*said, Message("assistant", answer)) for said, answer in shown]
        return cls(tuple(turn for turns in every for turn in turns), source)

    @property
    def digest(self) -> str:
        return json_digest([[turn.role, turn.content] for turn in self.turns])


Adaptation: TypeAlias = Adapter | Demonstrations


@dataclass(frozen=True, slots=True)
class Completion:
    """The text that the model wrote, and its answer. `cut`: it was cut off at max_tokens.

    `tokens` are those of the text, where the inference hands them on; records do not keep them.
    """

    text: str
    answer: Answer
    prompt_tokens: int = 0
    completion_tokens: int = 0
    logprob: float = 0.0
    cut: bool = False
    tokens: tuple[Token, ...] = field(default=(), repr=False, compare=False)

    @property
    def readable(self) -> bool:
        """Whether the answer is known: a text that was cut off declines nothing."""
        if self.answer.status is AnswerStatus.DECLINED:
            return not self.cut
        return self.answer.status is AnswerStatus.OK


ENGINE_ERROR = "engine_error"  # the reason of a sample without an answer


@dataclass(frozen=True, slots=True)
class Score:
    """Whether an answer is right; if not, the form's first `reason`, and a `detail` for people.

    `credit`, of an episode of several turns: the share of turns that are right, in [0, 1].
    """

    correct: bool
    reason: str | None = None
    detail: str = ""
    credit: float | None = None

    @classmethod
    def of_turns(cls, ended: Sequence[Score], turns: int) -> Score:
        """Return the score of an episode of so many turns, by those that have ended.

        It is right if all turns are. Else it has the reason of the first wrong one; "unfinished",
        where none was wrong.
        """
        through = cls(True) if len(ended) == turns else cls(False, "unfinished")
        worst = next((turn for turn in ended if not turn.correct), through)
        return replace(worst, credit=sum(turn.correct for turn in ended) / turns)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an episode: what was asked, and what the solver made of it.

    `said`: the turns since the last answer, long ones cut; `digest`: that of the whole task. `turn`
    is what the environment says of the turn that ends with this step, if it does and if it tells.
    `estimate` is None where H was not asked. A step that is `adapted` without a receipt was
    answered under the adaptation of the last step before it that has one.
    """

    said: tuple[Message, ...]
    estimate: Estimate | None
    examples: tuple[Example, ...]
    receipt: Mapping[str, JSON] | None
    answer: Completion
    adapted: bool
    digest: str = ""
    turn: Score | None = None
    rejected: Rejections = field(default_factory=Rejections)

    @property
    def refused(self) -> bool:
        """Whether a gate kept the base answer instead of the adapted one."""
        return _refused(self.receipt)

    @property
    def uncertain(self) -> bool:
        return self.estimate is not None and self.estimate.uncertain

    @property
    def request(self) -> str | None:
        """What the user said last, if the user spoke since the last answer."""
        said = [turn.content for turn in self.said if turn.role == "user"]
        return said[-1] if said else None


@dataclass(frozen=True, slots=True)
class Played:
    """A step of an episode that may go on, so that a stopped run need not play it again.

    `id` and `digest` are the sample's, `number` counts the steps from 0. `alone`: of the second
    play, by the base model alone. `costs` are what the step spent. `kept`: an adaptation, which is
    in no file, is in force for the next step.
    """

    id: str
    digest: str
    alone: bool
    number: int
    step: Step
    costs: Mapping[str, StageCost]
    kept: bool


@dataclass(frozen=True, slots=True)
class Record:
    """Everything about one sample, as journaled. A record with an `error` is tried again.

    The record of an episode has its `steps`, the estimate of the step of which the model was least
    sure, and the answers of the last step. `base_steps` are those of the base model, where it has
    played the episode again.
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
    base_steps: tuple[Step, ...] = ()
    rejected: Rejections = field(default_factory=Rejections)

    @property
    def refused(self) -> bool:
        """Whether a gate kept the base answer instead of the adapted one, at any step."""
        return _refused(self.receipt) or any(step.refused for step in self.steps)

    @property
    def rejections(self) -> list[Rejections]:
        """What G wrote in vain: for the sample, or at each step of an episode."""
        return [self.rejected, *(step.rejected for step in self.steps)]

    @property
    def uncertain(self) -> bool:
        """Whether H was unsure of the sample; of an episode, at any step."""
        return self.estimate is not None and self.estimate.uncertain


def _refused(receipt: Mapping[str, JSON] | None) -> bool:
    gate = (receipt or {}).get("gate")
    return isinstance(gate, dict) and gate.get("kept") is False
