"""Waves of samples on a scripted engine: scores, records, and references that no stage sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from ttsi.answers.calls.values import Reason, ToolCall, answer_with
from ttsi.errors import EngineError, RunError, StorageError
from ttsi.running.waves import ScoredWaves, failed, known_of
from ttsi.solving.pipeline import Pipeline, Stages
from ttsi.types import Answer, Completion, Example, Record, Request, Sample, Score, Task
from ttsi_fakes import WRITING, ScriptedEngine, default_script, make_sample
from ttsi_plugins.estimators.constant import Always, Never
from ttsi_plugins.generators.self_generator import SelfGenerator
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners.lora_sft import LoraSft
from ttsi_plugins.scorers.exact import Exact

SAMPLES = [make_sample(number) for number in range(6)]


def waves(
    engine: ScriptedEngine,
    *,
    scorer: Any = None,
    estimator: Any = None,
    generator: Any = None,
    known: Any = None,
    **options: Any,
) -> ScoredWaves:
    stages = Stages(
        estimator=estimator or Always(),
        generator=generator or SelfGenerator(),
        learner=LoraSft(),
        inference=Direct(decoding="greedy"),
    )
    pipeline = Pipeline(stages, engine, seed=7, **options)
    return ScoredWaves(pipeline, scorer or Exact(), seed=7, known=known)


def by_id(records: Sequence[Record]) -> list[Record]:
    return sorted(records, key=lambda record: record.id)


def run(engine: ScriptedEngine, **options: Any) -> list[Record]:
    return by_id(list(waves(engine, **options).run_wave(SAMPLES)))


# ---------------------------------------------------------------- scores and records


def test_base_and_final_answers_are_scored_against_the_reference() -> None:
    records = run(ScriptedEngine())
    assert [(record.id, record.digest, record.seed) for record in records] == [
        (sample.id, sample.digest, 7) for sample in SAMPLES
    ]
    assert all(record.adapted for record in records)
    assert [record.final_score for record in records] == [Score(True)] * 6
    base = [record.base_score for record in records]
    assert [score.correct if score else None for score in base] == [True, False] * 3
    assert [score.reason for score in base if score and not score.correct] == [
        Reason.WRONG_NAME
    ] * 3


def test_a_certain_sample_is_scored_once_and_both_scores_are_that() -> None:
    for record in run(ScriptedEngine(), estimator=Never()):
        assert not record.adapted
        assert record.final == record.base
        assert record.final_score == record.base_score is not None


def test_without_a_baseline_an_adapted_sample_has_no_base_score() -> None:
    for record in run(ScriptedEngine(), baseline=False):
        assert record.base is None
        assert record.base_score is None
        assert record.final_score == Score(True)


def test_a_sample_that_failed_has_an_error_and_what_it_cost_and_no_score() -> None:
    def fails_on_three(request: Request) -> str:
        if "City3?" in request.prompt.messages[-1].content:
            raise ValueError("cannot")
        return default_script(request)

    records = run(ScriptedEngine(script=fails_on_three))
    assert [bool(record.error) for record in records] == [False] * 3 + [True] + [False] * 2
    assert set(records[3].costs) == {"estimate", "answer"}
    assert dataclasses.replace(records[3], costs={}) == failed(
        SAMPLES[3], 7, "answer: ValueError: cannot"
    )


class Fails:
    """A scorer that raises for one sample, and accepts all others."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def score(self, task: Task, reference: Answer, completion: Completion) -> Score:
        if task.id == "rows/3":
            raise self.error
        return Exact().score(task, reference, completion)


@pytest.mark.parametrize("error", [ValueError("odd"), EngineError("odd")])
def test_a_scorer_that_raises_costs_its_sample_and_no_other(error: Exception) -> None:
    engine = ScriptedEngine()
    records = run(engine, scorer=Fails(error))
    whole = ScriptedEngine()
    others = run(whole)
    assert records[3].error == f"score: {type(error).__name__}: odd"
    assert records[3].final is None
    assert set(records[3].costs) == set(others[3].costs)
    for number in (0, 1, 2, 4, 5):
        assert records[number].final_score == others[number].final_score == Score(True)
    # It is no failure of the wave: nothing was computed again.
    assert engine.asked == whole.asked


def test_an_error_that_is_not_a_samples_ends_the_run_in_scoring_too() -> None:
    with pytest.raises(StorageError):
        run(ScriptedEngine(), scorer=Fails(StorageError("The disk is full.")))


def test_what_is_known_is_neither_asked_nor_estimated_again() -> None:
    first = run(ScriptedEngine(), adapt=False)
    assert not any(record.adapted for record in first)
    engine = ScriptedEngine()
    known = known_of({record.id: record for record in first})
    records = run(engine, known=known)
    assert [record.base for record in records] == [record.base for record in first]
    assert [record.adapted for record in records] == [True] * 6
    requests = [each for each in engine.asked if isinstance(each, Request)]
    answers = [each for each in requests if WRITING not in each.prompt.messages[-1].content]
    assert len(answers) == 6
    assert all(each.adapter for each in answers)
    for record, before in zip(records, first, strict=True):
        assert record.costs["answer"] == before.costs["answer"]


def test_closing_proves_the_reset() -> None:
    engine = ScriptedEngine()
    made = waves(engine)
    list(made.run_wave(SAMPLES))
    digest = made.identity()["weights_digest"]
    facts = made.close()
    assert facts["weights_digest"] == facts["weights_digest_after"] == digest == engine.digest()
    assert engine.closed

    other = ScriptedEngine()
    made = waves(other)
    list(made.run_wave(SAMPLES))
    other.weights += b"!"
    with pytest.raises(RunError, match="not thrown away"):
        made.close()
    assert other.closed


# ---------------------------------------------------------------- gold isolation

CANARY = "canary-7f3a"


def canaried() -> list[Sample]:
    """Return samples whose references call tools with a name that occurs nowhere else."""
    return [
        dataclasses.replace(sample, reference=answer_with([ToolCall(f"{CANARY}-{i}", {})]))
        for i, sample in enumerate(SAMPLES[:4])
    ]


def seen_by_stages(samples: list[Sample], **changed: Any) -> str:
    engine = ScriptedEngine()
    records = list(waves(engine, **changed).run_wave(samples))
    made = [(record.examples, record.receipt, record.base, record.final) for record in records]
    assert len(made) == len(samples)
    return repr(engine.asked) + repr(made)


def test_no_reference_reaches_a_prompt_an_example_or_an_adapter() -> None:
    seen = seen_by_stages(canaried())
    assert "City3" in seen
    assert CANARY not in seen


def test_the_canary_is_found_where_a_reference_leaks() -> None:
    """Show that the test above can fail: a generator that gets the samples teaches the answers."""
    samples = canaried()
    answers = {sample.id: sample.reference for sample in samples}

    class Leaky(SelfGenerator):
        def generate(self, tasks: Sequence[Task], engine: Any, seed: int) -> list[list[Example]]:
            return [
                [Example(task.variant("0", input="x"), answers[task.id], "", 1)] for task in tasks
            ]

    assert CANARY in seen_by_stages(samples, generator=Leaky())


def test_the_scorer_is_given_the_reference_of_the_very_sample() -> None:
    given: list[tuple[str, Answer]] = []

    class Notes(Exact):
        def score(self, task: Task, reference: Answer, completion: Completion) -> Score:
            given.append((task.id, reference))
            return super().score(task, reference, completion)

    samples = canaried()
    records = list(waves(ScriptedEngine(), scorer=Notes()).run_wave(samples))
    assert {(sample.id, repr(sample.reference)) for sample in samples} == {
        (id, repr(reference)) for id, reference in given
    }
    assert not any(record.final_score and record.final_score.correct for record in records)
