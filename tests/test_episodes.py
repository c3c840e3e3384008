"""Episodes: environments played step by step and in lockstep, one record for each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ttsi import (
    Completion,
    Estimate,
    Message,
    Record,
    Request,
    Sample,
    Score,
    Task,
    calls_in,
)
from ttsi.records.lines import from_json, to_json
from ttsi.running.waves import ScoredWaves
from ttsi.solving.pipeline import Pipeline, Stages
from ttsi_fakes import ScriptedEngine, default_script, make_sample
from ttsi_plugins.estimators.constant import Always, Never
from ttsi_plugins.generators.self_generator import SelfGenerator
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners.lora_sft import LoraSft
from ttsi_plugins.scorers.exact import Exact


@dataclass
class Journey:
    """Asks for the weather in one city after another; each answer determines what comes next.

    A user names the first city, results of tools name the others. The episode is right if every
    call was.
    """

    cities: tuple[str, ...]
    broken: str = ""
    said: list[str] = field(default_factory=list)

    def start(self) -> Task:
        self._breaks("start")
        return self._task()

    def step(self, completion: Completion) -> Task | None:
        self._breaks("step")
        self.said.append(calls_in(completion.answer)[0].name)
        return self._task() if len(self.said) < len(self.cities) else None

    def score(self) -> Score:
        self._breaks("score")
        right = self.said == ["get_weather"] * len(self.cities)
        return Score(True) if right else Score(False, "wrong_name", " ".join(self.said))

    def _breaks(self, method: str) -> None:
        if self.broken == method:
            raise ValueError("the environment fell over")

    def _task(self) -> Task:
        task = make_sample(0, self.cities[len(self.said)]).task
        if not self.said:
            return task
        past = (Message("user", "Where to?"), Message("assistant", f"to {self.said[-1]}"))
        return replace(task, turns=(*past, Message("tool", task.input)))


def sample(name: str, *cities: str, **options: Any) -> Sample:
    """Return an episode; an even last digit: the base model is right, odd: only if adapted."""
    first = make_sample(0, cities[0])
    task = replace(first.task, id=f"journeys/{name}")
    return Sample(task, first.reference, partial(Journey, cities, **options))


def played(
    *samples: Sample, engine: ScriptedEngine | None = None, estimator: Any = None, **options: Any
) -> list[Record]:
    stages = Stages(estimator or Always(), SelfGenerator(), LoraSft(), Direct())
    pipeline = Pipeline(stages, engine or ScriptedEngine(), seed=3)
    return list(ScoredWaves(pipeline, Exact(), 3, **options).run_wave(samples))


def test_an_episode_is_one_record_with_its_steps() -> None:
    (record,) = played(sample("a", "City2", "City4", "City6"))
    assert record.id == "journeys/a"
    assert [step.input[-6:-1] for step in record.steps] == ["City2", "City4", "City6"]
    assert all(step.adapted and step.receipt and step.examples for step in record.steps)
    assert record.final == record.steps[-1].answer
    assert (record.final_score, record.base_score) == (Score(True), Score(True))
    assert record.adapted
    assert set(record.costs) == {"estimate", "answer", "generate", "learn", "adapted"}


def test_the_base_model_alone_plays_the_episode_again() -> None:
    (record,) = played(sample("a", "City2", "City3"))
    assert record.final_score == Score(True)
    assert record.base_score == Score(False, "wrong_name", "get_weather get_time")
    (alone,) = played(sample("a", "City2", "City3"), baseline=False)
    assert (alone.base_score, alone.base) == (None, None)
    assert alone.final_score == Score(True)


def test_what_nothing_is_adapted_for_has_one_score_for_both() -> None:
    (record,) = played(sample("a", "City2", "City3"), estimator=Never())
    assert not record.adapted
    assert (
        record.base_score
        == record.final_score
        == Score(False, "wrong_name", "get_weather get_time")
    )
    assert len(record.steps) == 2


def test_episodes_of_a_wave_advance_together() -> None:
    waves: list[int] = []

    class Counting(ScriptedEngine):
        def train(self, jobs: Any) -> Any:
            waves.append(len(jobs))
            return super().train(jobs)

    records = played(
        sample("a", "City2", "City4", "City6"),
        sample("b", "City8"),
        sample("c", "City2", "City4"),
        engine=Counting(),
    )
    assert waves == [3, 2, 1]
    assert sorted(record.id for record in records) == ["journeys/a", "journeys/b", "journeys/c"]
    assert [len(record.steps) for record in sorted(records, key=lambda r: r.id)] == [3, 1, 2]


def test_episodes_and_samples_can_share_a_wave() -> None:
    records = played(make_sample(1), sample("a", "City2"), make_sample(2))
    assert {record.id: len(record.steps) for record in records} == {
        "rows/1": 0,
        "rows/2": 0,
        "journeys/a": 1,
    }


def test_a_turn_is_estimated_at_its_first_step_if_the_spec_says_so() -> None:
    (record,) = played(sample("a", "City2", "City4"), estimate_at="first_of_turn")
    assert [step.adapted for step in record.steps] == [True, False]
    assert record.steps[1].estimate == Estimate(1.0, False)
    (every,) = played(sample("a", "City2", "City4"))
    assert [step.adapted for step in every.steps] == [True, True]


def test_each_step_draws_its_own_numbers() -> None:
    engine = ScriptedEngine()
    played(sample("a", "City2", "City2"), engine=engine, estimator=Never())
    seeds = [asked.seed for asked in engine.asked if isinstance(asked, Request)]
    assert len(set(seeds)) == 2


def test_a_failing_step_costs_its_episode_and_no_other() -> None:
    def script(request: Request) -> str:
        if "City4" in request.prompt.messages[-1].content:
            raise RuntimeError("out of words")
        return default_script(request)

    records = played(
        sample("a", "City2", "City4"),
        sample("b", "City2", "City6"),
        *(sample(name, "City8", broken=name) for name in ("start", "step", "score")),
        engine=ScriptedEngine(script=script),
    )
    told = {record.id: record.error for record in records}
    assert told["journeys/b"] == ""
    assert "out of words" in told["journeys/a"]
    for method in ("start", "step", "score"):
        assert told[f"journeys/{method}"] == "episode: ValueError: the environment fell over"
    assert all(record.costs for record in records if record.id != "journeys/start")
    assert all(record.final is None for record in records if record.error)


def test_a_record_with_steps_survives_the_file() -> None:
    (record,) = played(sample("a", "City2", "City3"))
    again = from_json(json.loads(json.dumps(to_json(record))))
    assert [step.answer for step in again.steps] == [step.answer for step in record.steps]
    assert to_json(again) == to_json(record)


@dataclass(frozen=True)
class Journeys:
    """A benchmark of episodes."""

    scoring = {}  # noqa: RUF012

    def samples(self) -> Iterator[Sample]:
        yield sample("a", "City2", "City4")
        yield sample("b", "City2", "City3")

    def revision(self) -> str:
        return "sha256:" + "0" * 64


def test_a_run_of_episodes_ends_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ttsi
    from ttsi.solving import assemble

    monkeypatch.setattr(assemble, "benchmark", lambda spec: Journeys())
    (cell,) = ttsi.evaluate(
        {
            "name": "journeys",
            "model": {"id": "scripted"},
            "engine": "ttsi-fakes/scripted",
            "benchmark": "ttsi-fakes/rows",
            "estimator": "always",
        },
        out=tmp_path,
    )
    assert (cell.summary["accuracy"]["mean"], cell.errors) == (1.0, 0)
    results = json.loads((cell.folder / "seed-0" / "results.json").read_text())
    assert results["base"]["correct"] == 1
