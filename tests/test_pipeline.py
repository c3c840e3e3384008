"""Algorithm 1 on a scripted engine: order, isolation, reset, faults."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ttsi.answers.calls.values import calls_in
from ttsi.errors import EngineError, OutOfMemory, RunError, StorageError
from ttsi.solving.pipeline import Pipeline, Stages
from ttsi.solving.solution import Solution
from ttsi.types import Estimate, Message, Prompt, Request, Sampling, Task, Training
from ttsi_fakes import WRITING, ScriptedEngine, default_script, make_sample
from ttsi_plugins.estimators.constant import Always, Never
from ttsi_plugins.generators.self_generator import SelfGenerator
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners.icl import InContext
from ttsi_plugins.learners.lora_sft import LoraSft

TASKS = [make_sample(number).task for number in range(6)]


class OddIsUncertain:
    needs: frozenset[str] = frozenset()

    def estimate(self, tasks: Sequence[Task], engine: Any, seed: int) -> list[Estimate]:
        odd = [int(task.id.rsplit("/", 1)[1]) % 2 == 1 for task in tasks]
        return [Estimate(0.1 if flag else 0.99, flag) for flag in odd]


def stages(**changed: Any) -> Stages:
    parts: dict[str, Any] = {
        "estimator": OddIsUncertain(),
        "generator": SelfGenerator(),
        "learner": LoraSft(),
        "inference": Direct(decoding="greedy"),
    }
    return Stages(**(parts | changed))


def solve(
    engine: ScriptedEngine, *, wave: int = 6, baseline: bool = True, **changed: Any
) -> list[Solution]:
    pipeline = Pipeline(stages(**changed), engine, seed=7, baseline=baseline)
    solutions = [
        solution
        for first in range(0, len(TASKS), wave)
        for solution in pipeline.solve(TASKS[first : first + wave])
    ]
    pipeline.close()
    return sorted(solutions, key=lambda solution: solution.task.id)


def without_costs(solutions: list[Solution]) -> list[Solution]:
    return [dataclasses.replace(solution, costs={}) for solution in solutions]


def called(solution: Solution) -> str:
    """Return the tool that the answer calls; get_weather is right for all these tasks."""
    assert solution.answer is not None
    (call,) = calls_in(solution.answer.answer)
    return call.name


def test_uncertain_samples_are_adapted_and_the_others_answered_by_the_base_model() -> None:
    solutions = solve(ScriptedEngine())
    assert [each.adapted is not None for each in solutions] == [False, True] * 3
    assert [called(each) for each in solutions] == ["get_weather"] * 6
    unadapted = [dataclasses.replace(each, adapted=None) for each in solutions]
    assert [called(each) for each in unadapted] == ["get_weather", "get_time"] * 3
    assert solutions[0].examples == ()
    assert solutions[0].receipt is None
    receipt = solutions[1].receipt
    assert receipt is not None
    assert receipt["kind"] == "lora"
    assert receipt["learning_rates"] == [0.0, 1e-4, 5e-5]
    assert receipt["examples"] == [solutions[1].examples[0].digest]


@pytest.mark.parametrize("wave", [1, 2, 5])
def test_the_wave_does_not_change_the_solutions(wave: int) -> None:
    assert without_costs(solve(ScriptedEngine(), wave=wave)) == without_costs(
        solve(ScriptedEngine())
    )


def test_in_context_adaptation_shows_the_examples_before_the_question() -> None:
    engine = ScriptedEngine()
    solutions = solve(engine, estimator=Always(), learner=InContext())
    receipts = [each.receipt for each in solutions]
    assert all(receipt and receipt["kind"] == "demonstrations" for receipt in receipts)
    chats = [asked.prompt.messages for asked in engine.asked if isinstance(asked, Request)]
    adapted = [chat for chat in chats if len(chat) == 4]
    assert len(adapted) == 6
    assert [message.role for message in adapted[0]] == ["system", "user", "assistant", "user"]


def test_without_a_baseline_the_base_model_answers_only_the_certain() -> None:
    engine = ScriptedEngine()
    solutions = solve(engine, baseline=False)
    assert [each.base is None for each in solutions] == [False, True] * 3
    answers = [a for a in engine.asked if isinstance(a, Request) and len(a.prompt.messages) == 2]
    assert sum(WRITING not in a.prompt.messages[1].content for a in answers) == 6


def test_a_sample_for_which_nothing_valid_is_generated_keeps_the_base_answer() -> None:
    def useless(request: Request) -> str:
        if WRITING in request.prompt.messages[-1].content:
            return "I would rather not."
        return default_script(request)

    solutions = solve(ScriptedEngine(script=useless))
    odd = solutions[1]
    assert odd.adapted is None
    assert odd.answer == odd.base is not None
    assert "no valid example" in odd.note


def test_costs_name_the_stages_a_sample_went_through() -> None:
    certain, uncertain = solve(ScriptedEngine())[:2]
    assert set(certain.costs) == {"estimate", "answer"}
    assert set(uncertain.costs) == {"estimate", "answer", "generate", "learn", "adapted"}
    assert uncertain.costs["adapted"].completion_tokens == 5


# ---------------------------------------------------------------- reset


def test_a_run_leaves_the_base_weights_as_they_were() -> None:
    engine = ScriptedEngine()
    pipeline = Pipeline(stages(), engine, seed=0)
    list(pipeline.solve(TASKS))
    assert pipeline.close()["weights_digest"] == engine.digest()
    assert engine.closed


def test_an_engine_that_keeps_an_adaptation_is_found_out() -> None:
    class Sticky(ScriptedEngine):
        def train(self, jobs: Any) -> Any:
            self.weights += b"!"
            return super().train(jobs)

    pipeline = Pipeline(stages(), Sticky(), seed=0)
    list(pipeline.solve(TASKS))
    with pytest.raises(RunError, match="not thrown away"):
        pipeline.close()


# ---------------------------------------------------------------- faults


def test_a_failure_costs_its_own_sample_and_no_other() -> None:
    def fails_on_three(request: Request) -> str:
        if "City3?" in request.prompt.messages[-1].content:
            raise ValueError("cannot")
        return default_script(request)

    solutions = solve(ScriptedEngine(script=fails_on_three))
    assert [bool(each.error) for each in solutions] == [False] * 3 + [True] + [False] * 2
    assert solutions[3].error == "answer: ValueError: cannot"
    assert [each.task for each in solutions] == TASKS


def test_out_of_memory_gets_smaller_waves() -> None:
    sizes = []

    class Small(ScriptedEngine):
        def generate(self, requests: Sequence[Request]) -> Any:
            sizes.append(len(requests))
            if len(requests) > 2:
                raise OutOfMemory("too many")
            return super().generate(requests)

    solutions = solve(Small(), estimator=Never())
    assert max(sizes) == 6
    assert not any(each.error for each in solutions)
    assert without_costs(solutions) == without_costs(solve(ScriptedEngine(), estimator=Never()))


class Full(ScriptedEngine):
    """Writes for at most `most` requests at a time, and never for the samples in `giants`."""

    def __init__(self, most: int, giants: Sequence[str] = ()) -> None:
        super().__init__()
        self.most, self.giants = most, giants
        self.sizes: list[int] = []

    def generate(self, requests: Sequence[Request]) -> Any:
        self.sizes.append(len(requests))
        asked = [request.prompt.messages[-1].content for request in requests]
        giant = any(name in text for name in self.giants for text in asked)
        if giant or len(requests) > self.most:
            raise OutOfMemory("too many")
        return super().generate(requests)


def test_the_size_that_fits_is_kept_for_the_waves_after() -> None:
    engine = Full(2)
    pipeline = Pipeline(stages(estimator=Never()), engine, seed=0)
    first = list(pipeline.solve(TASKS))
    assert engine.sizes[0] == 6
    engine.sizes.clear()
    second = list(pipeline.solve(TASKS))
    assert engine.sizes == [2, 2, 2]
    assert [each.task for each in second] == TASKS
    assert not any(each.error for each in [*first, *second])


def test_a_sample_that_does_not_fit_alone_makes_no_other_wave_smaller() -> None:
    engine = Full(6, giants=["City3?"])
    pipeline = Pipeline(stages(estimator=Never()), engine, seed=0)
    solutions = list(pipeline.solve(TASKS))
    assert [bool(each.error) for each in solutions] == [False] * 3 + [True] + [False] * 2
    engine.giants, engine.sizes = (), []
    list(pipeline.solve(TASKS))
    assert engine.sizes == [6]


def test_a_failure_is_retried_outside_of_its_handler() -> None:
    """An exception that is being handled keeps all that the failed call had computed."""
    handled: list[BaseException | None] = []

    class Watching(Full):
        def generate(self, requests: Sequence[Request]) -> Any:
            handled.append(sys.exc_info()[1])
            return super().generate(requests)

    solve(Watching(1), estimator=Never())
    assert len(handled) > len(TASKS)
    assert set(handled) == {None}


def test_an_error_that_is_not_a_samples_ends_the_run() -> None:
    def full(request: Request) -> str:
        raise StorageError("The disk is full.")

    with pytest.raises(StorageError):
        solve(ScriptedEngine(script=full))


@pytest.mark.parametrize("confidence", [float("nan"), -0.1, 1.5])
def test_an_unsound_estimate_is_an_error(confidence: float) -> None:
    class Unsound:
        needs: frozenset[str] = frozenset()

        def estimate(self, tasks: Sequence[Task], engine: Any, seed: int) -> list[Estimate]:
            return [Estimate(confidence, False) for _ in tasks]

    assert all(
        "no sound estimate" in each.error for each in solve(ScriptedEngine(), estimator=Unsound())
    )


def test_numbers_that_no_record_can_hold_cost_their_sample() -> None:
    class Unsound(Direct):
        def answer(self, tasks: Sequence[Task], *rest: Any) -> Any:
            made = super().answer(tasks, *rest)
            return [replace(each, logprob=float("nan")) for each in made]

    found = solve(ScriptedEngine(), inference=Unsound(decoding="greedy"))
    assert all("log-probability is nan" in each.error for each in found)

    class Diverging(ScriptedEngine):
        def train(self, jobs: Any) -> Any:
            training = Training((1.0, float("inf")), (1e-4, 1e-4), 0.1, 9)
            return [replace(made, training=training) for made in super().train(jobs)]

    found = solve(Diverging())
    assert ["Training diverged" in each.error for each in found] == [False, True] * 3


def test_a_stage_that_loses_a_task_is_an_error() -> None:
    class Short(Direct):
        def answer(self, tasks: Sequence[Task], *rest: Any) -> Any:
            return super().answer(tasks, *rest)[1:]

    assert all(
        "returned 0 results" in each.error for each in solve(ScriptedEngine(), inference=Short())
    )


def test_progress_reaches_the_planned_count() -> None:
    class Watcher:
        def __init__(self) -> None:
            self.planned: dict[str, float] = {}
            self.reached: dict[str, float] = {}

        def plan(self, stage: str, count: int) -> None:
            self.planned[stage] = self.planned.get(stage, 0) + count

        def advance(self, stage: str, count: float) -> None:
            self.reached[stage] = self.reached.get(stage, 0) + count

    watcher = Watcher()
    pipeline = Pipeline(stages(), ScriptedEngine(), seed=0, watcher=watcher)
    list(pipeline.solve(TASKS))
    assert watcher.planned == {"estimate": 6, "answer": 6, "generate": 3, "learn": 3, "adapted": 3}
    assert watcher.reached == pytest.approx(watcher.planned)


def test_engine_errors_are_told_apart_from_the_runs() -> None:
    assert issubclass(OutOfMemory, EngineError)
    prompt = Prompt((Message("user", "x"),))
    assert Request(prompt, Sampling.greedy(), seed=1).adapter is None
