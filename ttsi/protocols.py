"""One small protocol per extension point. Every stage takes a wave: a sequence of tasks.

A plugin is a class. Its options are the fields of a dataclass made with `ttsi.options.option`, or a
hand-written JSON Schema in the class attribute `options_schema`; either way they are readable, and
the class importable, without any heavy package: import those inside the methods.

What a plugin may have beside its protocol is in `ttsi.optional`.

Lists returned are parallel to the tasks given. `seed` is the run's; derive the seed of each draw by
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
    """Real rows as Samples, rendered: instruction and tools in the system turn, the rest after.

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
    or None at the end. `score` is asked once, after the end, and says whether all went right. The
    tasks' ids do not matter: the run names each step.
    """

    def start(self) -> Task: ...

    def step(self, completion: Completion) -> Task | None: ...

    def score(self) -> Score: ...


Context: TypeAlias = Literal["tool_call", "as_answered", "bare"]
"""Where candidates are scored: in the form's own wrapper, in that of the model's draft, or bare."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What H scores: after `opening`, the text with which the answer is made to begin, the
    log-likelihood of each of `texts`; `names` are what people are told of them, and `told` is what
    a model is told of another answer that chose this one, a sentence each."""

    opening: str
    names: tuple[str, ...]
    texts: tuple[str, ...]
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asking:
    """What G says of answers when it asks the model for a training example (F.2).

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
    """A form of answers: all that stages and scorers have to know of them.

    It has no state, and what it does takes time linear in the text. `parse` never raises and never
    evaluates what it reads. `ttsi.answers.form.Form` says what each method is for, and has what
    most forms share: a form is best made as a subclass of it.
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

    def predicted(self, task: Task, field: str, value: JSON) -> Answer: ...

    def shown(self, task: Task, answer: Answer) -> str: ...


@runtime_checkable
class Engine(Protocol):
    """A model that scores, writes and learns.

    Assembling a spec whose stages need more than its `capabilities` is an error before any weight
    is loaded. `on_progress(done, total)` is set by the pipeline
    and called by the engine within a call, for people who wait. Constructed as Engine(model,
    **options) with the spec's `model` object, in which `date` is the run's; cheap until `load`.

    `digest` hashes the weights as they are now. `identity` says what was loaded, in the keys
    `ttsi.ENGINE_IDENTITY`; it may be worked out once, and its `weights_digest` is what `digest`
    was after `load`. `forget` drops all that calls have left behind: the next call answers as the
    first one after `load`.
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
    """G: training examples like the input. Fewer than asked, or none, where attempts ran out."""

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
    """Who is told how far the stages are; counts are samples."""

    def plan(self, stage: str, count: int) -> None: ...

    def advance(self, stage: str, count: float) -> None: ...


class WaveRunner(Protocol):
    """What an executor runs: the assembled pipeline, seen from outside.

    `identity` is the engine's. `run_wave` yields a record as soon as its sample is finished.
    `close` returns what the engine says of itself, with `weights_digest` and
    `weights_digest_after`, and fails where the two differ. `abandon`, in place of `close` or after
    it, frees the model where the run cannot go on: it proves nothing and raises nothing.
    """

    def identity(self) -> dict[str, JSON]: ...

    def run_wave(self, samples: Sequence[Sample]) -> Iterator[Record]: ...

    def close(self) -> dict[str, JSON]: ...

    def abandon(self) -> None: ...


class RunnerFactory(Protocol):
    """Makes a worker's runner and loads its model; can be pickled, for workers elsewhere.

    `failed` is the record of a sample that no worker lives to tell of.
    """

    def __call__(self, watcher: Watcher | None = None) -> WaveRunner: ...

    def failed(self, sample: Sample, why: str) -> Record: ...


class Session(Protocol):
    """The run's side of an executor's work, for the process and thread in which `run` was called.

    `admit` is told of every worker before its first wave, and raises RunError where the worker's
    engine is not the run's: such a worker gets no samples. `warn` keeps, beside the results, what
    their reader should know, such as that a worker was lost.
    """

    def admit(self, worker: str, identity: Mapping[str, JSON]) -> None: ...

    def deliver(self, record: Record) -> None: ...

    def warn(self, text: str) -> None: ...


@runtime_checkable
class Executor(Protocol):
    """Runs waves on workers and delivers records as they finish, in any order.

    `session` and `watcher` are this process's own; the watcher is told of stages in the workers.
    Returns what each worker's `close` returned, of one worker at least: without any sample a
    worker is made, admitted and closed all the same. Where it raises, no runner is left open in
    this process.
    """

    def run(
        self,
        factory: RunnerFactory,
        samples: Sequence[Sample],
        session: Session,
        watcher: Watcher | None = None,
    ) -> list[dict[str, JSON]]: ...
