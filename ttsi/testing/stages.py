"""Contract checks of the stages: H, G, T and inference."""

from __future__ import annotations

import copy
from typing import Any

from ttsi.errors import EngineError
from ttsi.testing import answers, gates
from ttsi.testing.checks import Check, NotApplicable, Violation, require
from ttsi.testing.child import elsewhere
from ttsi.testing.exercise import Wave, default_wave, exercise, run_stage, wave_of
from ttsi.testing.fake_benchmark import FakeBenchmark
from ttsi.testing.fake_engine import FakeEngine
from ttsi.testing.faults import FAULTS_OF
from ttsi.testing.plain import fingerprint, first_difference, plain
from ttsi.testing.subject import Subject
from ttsi.types import Answer, Sample

CANARY = "canary-3f9a1c"


def _put(subject: Subject, made: Any, wave: Wave, engine: FakeEngine) -> Any:
    """Return what `made` makes of a copy of `wave`; the check `inputs` looks for changes to it."""
    return run_stage(subject.kind, made, copy.deepcopy(wave), engine)


def _run(subject: Subject, wave: Wave) -> list[Any]:
    """Return what a new instance with a new engine makes of `wave`.

    Raises NotApplicable where that is no list parallel to the tasks.
    """
    made = _put(subject, subject.make(), wave, FakeEngine())
    if not isinstance(made, list) or len(made) != len(wave.tasks):
        raise NotApplicable("its results are not parallel to the tasks")
    return made


def results_are_parallel(subject: Subject) -> None:
    wave = default_wave(subject.make())
    for places in ([0], [0, 1, 2, 3, 4, 5]):
        part = wave.part(places)
        made = _put(subject, subject.make(), part, FakeEngine())
        require(isinstance(made, list), f"it returns {type(made).__name__}, not a list")
        require(len(made) == len(places), f"{len(made)} results for {len(places)} tasks")


def results_are_sound(subject: Subject) -> None:
    made = subject.make()
    wave = default_wave(made)
    results = _put(subject, made, wave, FakeEngine())
    if subject.kind == "generators" and not any(results):
        raise NotApplicable("of FakeEngine's answers it made no example, so none was looked at")
    for task, result in zip(wave.tasks, results, strict=False):
        fault = FAULTS_OF[subject.kind](made, task, result)
        require(not fault, f"{task.id}: {fault}")


def determinism(subject: Subject) -> None:
    wave = default_wave(subject.make())
    one, other = _run(subject, wave), _run(subject, wave)
    found = first_difference(wave.names, one, other)
    require(found is None, f"the same seed gave different results for {found}")
    made = elsewhere(subject)["made"]
    if made is not None:
        told = "another process with the same seed gave different results"
        require(made == fingerprint(exercise(subject)), f"{told}; hash() of a str is not the same")


def wave_invariance(subject: Subject) -> None:
    wave = default_wave(subject.make())
    places = list(range(len(wave.tasks)))
    together = _run(subject, wave)
    alone = [_run(subject, wave.part([at]))[0] for at in places]
    found = first_difference(wave.names, together, alone)
    require(found is None, f"all together and one at a time it gave different results for {found}")
    turned = list(reversed(_run(subject, wave.part(places[::-1]))))
    found = first_difference(wave.names, together, turned)
    require(found is None, f"in another order it gave different results for {found}")


def needs_are_true(subject: Subject) -> None:
    made = subject.make()
    engine = FakeEngine(capabilities=frozenset(made.needs))
    wave = default_wave(made, adapters="adapters" in made.needs)
    try:
        _put(subject, made, wave, engine)
    except EngineError:
        if not engine.refused:
            raise
    asked = ", ".join(sorted(set(engine.refused)))
    require(not engine.refused, f"`needs` does not list what it asked the engine for: {asked}")


def no_gold(subject: Subject) -> None:
    # The samples stay alive while the stage runs, as in a run, so that it could find them.
    samples = [
        Sample(sample.task, Answer.of([{"name": CANARY, "arguments": {"value": CANARY}}]))
        for sample in FakeBenchmark().samples()
    ]
    made = subject.make()
    engine = FakeEngine()
    wave = wave_of(samples, examples=getattr(made, "needs_examples", True))
    result = run_stage(subject.kind, made, wave, engine)
    for what, seen in (("what it asked the engine", engine.asked), ("its results", result)):
        require(CANARY not in str(plain(seen)), f"a sample's reference is found in {what}")


def engine_errors_pass_through(subject: Subject) -> None:
    made = subject.make()
    engine = FakeEngine(failing=True)
    try:
        _put(subject, made, default_wave(made), engine)
    except EngineError:
        return
    except Exception as error:  # an error of any other type breaks the contract
        told = f"{type(error).__name__}: {error}"
        raise Violation(f"an engine's EngineError came out as {told}") from error
    require(not engine.refused, f"it went on when the engine failed in {engine.refused}")


def inputs_are_left_alone(subject: Subject) -> None:
    made = subject.make()
    wave = default_wave(made)
    before = copy.deepcopy(wave)
    run_stage(subject.kind, made, wave, FakeEngine())
    for part in ("tasks", "examples", "base", "adaptations"):
        found = first_difference(wave.names, getattr(before, part), getattr(wave, part))
        require(found is None, f"it changed the {part} that it was given: {found}")


def reset(subject: Subject) -> None:
    made, engine = subject.make(), FakeEngine()
    wave = default_wave(made)
    first, second = wave.part([0, 1, 2]), wave.part([3, 4, 5])
    _put(subject, made, first, engine)
    after = _put(subject, made, second, engine)
    found = first_difference(second.names, after, _run(subject, second))
    require(found is None, f"after another wave it gave different results for {found}")


CHECKS = (
    Check(
        "parallel",
        "Results are matched to tasks by their place in the list.",
        results_are_parallel,
    ),
    Check(
        "results",
        "Later stages rely on types and ranges, and examples on valid calls of offered tools.",
        results_are_sound,
    ),
    Check(
        "determinism",
        "The same seed gives the same results, in this process and in any other.",
        determinism,
    ),
    Check(
        "wave",
        "Which tasks share a wave, and in what order, changes the speed and not the results.",
        wave_invariance,
    ),
    Check(
        "needs",
        "By `needs` a spec whose engine cannot serve is refused before a weight is loaded.",
        needs_are_true,
    ),
    Check(
        "no-gold",
        "A stage that finds the reference makes every score worthless.",
        no_gold,
    ),
    Check(
        "engine-errors",
        "An EngineError costs the sample; swallowed or changed, it costs the run or the truth.",
        engine_errors_pass_through,
    ),
    Check(
        "inputs",
        "The stages after it, and the scorer, are given the same tasks.",
        inputs_are_left_alone,
    ),
    Check(
        "reset",
        "Nothing carries over from one input to the next: an adaptation is for one alone.",
        reset,
    ),
    *answers.CHECKS,
    *gates.CHECKS,
)
