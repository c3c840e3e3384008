"""The public fakes: their answers are deterministic functions of the request, and valid for it."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ttsi.answers.calls.parse import parse_calls
from ttsi.answers.calls.validation import argument_faults
from ttsi.answers.calls.writing import calls_schema
from ttsi.errors import EngineError, MissingAsset
from ttsi.running.waves import ScoredWaves
from ttsi.solving.pipeline import Pipeline, Stages
from ttsi.testing import FakeBenchmark, FakeEngine
from ttsi.testing.fake_benchmark import TOOLS
from ttsi.testing.instances import instance
from ttsi.testing.state import Shared
from ttsi.types import Prompt, Record, Request, Sampling
from ttsi_plugins.estimators.rss_margin import RssMargin
from ttsi_plugins.generators._asking import asking
from ttsi_plugins.generators._contract import example_schema
from ttsi_plugins.generators.self_generator import SelfGenerator
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners.lora_sft import LoraSft
from ttsi_plugins.scorers.exact import Exact

SAMPLES = FakeBenchmark().samples()
TASK = SAMPLES[1].task
BOUNDED: list[dict[str, Any]] = [
    {"type": "integer", "minimum": 3, "exclusiveMaximum": 5},
    {"type": "number", "exclusiveMinimum": 0, "maximum": 0.5},
    {"type": "string", "minLength": 40},
    {"type": "string", "maxLength": 3},
    {"type": "array", "minItems": 3, "items": {"enum": ["a", None]}},
    {"type": "array", "maxItems": 0},
    {"type": ["boolean", "null"]},
    {"oneOf": [{"const": 4}, {"type": "null"}]},
    {},
    {"type": "array", "prefixItems": [{"type": "boolean"}], "items": {"type": "null"}},
    {"type": "object", "patternProperties": {"^x-[0-9]+$": {}}, "minProperties": 2},
    {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1},
    {"type": "string", "pattern": "^[A-Z]{3}(-[0-9]+)?$", "maxLength": 6},
    {"type": "integer", "minimum": 1, "maximum": 30, "multipleOf": 7},
    {
        "anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}],
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {"parts": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
                "required": ["parts"],
                "additionalProperties": False,
            }
        },
    },
]


@given(st.integers(0, 2**32), st.sampled_from([*BOUNDED, calls_schema(TOOLS, most=3)]))
def test_instances_are_valid_for_their_schema(seed: int, schema: dict[str, Any]) -> None:
    made = instance(schema, Random(seed))
    assert list(Draft202012Validator(schema).iter_errors(made)) == []
    assert instance(schema, Random(seed)) == made


def asked(seed: int = 0, text: str | None = None, **fields: Any) -> Request:
    prompt = Prompt(TASK.messages)
    if text is not None:
        prompt = Prompt((TASK.messages[0], type(TASK.messages[1])("user", text)))
    return Request(prompt, fields.pop("sampling", Sampling()), seed, **fields)


@given(st.integers(0, 2**63))
def test_free_answers_call_a_tool_of_the_prompt(seed: int) -> None:
    (made,) = FakeEngine().generate([asked(seed)])
    (call,) = parse_calls(made.text).calls
    assert argument_faults(TASK.tools, call) == []


@pytest.mark.parametrize("form", ["quoted", "seed_first"])
def test_an_example_is_written_where_one_is_asked_for(form: Any) -> None:
    request = Request(asking(TASK, form), Sampling(), 3)
    written = json.loads(FakeEngine().generate([request])[0].text)
    assert list(Draft202012Validator(example_schema(TASK, 4)).iter_errors(written)) == []


def test_answers_depend_on_prompt_seed_and_adapter_and_on_nothing_else() -> None:
    engine = FakeEngine()
    jobs = LoraJobs().jobs()
    one, other = engine.train(jobs)
    plain = engine.generate([asked(1)])
    assert engine.generate([asked(1), asked(2)])[:1] == plain == FakeEngine().generate([asked(1)])
    changed = [asked(2), asked(1, text="Another."), asked(1, adapter=one), asked(1, adapter=other)]
    logprobs = {made.logprob for made in engine.generate([asked(1), *changed])}
    assert len(logprobs) == 5
    greedy = Sampling.greedy()
    assert (
        len({m.text for m in engine.generate([asked(s, sampling=greedy) for s in range(5)])}) == 1
    )
    assert one.training is not None
    assert len(one.training.losses) == 3 == len(one.training.learning_rates)
    assert one.digest != other.digest
    assert engine.train(jobs[:1])[0].digest == one.digest


class LoraJobs(FakeEngine):
    """Records the training jobs of lora_sft for the examples of two tasks."""

    def jobs(self) -> list[Any]:
        tasks = [sample.task for sample in SAMPLES[1:3]]
        examples = SelfGenerator().generate(tasks, self, 0)
        LoraSft().learn(tasks, examples, [None, None], self, 0)
        return self.asked[-2:]


def test_a_short_limit_cuts_the_text() -> None:
    (made,) = FakeEngine().generate([asked(sampling=Sampling(max_tokens=3))])
    assert (made.finish, made.completion_tokens, len(made.text)) == ("length", 3, 12)


def test_what_it_has_not_it_refuses_and_counts() -> None:
    engine = FakeEngine(capabilities=frozenset({"generate"}))
    for call in (
        lambda: engine.loglikelihoods([Prompt(TASK.messages)], [["a"]]),
        lambda: engine.generate([asked(grammar={"type": "boolean"})]),
        lambda: engine.train([]),
    ):
        with pytest.raises(EngineError, match="has not the capability"):
            call()
    assert engine.refused == ["loglikelihood", "grammar", "train"]
    assert engine.calls == {"loglikelihoods": 1, "generate": 1, "train": 1}
    assert engine.asked[0] == (Prompt(TASK.messages), ("a",))
    with pytest.raises(MissingAsset, match="no model 'other'"):
        FakeEngine({"id": "other"}).load()


def test_adapters_that_act_from_the_user_turn_are_a_capability() -> None:
    job = LoraJobs().jobs()[0]
    late = replace(job, recipe=replace(job.recipe, active_from="user_turn"))
    (adapter,) = FakeEngine().train([late])
    plain = FakeEngine(capabilities=frozenset({"generate", "adapters", "train"}))
    for ask in (lambda: plain.train([late]), lambda: plain.generate([asked(adapter=adapter)])):
        with pytest.raises(EngineError, match="'activated'"):
            ask()
    plain.generate([asked(adapter=plain.train([job])[0])])
    assert FakeEngine().generate([asked(adapter=adapter)])


def test_a_script_replaces_its_answers() -> None:
    engine = FakeEngine(script=lambda request: f"seed {request.seed}")
    assert [made.text for made in engine.generate([asked(4), asked(5)])] == ["seed 4", "seed 5"]


def test_a_whole_run_goes_through_the_fakes(
    ttsi_engine: FakeEngine, ttsi_benchmark: FakeBenchmark
) -> None:
    stages = Stages(RssMargin(), SelfGenerator(), LoraSft(), Direct(format="tool_calls"))
    samples = ttsi_benchmark.samples()
    waves = ScoredWaves(Pipeline(stages, ttsi_engine, seed=0), Exact(), 0)
    records: list[Record] = list(waves.run_wave(samples))
    waves.close()
    assert [record.error for record in records] == [""] * 6
    assert sum(record.adapted for record in records) >= 3
    assert {record.id for record in records} == {sample.id for sample in samples}
    assert ttsi_engine.calls["train"] == 1


def test_shared_state_is_told_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import random

    before = Shared()
    assert before.changes() == []
    monkeypatch.setenv("TTSI_TESTED", "1")
    random.random()
    assert before.changes() == ["the state of random", "the environment: TTSI_TESTED"]
    before.restore()
    assert before.changes() == []
    assert "TTSI_TESTED" not in os.environ
