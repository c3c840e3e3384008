"""One small protocol per extension point. Every stage takes a wave: a sequence of tasks.

A plugin is a class. Its options are the fields of a dataclass made with `ttsi.options.option`, or a
hand-written JSON Schema in the class attribute `options_schema`. In both cases the options must be
readable, and the class importable, without any heavy package: import those inside the methods.

Optional members of plugins are in `ttsi.optional`.

Returned lists are parallel to the given tasks. `seed` is the run's; derive the seed of each draw by
`ttsi.digests.draw_seed(seed, task.id, stage, attempt)` so that results do not depend on the wave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from ttsi.types import (
    JSON,
    Adaptation,
    Adapter,
    Answer,
    Completion,
    EngineCapability,
    Estimate,
    Example,
    Generation,
    Likelihood,
    Played,
    Prompt,
    Record,
    Request,
    Sample,
    Score,
    Task,
    TrainJob,
)


@runtime_checkable
class Benchmark(Protocol):
    """A source of rendered samples: instruction and tools in the system turn, the rest after it.

    `revision` names the exact data (a digest); `scoring` holds the scorer options its labels need.
    A sample that is played in steps has an `episode`: see `Episode`.
    """

    @property
    def scoring(self) -> Mapping[str, JSON]: ...

    def samples(self) -> Iterable[Sample]: ...

    def revision(self) -> str: ...


class Episode(Protocol):
    """A benchmark's environment for one sample; its reference stays inside it.

    `start` gives the first task. `step` takes the answer to the last task and gives the next one,
    or None at the end. `score` is asked once, after the end, and says whether all went right. Where
    a limit of the spec ended the episode, it is asked after a step that gave a task: an episode
    that is not through is not right, unless nothing was missing. The tasks' ids do not matter: the
    run names each step. The same answers give the same tasks and the same score: who resumes or
    verifies a run plays its episodes again. `ttsi.optional.TellsTurns` is optional.
    """

    def start(self) -> Task: ...

    def step(self, completion: Completion) -> Task | None: ...

    def score(self) -> Score: ...


Context: TypeAlias = Literal["tool_call", "as_answered", "bare"]
"""Where candidates are scored: in the form's own wrapper, in that of the model's draft, or bare."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The continuations that H scores.

    After `opening`, the text with which the assistant's turn begins, H takes the log-likelihood of
    each of `texts`. `names` are shown to people. `told` holds one sentence per candidate, which
    tells a model that another answer chose it.
    """

    opening: str
    names: tuple[str, ...]
    texts: tuple[str, ...]
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """A part of an answer that the request has to bear out, such as an argument of a call.

    `where` is its JSON pointer in the answer's value. In the answer as text, `written`, its value
    begins and ends at `span`. `optional`: the answer is valid without it. `stated`: the request's
    own words state the value.
    """

    where: str
    written: str
    span: tuple[int, int]
    optional: bool
    stated: bool

    @property
    def opening(self) -> str:
        """The answer up to the value."""
        return self.written[: self.span[0]]

    @property
    def text(self) -> str:
        """The value as it continues `opening`."""
        return self.written[slice(*self.span)]


@dataclass(frozen=True, slots=True)
class Asking:
    """The words with which G asks the model for a training example (F.2).

    `data_for`: whom the data is for, "assistants that ..."; `answer`: what the assistant gives,
    "the calls that ..."; `answer_to_it`: the same, of a request just named; `rule`: a sentence on
    right answers; `shape`: an answer as JSON.
    """

    data_for: str
    answer: str
    answer_to_it: str
    rule: str
    shape: str


@runtime_checkable
class AnswerForm(Protocol):
    """A form of answers: everything that stages and scorers need to know about them.

    A form has no state, and its methods take time linear in the text. `parse` never raises and
    never evaluates what it reads. `ttsi.answers.form.Form` documents each method and implements
    what most forms share; derive new forms from it.
    """

    name: ClassVar[str]
    reasons: ClassVar[tuple[str, ...]]
    fields: ClassVar[tuple[str, ...]]

    @property
    def asking(self) -> Asking: ...

    def parse(self, task: Task, text: str) -> Answer: ...

    def write(self, task: Task, answer: Answer, like: str | None = None) -> str: ...

    def read(self, task: Task, value: JSON) -> Answer: ...

    def schema(self, task: Task, *, least: int = 1, most: int | None = None) -> JSON: ...

    def variant(self, task: Task, suffix: str, input: str) -> Task: ...

    def faults(self, task: Task, answer: Answer) -> Sequence[str]: ...

    def key(self, task: Task, answer: Answer, options: Mapping[str, JSON] | None = None) -> str: ...

    def parts(self, task: Task, answer: Answer) -> Mapping[tuple[str, ...], str]: ...

    def score(
        self,
        task: Task,
        reference: Answer,
        answer: Answer,
        options: Mapping[str, JSON] | None = None,
    ) -> Score: ...

    def candidates(
        self, task: Task, context: Context, draft: str = "", *, decline: bool = False
    ) -> Candidates | None: ...

    def claims(
        self, task: Task, answer: Answer, like: str | None = None
    ) -> tuple[Claim, ...] | None: ...

    def without(self, task: Task, answer: Answer, claims: Sequence[Claim]) -> Answer: ...

    def predicted(self, task: Task, field: str, value: JSON) -> Answer: ...

    def shown(self, task: Task, answer: Answer) -> str: ...


@runtime_checkable
class Engine(Protocol):
    """A model that scores, writes and learns.

    It is constructed as Engine(model, **options) with the spec's `model` object, in which `date` is
    the run's; construction is cheap, `load` reads the weights. A spec whose stages need more than
    its `capabilities` is refused before any weight is loaded, and again after that: an engine may
    find that a model can do less. The pipeline sets `on_progress(done,
    total)`, and the engine calls it during a call to show progress.

    `digest` hashes the weights as they are now. `identity` says what was loaded, in the keys
    `ttsi.ENGINE_IDENTITY`; it may be computed once, and its `weights_digest` is the `digest` right
    after `load`. `forget` drops all state that calls have left: the next call answers as the first
    one after `load` did.
    """

    on_progress: Callable[[int, int], None] | None

    @property
    def capabilities(self) -> frozenset[EngineCapability]: ...

    def load(self) -> None: ...

    def loglikelihoods(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[Likelihood]]: ...

    def generate(self, requests: Sequence[Request]) -> list[Generation]: ...

    def train(self, jobs: Sequence[TrainJob]) -> list[Adapter]: ...

    def digest(self) -> str: ...

    def identity(self) -> dict[str, JSON]: ...

    def forget(self) -> None: ...

    def describe(self) -> dict[str, JSON]: ...

    def close(self) -> None: ...


@runtime_checkable
class Estimator(Protocol):
    """H: is the model uncertain about this input?"""

    @property
    def needs(self) -> frozenset[EngineCapability]: ...

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[Estimate]: ...


@runtime_checkable
class Generator(Protocol):
    """G: training examples like the input.

    There may be fewer examples than asked for, or none, if the attempts ran out.
    """

    @property
    def needs(self) -> frozenset[EngineCapability]: ...

    def generate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[list[Example]]: ...


@runtime_checkable
class Learner(Protocol):
    """T: an adaptation for each task, from its examples (never empty).

    `base` holds the unadapted answers, or None where there are none; a learner with `needs_base`
    always gets them.
    """

    @property
    def needs(self) -> frozenset[EngineCapability]: ...

    @property
    def needs_base(self) -> bool: ...

    def learn(
        self,
        tasks: Sequence[Task],
        examples: Sequence[Sequence[Example]],
        base: Sequence[Completion | None],
        engine: Engine,
        seed: int,
    ) -> list[Adaptation]: ...


@runtime_checkable
class Inference(Protocol):
    """The answer to each task, under its adaptation (None: the base model)."""

    @property
    def needs(self) -> frozenset[EngineCapability]: ...

    def answer(
        self,
        tasks: Sequence[Task],
        adaptations: Sequence[Adaptation | None],
        engine: Engine,
        seed: int,
    ) -> list[Completion]: ...


@runtime_checkable
class Scorer(Protocol):
    """Is this answer right? The only stage that sees a reference."""

    def score(self, task: Task, reference: Answer, completion: Completion) -> Score: ...


class Watcher(Protocol):
    """Receives the progress of the stages; counts are samples, of the stage "load" models."""

    def plan(self, stage: str, count: int) -> None: ...

    def advance(self, stage: str, count: float) -> None: ...


class WaveRunner(Protocol):
    """The assembled pipeline, as an executor runs it.

    `identity` is the engine's. `run_wave` yields a record as soon as its sample is finished, and
    before it each step of a sample that is an episode, as soon as it was played.
    `close` returns what the engine reports about itself, with `weights_digest` and
    `weights_digest_after`, and fails if the two differ. `abandon` frees the model when the run
    cannot go on, instead of `close` or after it: it checks nothing and raises nothing.
    """

    def identity(self) -> dict[str, JSON]: ...

    def run_wave(self, samples: Sequence[Sample]) -> Iterator[Record | Played]: ...

    def close(self) -> dict[str, JSON]: ...

    def abandon(self) -> None: ...


class RunnerFactory(Protocol):
    """Makes a worker's runner and loads its model; can be pickled, for workers in other processes.

    `failed` makes the record of a sample whose worker died.
    """

    def __call__(self, watcher: Watcher | None = None) -> WaveRunner: ...

    def failed(self, sample: Sample, why: str) -> Record: ...


class Session(Protocol):
    """The run's side of an executor's work, for the process and thread in which `run` was called.

    Call `admit` for every worker before its first wave. It raises RunError if the worker's engine
    is not the run's; such a worker gets no samples. Call `deliver` with all that its `run_wave`
    yields. Before each wave ask `enough`: if it is True, hand out no more, and end as if there were
    no more samples. `warn` stores a message for readers of the results, for example that a worker
    was lost.
    """

    def admit(self, worker: str, identity: Mapping[str, JSON]) -> None: ...

    def deliver(self, made: Record | Played) -> None: ...

    def enough(self) -> bool: ...

    def warn(self, text: str) -> None: ...


@runtime_checkable
class Executor(Protocol):
    """Runs waves on workers and delivers what they yield as they do, samples in any order.

    `session` and `watcher` belong to this process; the watcher also receives the stages of workers.
    `run` returns what each worker's `close` returned, of at least one worker: even without samples
    one worker is made, admitted and closed. If it raises, no runner is left open in this process.
    """

    def run(
        self,
        factory: RunnerFactory,
        samples: Sequence[Sample],
        session: Session,
        watcher: Watcher | None = None,
    ) -> list[dict[str, JSON]]: ...
