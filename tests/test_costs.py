"""Costs are complete in spite of failures: after halvings and resumes, shares add up to the whole.

Each engine call takes one second of a clock that nothing else advances, so the whole is known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ttsi
import ttsi_fakes
from ttsi.errors import OutOfMemory
from ttsi.records.journal import read
from ttsi.results.metrics import summarise
from ttsi.running.waves import ScoredWaves
from ttsi.solving import metering
from ttsi.solving.costs import STAGES, add_costs
from ttsi.solving.pipeline import Pipeline, Stages
from ttsi.types import Generation, Record, Request, StageCost, TrainJob
from ttsi_fakes import ScriptedEngine, make_sample
from ttsi_plugins.estimators.self_consistency import SelfConsistency
from ttsi_plugins.generators.self_generator import SelfGenerator
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners.lora_sft import LoraSft
from ttsi_plugins.scorers.exact import Exact

SAMPLES = [make_sample(number) for number in range(6)]


@dataclass
class Whole:
    """All costs, counted where they arise."""

    seconds: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0


@dataclass
class Counted(ScriptedEngine):
    """Takes one second per call and counts its tokens; out of memory above `most` requests."""

    whole: Whole = field(default_factory=Whole)
    most: int = 10**6

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.whole.seconds += 1
        if len(requests) > self.most:
            raise OutOfMemory("too many")
        made = super().generate(requests)
        self.whole.prompt_tokens += sum(each.prompt_tokens for each in made)
        self.whole.completion_tokens += sum(each.completion_tokens for each in made)
        return made

    def train(self, jobs: Sequence[TrainJob]) -> Any:
        self.whole.seconds += 1
        made = super().train(jobs)
        self.whole.prompt_tokens += sum(each.training.tokens for each in made if each.training)
        return made


class Uncertain(SelfConsistency):
    """Asks the engine, and is always uncertain."""

    def estimate(self, *given: Any) -> Any:
        found = super().estimate(*given)
        return [type(each)(0.1, True) for each in found]


class Priced(SelfGenerator):
    """Charges half a dollar per task, outside the engine."""

    whole: Whole

    def generate(self, tasks: Any, *rest: Any) -> Any:
        for task in tasks:
            metering.charge(task.id, usd=0.5)
            self.whole.usd += 0.5
        return super().generate(tasks, *rest)


def failing(part: Any, method: str, fails: Callable[[Sequence[Any]], bool]) -> Any:
    """Return the part, changed so that it fails for these tasks after its work is done and paid."""
    work = getattr(part, method)

    def does(tasks: Sequence[Any], *rest: Any) -> Any:
        made = work(tasks, *rest)
        if fails(tasks):
            raise ValueError("no")
        return made

    return SimpleNamespace(needs=part.needs, needs_base=getattr(part, "needs_base", False),
                           **{method: does})  # fmt: skip


def waves(engine: Counted, monkeypatch: pytest.MonkeyPatch, **failures: Any) -> ScoredWaves:
    clock = SimpleNamespace(perf_counter=lambda: engine.whole.seconds)
    monkeypatch.setattr("ttsi.solving.pipeline.time", clock)
    priced = Priced()
    object.__setattr__(priced, "whole", engine.whole)
    parts = {
        "estimator": (Uncertain(), "estimate"),
        "generator": (priced, "generate"),
        "learner": (LoraSft(), "learn"),
        "inference": (Direct(decoding="greedy"), "answer"),
    }
    made = {
        role: failing(part, method, failures[role]) if role in failures else part
        for role, (part, method) in parts.items()
    }
    return ScoredWaves(Pipeline(Stages(**made), engine, seed=7), Exact(), seed=7)


def total(records: Sequence[Record]) -> StageCost:
    return sum((cost for record in records for cost in record.costs.values()), StageCost())


def assert_adds_up(records: Sequence[Record], whole: Whole) -> None:
    found = total(records)
    assert found.seconds == pytest.approx(whole.seconds)
    assert found.prompt_tokens == pytest.approx(whole.prompt_tokens)
    assert found.completion_tokens == pytest.approx(whole.completion_tokens)
    assert found.usd == pytest.approx(whole.usd)
    stages = summarise(records)["stages"]
    assert stages["seconds"] == pytest.approx(whole.seconds)
    assert stages["usd"] == pytest.approx(whole.usd)


WAVES_FAIL: dict[str, Callable[[Sequence[Any]], bool]] = {
    "in company": lambda tasks: len(tasks) > 1,
    "with one sample": lambda tasks: any(task.id == "rows/3" for task in tasks),
    "always": lambda tasks: True,
    "never": lambda tasks: False,
}


@pytest.mark.parametrize("when", WAVES_FAIL)
@pytest.mark.parametrize("role", ["estimator", "inference", "generator", "learner"])
def test_shares_add_up_to_all_that_was_spent(
    role: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Counted()
    records = list(waves(engine, monkeypatch, **{role: WAVES_FAIL[when]}).run_wave(SAMPLES))
    assert sorted(record.id for record in records) == [sample.id for sample in SAMPLES]
    errors = {"always": 6, "with one sample": 1}.get(when, 0)
    assert sum(bool(record.error) for record in records) == errors
    assert_adds_up(records, engine.whole)
    if errors:
        failed = next(record for record in records if record.error)
        assert failed.costs["estimate"].seconds > 0


@pytest.mark.parametrize("most", [1, 2, 4])
def test_a_wave_that_is_halved_for_memory_has_spent(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Counted(most=5 * most)  # the estimator draws five answers a task
    records = list(waves(engine, monkeypatch).run_wave(SAMPLES))
    assert not any(record.error for record in records)
    assert_adds_up(records, engine.whole)
    whole = Counted()
    list(waves(whole, monkeypatch).run_wave(SAMPLES))
    assert engine.whole.seconds > whole.whole.seconds


def test_seconds_for_each_uncertain_sample_are_shared_by_those_that_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fails = WAVES_FAIL["with one sample"]
    records = list(waves(Counted(), monkeypatch, learner=fails).run_wave(SAMPLES))
    stages = summarise(records)["stages"]
    adapting = sum(stages["by_stage"][each]["seconds"] for each in ("generate", "learn", "adapted"))
    assert stages["seconds_per_uncertain_sample"] == pytest.approx(adapting / 6)


def test_costs_are_added_by_stage_in_the_order_of_the_stages() -> None:
    one, two = {"learn": StageCost(1), "estimate": StageCost(2)}, {"learn": StageCost(3, usd=1)}
    assert add_costs(one, two) == {"estimate": StageCost(2), "learn": StageCost(4, usd=1)}
    assert list(add_costs(one, two)) == ["estimate", "learn"]
    assert add_costs() == {}


# ---------------------------------------------------------------- through resumes


def spec(**changed: Any) -> dict[str, Any]:
    return {
        "name": "costly",
        "model": {"id": "scripted"},
        "engine": "ttsi-fakes/scripted",
        "benchmark": {"name": "ttsi-fakes/rows", "rows": 6},
        "estimator": "rss_margin",
        "inference": {"name": "direct", "decoding": "greedy"},
        "executor": {"name": "local", "wave": 4},
    } | changed


def _texts(given: Sequence[Any]) -> list[str]:
    """Return the texts that the engine is asked about City3."""
    prompts = [getattr(each, "prompt", each) for each in given]
    return [text for p in prompts if "City3?" in (text := p.messages[-1].content)]


STAGES_FAIL: dict[str, Callable[[str, Sequence[Any]], bool]] = {
    "estimate": lambda name, given: name == "loglikelihoods" and bool(_texts(given)),
    "answer": lambda name, given: (
        name == "generate" and any(ttsi_fakes.WRITING not in text for text in _texts(given))
    ),
    "generate": lambda name, given: (
        name == "generate" and any(ttsi_fakes.WRITING in text for text in _texts(given))
    ),
    "adapted": lambda name, given: (
        name == "generate" and bool(_texts([each for each in given if each.adapter is not None]))
    ),
}


@pytest.mark.parametrize(
    ("stage", "budget"),
    # Under a budget of a half, a sample that can be estimated again changes who is adapted to.
    [*product(STAGES_FAIL, (None, 0.9, 1.0)), ("estimate", 0.5), ("answer", 0.5)],
)
def test_what_errors_cost_is_carried_into_the_record_that_counts(
    stage: str, budget: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run fails three times with one sample, and then succeeds."""
    whole = Whole()
    fails = STAGES_FAIL[stage]
    works = {name: getattr(ScriptedEngine, name) for name in ("loglikelihoods", "generate")}
    failing_now = True

    def of(name: str) -> Callable[..., Any]:
        def does(self: Any, given: Any, *rest: Any) -> Any:
            whole.seconds += 1
            if failing_now and fails(name, given):
                raise ValueError("no")
            return works[name](self, given, *rest)

        return does

    for name in works:
        monkeypatch.setattr(ScriptedEngine, name, of(name))
    monkeypatch.setattr(
        "ttsi.solving.pipeline.time", SimpleNamespace(perf_counter=lambda: whole.seconds)
    )
    document = spec(budget=budget) | {"estimator": {"name": "rss_margin", "threshold": 1.0}}
    before = 0.0
    for attempt in range(4):
        failing_now = attempt < 3
        (cell,) = ttsi.evaluate(document, out=tmp_path)
        assert cell.errors == int(failing_now)
        records = list(read(cell.folder / "seed-0" / "samples.jsonl"))
        assert before < total(records).seconds == pytest.approx(whole.seconds), attempt
        before = whole.seconds
        stages = json.loads((cell.folder / "seed-0" / "results.json").read_text())["stages"]
        assert stages["seconds"] == pytest.approx(whole.seconds)
    assert set().union(*(record.costs for record in records)) <= set(STAGES)


def test_a_fresh_run_has_cost_nothing_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Whole()
    generate = ScriptedEngine.generate

    def fails(self: Any, requests: Any) -> Any:
        whole.seconds += 1
        raise ValueError("no")

    monkeypatch.setattr(
        "ttsi.solving.pipeline.time", SimpleNamespace(perf_counter=lambda: whole.seconds)
    )
    with monkeypatch.context() as patch:
        patch.setattr(ScriptedEngine, "generate", fails)
        (cell,) = ttsi.evaluate(spec(), out=tmp_path)
    assert cell.errors == 6
    assert cell.seeds[0]["stages"]["seconds"] == whole.seconds > 0
    assert ScriptedEngine.generate is generate
    (cell,) = ttsi.evaluate(spec(), out=tmp_path, fresh=True)
    assert cell.seeds[0]["stages"]["seconds"] == 0


def test_a_workers_death_leaves_the_costs_of_what_was_known(tmp_path: Path) -> None:
    from ttsi.running.assembly import Assembly
    from ttsi.spec import load_spec

    known = Record("rows/1", "", 0, costs={"estimate": StageCost(2.0)})
    (loaded,) = load_spec(spec())
    record = Assembly(loaded, 0, {"rows/1": known}).failed(ttsi_fakes.make_sample(1), "died")
    assert record.costs == {"estimate": StageCost(2.0)}
    assert Assembly(loaded, 0).failed(ttsi_fakes.make_sample(1), "died").costs == {}
