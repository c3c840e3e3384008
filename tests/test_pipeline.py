"""Algorithm 1 on a scripted engine: order, isolation, reset, faults."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from ttsi.errors import EngineError, OutOfMemory, RunError, StorageError
from ttsi.solving.pipeline import Pipeline, Stages
from ttsi.types import Estimate, Example, Message, Prompt, Record, Request, Sampling, Task
from ttsi_fakes import WRITING, ScriptedEngine, default_script, make_sample
from ttsi_plugins.estimators.constant import Always, Never
from ttsi_plugins.generators.self_generator import SelfGenerator
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners.icl import InContext
from ttsi_plugins.learners.lora_sft import LoraSft
from ttsi_plugins.scorers.exact import Exact

SAMPLES = [make_sample(number) for number in range(6)]


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
        "scorer": Exact(),
    }
    return Stages(**(parts | changed))


def run(
    engine: ScriptedEngine, *, wave: int = 6, baseline: bool = True, **changed: Any
) -> list[Record]:
    pipeline = Pipeline(stages(**changed), engine, seed=7, baseline=baseline)
    records = [
        record
        for first in range(0, len(SAMPLES), wave)
        for record in pipeline.run_wave(SAMPLES[first : first + wave])
    ]
    pipeline.close()
    return sorted(records, key=lambda record: record.id)


def without_costs(records: list[Record]) -> list[Record]:
    return [dataclasses.replace(record, costs={}) for record in records]


def test_uncertain_samples_are_adapted_and_the_others_answered_by_the_base_model() -> None:
    records = run(ScriptedEngine())
    assert [record.adapted for record in records] == [False, True] * 3
    assert all(record.final_score and record.final_score.correct for record in records)
    assert [bool(r.base_score and r.base_score.correct) for r in records] == [True, False] * 3
    assert records[0].examples == ()
    assert records[0].receipt is None
    receipt = records[1].receipt
    assert receipt is not None
    assert receipt["kind"] == "lora"
    assert receipt["learning_rates"] == [0.0, 1e-4, 5e-5]
    assert receipt["examples"] == [records[1].examples[0].digest]


@pytest.mark.parametrize("wave", [1, 2, 5])
def test_the_wave_does_not_change_the_records(wave: int) -> None:
    assert without_costs(run(ScriptedEngine(), wave=wave)) == without_costs(run(ScriptedEngine()))


def test_in_context_adaptation_shows_the_examples_before_the_question() -> None:
    engine = ScriptedEngine()
    records = run(engine, estimator=Always(), learner=InContext())
    receipts = [record.receipt for record in records]
    assert all(receipt and receipt["kind"] == "demonstrations" for receipt in receipts)
    chats = [asked.prompt.messages for asked in engine.asked if isinstance(asked, Request)]
    adapted = [chat for chat in chats if len(chat) == 4]
    assert len(adapted) == 6
    assert [message.role for message in adapted[0]] == ["system", "user", "assistant", "user"]


def test_without_a_baseline_the_base_model_answers_only_the_certain() -> None:
    engine = ScriptedEngine()
    records = run(engine, baseline=False)
    assert [record.base is None for record in records] == [False, True] * 3
    answers = [a for a in engine.asked if isinstance(a, Request) and len(a.prompt.messages) == 2]
    assert sum(WRITING not in a.prompt.messages[1].content for a in answers) == 6


def test_a_sample_for_which_nothing_valid_is_generated_keeps_the_base_answer() -> None:
    def useless(request: Request) -> str:
        if WRITING in request.prompt.messages[-1].content:
            return "I would rather not."
        return default_script(request)

    records = run(ScriptedEngine(script=useless))
    odd = records[1]
    assert not odd.adapted
    assert odd.final == odd.base
    assert "no valid example" in odd.note


def test_costs_name_the_stages_a_sample_went_through() -> None:
    certain, uncertain = run(ScriptedEngine())[:2]
    assert set(certain.costs) == {"estimate", "answer"}
    assert set(uncertain.costs) == {"estimate", "answer", "generate", "learn", "adapted"}
    assert uncertain.costs["adapted"].completion_tokens == 5


# ---------------------------------------------------------------- gold isolation

CANARY = "canary-7f3a"


def canaried() -> list[Any]:
    samples = [make_sample(number) for number in range(4)]
    return [
        dataclasses.replace(
            sample, reference=(dataclasses.replace(sample.reference[0], name=f"{CANARY}-{i}"),)
        )
        for i, sample in enumerate(samples)
    ]


def seen_by_stages(samples: list[Any], **changed: Any) -> str:
    engine = ScriptedEngine()
    pipeline = Pipeline(stages(estimator=Always(), **changed), engine, seed=0)
    records = list(pipeline.run_wave(samples))
    made = [(record.examples, record.receipt) for record in records]
    return repr(engine.asked) + repr(made)


def test_no_reference_reaches_a_prompt_an_example_or_an_adapter() -> None:
    seen = seen_by_stages(canaried())
    assert "City3" in seen
    assert CANARY not in seen


def test_the_canary_is_found_where_a_reference_leaks() -> None:
    """Proof that the test above can fail: a generator handed the samples teaches the answers."""
    samples = canaried()
    answers = {sample.id: sample.reference for sample in samples}

    class Leaky(SelfGenerator):
        def generate(self, tasks: Sequence[Task], engine: Any, seed: int) -> list[list[Example]]:
            return [
                [Example(task.variant("0", input="x"), answers[task.id], "", 1)] for task in tasks
            ]

    assert CANARY in seen_by_stages(samples, generator=Leaky())


# ---------------------------------------------------------------- reset


def test_a_run_leaves_the_base_weights_as_they_were() -> None:
    engine = ScriptedEngine()
    pipeline = Pipeline(stages(), engine, seed=0)
    list(pipeline.run_wave(SAMPLES))
    assert pipeline.close()["weights_digest"] == engine.digest()
    assert engine.closed


def test_an_engine_that_keeps_an_adaptation_is_found_out() -> None:
    class Sticky(ScriptedEngine):
        def train(self, jobs: Any) -> Any:
            self.weights += b"!"
            return super().train(jobs)

    pipeline = Pipeline(stages(), Sticky(), seed=0)
    list(pipeline.run_wave(SAMPLES))
    with pytest.raises(RunError, match="not thrown away"):
        pipeline.close()


# ---------------------------------------------------------------- faults


def test_a_failure_costs_its_own_sample_and_no_other() -> None:
    def fails_on_three(request: Request) -> str:
        if "City3?" in request.prompt.messages[-1].content:
            raise ValueError("cannot")
        return default_script(request)

    records = run(ScriptedEngine(script=fails_on_three))
    assert [bool(record.error) for record in records] == [False] * 3 + [True] + [False] * 2
    assert records[3].error == "answer: ValueError: cannot"
    assert [record.id for record in records] == [sample.id for sample in SAMPLES]


def test_out_of_memory_gets_smaller_waves() -> None:
    sizes = []

    class Small(ScriptedEngine):
        def generate(self, requests: Sequence[Request]) -> Any:
            sizes.append(len(requests))
            if len(requests) > 2:
                raise OutOfMemory("too many")
            return super().generate(requests)

    records = run(Small(), estimator=Never())
    assert max(sizes) == 6
    assert not any(record.error for record in records)
    assert without_costs(records) == without_costs(run(ScriptedEngine(), estimator=Never()))


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
    first = list(pipeline.run_wave(SAMPLES))
    assert engine.sizes[0] == 6
    engine.sizes.clear()
    second = list(pipeline.run_wave(SAMPLES))
    assert engine.sizes == [2, 2, 2]
    assert [record.id for record in second] == [sample.id for sample in SAMPLES]
    assert not any(record.error for record in [*first, *second])


def test_a_sample_that_does_not_fit_alone_makes_no_other_wave_smaller() -> None:
    engine = Full(6, giants=["City3?"])
    pipeline = Pipeline(stages(estimator=Never()), engine, seed=0)
    records = list(pipeline.run_wave(SAMPLES))
    assert [bool(record.error) for record in records] == [False] * 3 + [True] + [False] * 2
    engine.giants, engine.sizes = (), []
    list(pipeline.run_wave(SAMPLES))
    assert engine.sizes == [6]


def test_a_failure_is_retried_outside_of_its_handler() -> None:
    """An exception that is being handled keeps all that the failed call had made."""
    handled: list[BaseException | None] = []

    class Watching(Full):
        def generate(self, requests: Sequence[Request]) -> Any:
            handled.append(sys.exc_info()[1])
            return super().generate(requests)

    run(Watching(1), estimator=Never())
    assert len(handled) > len(SAMPLES)
    assert set(handled) == {None}


def test_an_error_that_is_not_a_samples_ends_the_run() -> None:
    def full(request: Request) -> str:
        raise StorageError("The disk is full.")

    with pytest.raises(StorageError):
        run(ScriptedEngine(script=full))


@pytest.mark.parametrize("confidence", [float("nan"), -0.1, 1.5])
def test_an_unsound_estimate_is_an_error(confidence: float) -> None:
    class Unsound:
        needs: frozenset[str] = frozenset()

        def estimate(self, tasks: Sequence[Task], engine: Any, seed: int) -> list[Estimate]:
            return [Estimate(confidence, False) for _ in tasks]

    assert all(
        "no sound estimate" in record.error for record in run(ScriptedEngine(), estimator=Unsound())
    )


def test_a_stage_that_loses_a_task_is_an_error() -> None:
    class Short(Direct):
        def answer(self, tasks: Sequence[Task], *rest: Any) -> Any:
            return super().answer(tasks, *rest)[1:]

    assert all(
        "returned 0 results" in record.error for record in run(ScriptedEngine(), inference=Short())
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
    list(pipeline.run_wave(SAMPLES))
    assert watcher.planned == {"estimate": 6, "answer": 6, "generate": 3, "learn": 3, "adapted": 3}
    assert watcher.reached == pytest.approx(watcher.planned)


def test_engine_errors_are_told_apart_from_the_runs() -> None:
    assert issubclass(OutOfMemory, EngineError)
    prompt = Prompt((Message("user", "x"),))
    assert Request(prompt, Sampling.greedy(), seed=1).adapter is None
