"""A gate: the adapted answer is kept only where it is worth more, and the record says so."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ttsi.answers.completions import read_completion
from ttsi.errors import EngineError, UsageError
from ttsi.optional import Rivals, Verdict
from ttsi.records.lines import from_json, to_json
from ttsi.results.calibration import cases_of
from ttsi.results.metrics import summarise
from ttsi.running.waves import ScoredWaves
from ttsi.solving.pipeline import Pipeline, Stages
from ttsi.types import Answer, Completion, Demonstrations, Generation, Message, Record, Request
from ttsi_fakes import WRITING, ScriptedEngine, default_script, make_sample
from ttsi_plugins.estimators.constant import Always
from ttsi_plugins.generators.self_generator import SelfGenerator
from ttsi_plugins.inference.gated import Gated
from ttsi_plugins.learners.lora_sft import LoraSft
from ttsi_plugins.scorers.exact import Exact

SCHEMA = Path(__file__).parents[1] / "ttsi/schemas/record.schema.json"
TASK = make_sample(1).task


def call(city: str, name: str = "get_weather") -> str:
    return json.dumps([{"name": name, "arguments": {"city": city}}])


BASE, ADAPTED = call("City1", "get_time"), call("City1")


class Scripted(ScriptedEngine):
    """An engine that says `base` without an adapter and `adapted` with one, each as likely as said.

    Greedy answers are the first of each list, and the n-th drawn one is that of place n.
    """

    def __init__(self, base: Sequence[tuple[str, float]], adapted: Sequence[tuple[str, float]]):
        super().__init__()
        self.said = (list(base), list(adapted))
        self.drawn: list[Request] = []

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.asked += requests
        return [self._say(request) for request in requests]

    def _say(self, request: Request) -> Generation:
        if WRITING in request.prompt.messages[-1].content:
            return Generation(default_script(request), 9, 4, -1.0, "stop")
        said = self.said[request.adapter is not None]
        text, logprob = said[0]
        if request.sampling.temperature:
            self.drawn.append(request)
            adapted = [each.adapter is not None for each in self.drawn]
            text, logprob = said[adapted.count(request.adapter is not None)]
        return Generation(text, 9, 4, logprob, "stop")


def run(engine: ScriptedEngine, baseline: bool = True, **options: Any) -> Record:
    inference = Gated(decoding="greedy", **options)
    stages = Stages(Always(), SelfGenerator(), LoraSft(), inference)
    pipeline = Pipeline(stages, engine, seed=7, baseline=baseline)
    waves = ScoredWaves(pipeline, Exact(), 7)
    (record,) = waves.run_wave([make_sample(1)])
    waves.close()
    assert record.error == ""
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(to_json(record))
    again = from_json(json.loads(json.dumps(to_json(record))))
    assert (again.receipt, again.refused) == (record.receipt, record.refused)
    return record


def by_likelihood(base: float, adapted: float, **options: Any) -> Record:
    engine = Scripted([(BASE, base)], [(ADAPTED, adapted)])
    return run(engine, by="likelihood", **options)


# ---------------------------------------------------------------- what the record says


@pytest.mark.parametrize("baseline", [True, False])
def test_a_worse_answer_is_not_kept_and_stands_in_the_receipt_alone(baseline: bool) -> None:
    record = by_likelihood(-1.0, -2.0, baseline=baseline)
    assert not record.adapted
    assert record.refused
    assert record.final == record.base
    assert record.final is not None
    assert record.final.text == BASE
    assert record.receipt is not None
    assert record.receipt["kind"] == "lora"
    assert record.receipt["gate"] == {
        "kept": False,
        "by": "likelihood",
        "base": math.exp(-0.25),
        "adapted": math.exp(-0.5),
        "refused": ADAPTED,
    }
    assert "was kept" in record.note
    assert {"learn", "adapted"} <= record.costs.keys()


@pytest.mark.parametrize("baseline", [True, False])
def test_a_better_answer_is_kept_and_the_record_says_by_how_much(baseline: bool) -> None:
    record = by_likelihood(-2.0, -1.0, baseline=baseline)
    assert record.adapted
    assert not record.refused
    assert record.final is not None
    assert record.base is not None
    assert (record.base.text, record.final.text, record.note) == (BASE, ADAPTED, "")
    assert record.receipt is not None
    assert record.receipt["gate"] == {
        "kept": True,
        "by": "likelihood",
        "base": math.exp(-0.5),
        "adapted": math.exp(-0.25),
    }


def test_equals_and_less_than_the_margin_are_not_kept() -> None:
    assert not by_likelihood(-1.0, -1.0).adapted
    assert by_likelihood(-2.0, -0.5, margin=0.25).adapted
    assert not by_likelihood(-2.0, -1.0, margin=0.25).adapted


def test_a_likely_answer_that_cannot_be_read_is_not_kept() -> None:
    broken = '[{"name": "get_time", "argum'
    record = run(Scripted([(BASE, -9.0)], [(broken, -0.1)]), by="likelihood")
    assert record.refused
    record = run(Scripted([(broken, -0.1)], [(ADAPTED, -9.0)]), by="likelihood")
    assert record.adapted


def test_answers_that_score_alike_are_not_compared() -> None:
    spaced = ADAPTED.replace("City1", " City1 ")
    record = run(Scripted([(spaced, -1.0)], [(ADAPTED, -9.0)]), by="likelihood")
    assert record.adapted
    assert record.receipt is not None
    assert "gate" not in record.receipt


def test_results_do_not_take_a_refused_answer_for_a_missing_example() -> None:
    refused, kept = by_likelihood(-1.0, -2.0), by_likelihood(-2.0, -1.0)
    results = summarise([refused, replace(kept, id="rows/2")])
    assert (results["adapted"], results["not_generated"], results["uncertain"]) == (1, 0, 2)
    # With the gate, adapting to the first changes nothing: it stays wrong.
    assert [case.adapted_correct for case in cases_of([refused, kept])] == [False, True]


@pytest.mark.parametrize("verdicts", [[], [Verdict(False, "x", math.nan, 0.0)]])
def test_an_unsound_verdict_costs_the_sample(verdicts: Any) -> None:
    class Unsound(Gated):
        def judge(self, rivals: Any, engine: Any, seed: int) -> Any:
            return verdicts

    stages = Stages(Always(), SelfGenerator(), LoraSft(), Unsound(decoding="greedy"))
    (solution,) = Pipeline(stages, ScriptedEngine(), seed=7).solve([TASK])
    assert "gate" in solution.error
    assert EngineError.__name__ in solution.error


# ---------------------------------------------------------------- agreement


def judged(base: Sequence[str], adapted: Sequence[str], **options: Any) -> Verdict | None:
    """Judge the first of each list, where the models draw the others."""
    engine = Scripted([(text, -1.0) for text in base], [(text, -1.0) for text in adapted])
    texts = (base[0], adapted[0])
    made = [read_completion(TASK, Generation(text, 9, 4, -1.0, "stop")) for text in texts]
    (adapter,) = engine.train(LORA.asked[:1])
    samples = len(base) - 1
    gate = Gated(by="agreement", samples=samples, **options)
    (verdict,) = gate.judge([Rivals(TASK, made[0], made[1], adapter)], engine, 3)
    assert len(engine.drawn) == (0 if verdict is None else 2 * samples)
    assert len({request.seed for request in engine.drawn}) == len(engine.drawn) / 2
    return verdict


LORA = ScriptedEngine()
LoraSft().learn([TASK], SelfGenerator().generate([TASK], LORA, 0), [None], LORA, 0)
LORA.asked = LORA.asked[-1:]


def test_both_models_answers_vote_on_each_part() -> None:
    oslo, rome = call("Oslo"), call("Rome")
    verdict = judged([oslo, oslo, rome], [rome, rome, rome])
    # All four draws call get_weather; the city is Oslo in one of them and Rome in three.
    assert verdict == Verdict(True, "agreement", (1 + 1 / 4) / 2, (1 + 3 / 4) / 2)
    assert judged([oslo, oslo, oslo], [rome, rome, oslo]) == Verdict(
        False, "agreement", 7 / 8, 5 / 8
    )
    even = judged([oslo, oslo, oslo], [rome, rome, rome])
    assert even == Verdict(False, "agreement", 3 / 4, 3 / 4)


def test_what_cannot_be_read_is_worth_nothing() -> None:
    broken = '[{"name": "get_time", "argum'
    verdict = judged([broken, broken, broken], [ADAPTED, broken, broken])
    assert verdict == Verdict(False, "agreement", 0.0, 0.0)
    verdict = judged([ADAPTED, broken], [broken, broken])
    assert verdict == Verdict(False, "agreement", 0.0, 0.0)


def test_by_support_the_answer_with_the_better_supported_claims_is_kept() -> None:
    rome = call("Rome")
    options: dict[str, Any] = {"by": "support", "support": "lexical"}
    kept = run(Scripted([(rome, -1.0)], [(ADAPTED, -9.0)]), **options)
    refused = run(Scripted([(ADAPTED, -9.0)], [(rome, -1.0)]), **options)
    declined = run(Scripted([("No tool does that.", -1.0)], [(rome, -1.0)]), **options)
    assert [record.adapted for record in (kept, refused, declined)] == [True, False, False]
    gates = [(record.receipt or {})["gate"] for record in (kept, refused, declined)]
    assert [(gate["base"], gate["adapted"]) for gate in gates] == [(0, 1), (1, 0), (0.5, 0)]
    assert "loglikelihood" in Gated(by="support").needs


def test_a_form_without_claims_cannot_be_judged_by_support() -> None:
    task = replace(TASK, form="number")
    answers = [Completion(text, Answer.of(text)) for text in ("1", "2")]
    rivals = Rivals(task, *answers, Demonstrations(()))
    with pytest.raises(UsageError, match="'number' claim nothing") as caught:
        Gated(by="support").judge([rivals], ScriptedEngine(), 0)
    assert '"agreement"' in caught.value.cure


def test_nothing_is_drawn_where_there_is_nothing_to_choose() -> None:
    assert judged([ADAPTED, BASE], [ADAPTED, BASE]) is None
    assert Gated().judge([], ScriptedEngine(), 0) == []


def test_demonstrations_are_judged_with_them_in_the_prompt() -> None:
    shown = Demonstrations.of([((Message("user", "Weather in Town?"),), ADAPTED)])
    engine = ScriptedEngine()
    two = [Completion(text, read_completion(TASK, Generation(text, 9, 4, -1.0, "stop")).answer)
           for text in (BASE, ADAPTED)]  # fmt: skip
    Gated(samples=1).judge([Rivals(TASK, two[0], two[1], shown)], engine, 3)
    assert [len(request.prompt.messages) for request in engine.asked] == [2, 4]
