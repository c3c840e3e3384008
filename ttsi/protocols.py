"""One small protocol per extension point. Every stage takes a wave: a sequence of tasks.

A plugin is a class. Its options are the fields of a dataclass made with `ttsi.options.option`, or a
hand-written JSON Schema in the class attribute `options_schema`; either way they are readable, and
the class importable, without any heavy package: import those inside the methods.

Lists returned are parallel to the tasks given. `seed` is the run's; derive the seed of each draw by
`ttsi.digests.draw_seed(seed, task.id, stage, attempt)` so that results do not depend on the wave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from ttsi.types import (
    JSON,
    Adaptation,
    Adapter,
    Answer,
    Asking,
    Candidates,
    Completion,
    Context,
    Estimate,
    Example,
    Generation,
    Likelihood,
    Prompt,
    Record,
    Rendered,
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
    What else it may have: `HasTrainingRows`.
    """

    @property
    def scoring(self) -> Mapping[str, JSON]: ...

    def samples(self) -> Iterable[Sample]: ...

    def revision(self) -> str: ...


@runtime_checkable
class HasTrainingRows(Protocol):
    """What a benchmark may have: labelled rows for training, beside its test set."""

    def train(self) -> Iterable[Sample]: ...


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

    `capabilities` is a subset of {"loglikelihood", "generate", "grammar", "adapters", "train",
    "activated"}, the last for adapters that act from the user turn on; assembling a spec that needs
    more is an error before any weight is loaded. `on_progress(done, total)` is set by the pipeline
    and called by the engine within a call, for people who wait. Constructed as Engine(model,
    **options) with the spec's `model` object, in which `date` is the run's; cheap until `load`.

    `digest` hashes the weights as they are now. `identity` says what was loaded, in the keys
    `ttsi.ENGINE_IDENTITY`; it may be worked out once, and its `weights_digest` is what `digest`
    was after `load`. `forget` drops all that calls have left behind: the next call answers as the
    first one after `load`.
    """

    on_progress: Callable[[int, int], None] | None

    @property
    def capabilities(self) -> frozenset[str]: ...

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
class Renders(Protocol):
    """What an engine may have: it shows people what its model reads.

    `rendered` is a prompt with its opening, as the engine's other calls read it; `rendered_text` a
    continuation or, with `end`, a target of training. `ttsi prompts` asks for them.
    """

    def rendered(self, prompt: Prompt) -> Rendered: ...

    def rendered_text(self, text: str, *, end: bool = False) -> Rendered: ...


@runtime_checkable
class Estimator(Protocol):
    """H: is the model uncertain about this input?"""

    @property
    def needs(self) -> frozenset[str]: ...

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[Estimate]: ...


@runtime_checkable
class Generator(Protocol):
    """G: training examples like the input. Fewer than asked, or none, where attempts ran out."""

    @property
    def needs(self) -> frozenset[str]: ...

    def generate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[list[Example]]: ...


@runtime_checkable
class Learner(Protocol):
    """T: an adaptation for each task, from its examples (never empty).

    `base` holds the unadapted answers, or None where there are none; a learner with `needs_base`
    always gets them. What else it may have: `LearnsFromRows`.
    """

    @property
    def needs(self) -> frozenset[str]: ...

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


class LearnsFromRows(Protocol):
    """What a learner may have, for baselines that learn from labelled rows.

    With `needs_examples` False G is not run, and `examples` are empty. With `needs_train` True the
    learner is given, by `teach` and before the first wave, a function that returns the benchmark's
    rows for training. `source` names, for records, what was learnt from, with a digest.
    """

    needs_examples: bool = True
    needs_train: bool = False
    source: str | None = None

    def teach(self, train: Callable[[], Sequence[Sample]]) -> None: ...


@runtime_checkable
class Inference(Protocol):
    """The answer to each task, under its adaptation (None: the base model)."""

    @property
    def needs(self) -> frozenset[str]: ...

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


class Versioned(Protocol):
    """What a scorer may have: a version, which changes when any answer could score differently."""

    version: str | None = None


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


OPTIONAL: Mapping[str, type] = {
    "benchmarks": HasTrainingRows,
    "engines": Renders,
    "learners": LearnsFromRows,
    "scorers": Versioned,
}
"""By kind: what its plugins may have beside their protocol."""


def members(protocol: type) -> frozenset[str]:
    """The names of a protocol's methods, properties and attributes."""
    names = {*vars(protocol), *protocol.__annotations__}
    return frozenset(name for name in names if not name.startswith("_"))


def chosen(plugin: object, protocol: type, name: str) -> Any:
    """The optional member `name` of `plugin`, or what `protocol` has in its place."""
    if name not in members(protocol):
        raise AttributeError(f"{protocol.__name__} has no member {name!r}")
    return getattr(plugin, name, getattr(protocol, name, None))
