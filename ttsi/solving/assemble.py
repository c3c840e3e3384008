"""Make the parts of a spec: the only place where names become objects.

Everything that can be checked without loading weights is checked here first.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Self

from ttsi import registry
from ttsi._common.version import __version__
from ttsi.digests import json_digest
from ttsi.errors import Problem, SpecError, TtsiError, UsageError
from ttsi.optional import HasTrainingRows, LearnsFromRows, Leaves, TellsTexts, chosen
from ttsi.protocols import Benchmark, Engine, Executor, Scorer, Watcher
from ttsi.solving.pipeline import Pipeline, Stages
from ttsi.solving.waiting import Waiting
from ttsi.spec import NO_BENCHMARK, Component, Spec, effective_options
from ttsi.spec.schema import COMPONENTS, model_defaults
from ttsi.types import JSON, Sample

LOAD = "load"
"""The stage, for watchers, in which a model is loaded; it counts models instead of samples."""


def benchmark(spec: Spec) -> Benchmark:
    """Return the spec's benchmark. Raises UsageError if it names none."""
    if spec.benchmark == NO_BENCHMARK:
        raise UsageError(
            "The spec names no benchmark.",
            where=f"spec {spec.name}",
            cure='Add one: "benchmark": "quickstart"',
        )
    made: Benchmark = _make("benchmark", spec.benchmark)
    return made


def executor(spec: Spec) -> Executor:
    made: Executor = _make("executor", spec.executor)
    return made


def scorer(spec: Spec) -> Scorer:
    """Return the scorer with the benchmark's preset options; the spec's options override them."""
    chosen = Component(spec.scorer.name, effective_options(spec, "scorer"))
    made: Scorer = _make("scorer", chosen)
    return made


class Engines:
    """The engines of this process: each model is loaded once, and lent to one runner at a time.

    A returned engine forgets its state and is kept until another engine is needed or the context
    ends. In another process, to which it is sent with an Assembly, nothing is kept.
    """

    def __init__(self, keep: bool = True) -> None:
        self._keep = keep
        self._idle: dict[str, Engine] = {}

    def __reduce__(self) -> tuple[object, ...]:
        return (Engines, (False,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._close_idle()

    def lend(self, spec: Spec, watcher: Watcher | None = None) -> Engine:
        """Return a loaded engine for `spec`, idle or new, without state from earlier calls.

        The watcher learns of loading, as of a stage named `LOAD`.
        """
        found = self._idle.pop(self._key(spec), None)
        if found is not None:
            return found
        # Close idle engines first: memory may not suffice for two models.
        self._close_idle()
        made = engine(spec)
        try:
            load(made, watcher)
        except BaseException:
            _close_quietly(made)
            raise
        return made

    def take_back(self, spec: Spec, engine: Engine, sound: bool) -> None:
        """Accept an engine that a runner no longer needs; one that is not `sound` is closed."""
        engine.on_progress = None
        if isinstance(engine, Leaves):
            engine.left = None
        if isinstance(engine, TellsTexts):
            engine.listener = None
        key = self._key(spec)
        if not (self._keep and sound) or key in self._idle:
            engine.close()
            return
        try:
            engine.forget()
        except BaseException:
            engine.close()
            raise
        self._idle[key] = engine

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.popitem()[1].close()

    def _key(self, spec: Spec) -> str:
        model = {**model_defaults(), **spec.model}
        return json_digest([spec.engine.name, effective_options(spec, "engine"), model])


def load(engine: Engine, watcher: Watcher | None = None) -> None:
    """Load the engine's model, which may take minutes, and tell the watcher before and after."""
    if watcher is not None:
        watcher.plan(LOAD, 1)
    engine.load()
    if watcher is not None:
        watcher.advance(LOAD, 1)


def _close_quietly(engine: Engine) -> None:
    """Close the engine in any state; an error here must not hide the original one."""
    with suppress(Exception):
        engine.close()


def pipeline(
    spec: Spec,
    engines: Engines,
    *,
    seed: int,
    watcher: Watcher | None = None,
    adapt: bool = True,
    waiting: Waiting | None = None,
) -> Pipeline:
    """Return Algorithm 1 of `spec` on an engine of `engines`; the others are those of `Pipeline`.

    Loads the model unless `engines` has it. Raises SpecError if the engine cannot do what the
    stages need.
    """
    parts = stages(spec)
    _check_needs(spec, engine(spec), parts)
    made = engines.lend(spec, watcher)
    try:
        # A model that is loaded may do less than its engine announced.
        _check_needs(spec, made, parts)
        return Pipeline(
            parts,
            made,
            seed=seed,
            baseline=spec.baseline,
            watcher=watcher,
            adapt=adapt,
            release=partial(engines.take_back, spec),
            waiting=waiting,
        )
    except BaseException:
        _close_quietly(made)
        raise


_STAGES = ("estimator", "generator", "learner", "inference")


def check(spec: Spec) -> None:
    """Make every part of `spec` except the weights, and discard them.

    Raises SpecError for parts that do not fit together, which no schema can express, and for all
    parts with faults of their own; if a single part has one, that part's own error.
    """
    faults: dict[str, UsageError | SpecError] = {}
    lacking: list[TtsiError] = []  # of this machine, such as a key or a package
    made: dict[str, Any] = {}
    for role in COMPONENTS:
        try:
            made[role] = _part(spec, role)
        except (UsageError, SpecError) as error:
            faults[role] = error
        except TtsiError as error:
            lacking.append(error)
    if len(faults) > 1:
        raise SpecError([each for fault in faults.items() for each in problems(*fault)])
    for one in [*faults.values(), *lacking]:
        raise one
    _check_needs(spec, made["engine"], Stages(**{role: made[role] for role in _STAGES}))


def _part(spec: Spec, role: str) -> object:
    if role == "benchmark" and spec.benchmark == NO_BENCHMARK:
        return None
    if role == "engine":
        return engine(spec)
    return scorer(spec) if role == "scorer" else _make(role, getattr(spec, role))


def problems(role: str, error: UsageError | SpecError) -> list[Problem]:
    """Return what is wrong with one part, or with the whole spec if `role` is "", as problems."""
    if isinstance(error, SpecError):
        return error.problems
    # Such an error names its place as users write it: generator.template.
    head, _, rest = error.where.partition(".")
    named = head in COMPONENTS and rest and " " not in rest
    place = f"/{head}/{rest.replace('.', '/')}" if named else f"/{role}".rstrip("/")
    return [Problem(place, error.what, error.cure)]


def training_rows(spec: Spec) -> list[Sample]:
    """Return the benchmark's labelled rows for training, without those that it also tests.

    The benchmark must have such rows; `check` has refused other specs.
    """
    made: Any = benchmark(spec)
    asked = {sample.task.said for sample in made.samples()}
    return [row for row in made.train() if row.task.said not in asked]


def learnt_from(spec: Spec) -> str | None:
    """Name the labelled rows that the learner learns from, with their digest; None without any."""
    source = chosen(stages(spec).learner, LearnsFromRows, "source")
    return None if source is None else str(source)


def plugins_used(spec: Spec) -> dict[str, JSON]:
    """Return name, distribution and version of every plugin in this run.

    Plugins of ttsi have the version of the running code, because the metadata of an editable
    install keep the version of the day on which it was made.
    """
    used: dict[str, JSON] = {}
    for role, kind in COMPONENTS.items():
        component: Component = getattr(spec, role)
        plugin = registry.discover(kind)[component.name]
        used[role] = {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": __version__ if plugin.builtin else plugin.version,
        }
    return used


def stages(spec: Spec) -> Stages:
    """Make every stage that `spec` names."""
    learner = _make("learner", spec.learner)
    if chosen(learner, LearnsFromRows, "needs_train"):
        learner.teach(partial(training_rows, spec))
    others = {role: _make(role, getattr(spec, role)) for role in _STAGES if role != "learner"}
    return Stages(learner=learner, **others)


def engine(spec: Spec, options: Mapping[str, JSON] | None = None) -> Engine:
    """Make the engine of `spec` without loading weights; `options` replace the spec's."""
    factory: Any = registry.load("engines", spec.engine.name)
    made: Engine = factory(
        dict(spec.model), **(spec.engine.options if options is None else options)
    )
    return made


def _make(role: str, component: Component) -> Any:
    factory: Any = registry.load(COMPONENTS[role], component.name)
    return factory(**component.options)


def _check_needs(spec: Spec, engine: Engine, stages: Stages) -> None:
    problems = []
    wants_rows = chosen(stages.learner, LearnsFromRows, "needs_train")
    none = spec.benchmark == NO_BENCHMARK
    if wants_rows and (none or not isinstance(benchmark(spec), HasTrainingRows)):
        learner, asked = spec.learner.name, spec.benchmark.name or "none"
        problems.append(
            Problem(
                "/learner",
                f"{learner!r} learns from labelled rows, and benchmark {asked!r} has none for "
                "training.",
                'Give the learner a "file", or choose another benchmark.',
            )
        )
    roles = list(_STAGES)
    if not chosen(stages.learner, LearnsFromRows, "needs_examples"):
        roles.remove("generator")
    for role in roles:
        lacking = sorted(getattr(stages, role).needs - engine.capabilities)
        if lacking:
            component: Component = getattr(spec, role)
            problems.append(
                Problem(
                    f"/{role}",
                    f"{component.name!r} needs {', '.join(lacking)}, which engine "
                    f"{spec.engine.name!r} cannot do.",
                    _remedy(lacking),
                )
            )
    if problems:
        raise SpecError(problems)


def _remedy(lacking: list[str]) -> str:
    others = {"activated": 'or "active_from": "start"', "recipes": "or the paper's recipe"}
    return ", ".join(["Choose another engine", *filter(None, map(others.get, lacking))]) + "."
