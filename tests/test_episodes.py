"""Episodes: environments played step by step and in lockstep, one record for each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import ttsi
from ttsi import Adapter, Estimate, Record, Request, Rivals, Score, Task, TrainJob, Verdict
from ttsi.records.lines import from_json, to_json
from ttsi.running.waves import ScoredWaves
from ttsi.solving.pipeline import Pipeline, Stages
from ttsi.spec import Episodes, load_spec, resolved, validate
from ttsi_fakes import ScriptedEngine, default_script, make_journey, make_sample
from ttsi_plugins.estimators.constant import Always, Never
from ttsi_plugins.generators.self_generator import SelfGenerator
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners.icl import InContext
from ttsi_plugins.learners.lora_sft import LoraSft
from ttsi_plugins.scorers.exact import Exact

FIRST = Episodes(estimate_at="first_of_turn")
TURN = Episodes(keep="turn")


@dataclass(frozen=True)
class Doubts:
    """An estimator that is uncertain about the weather in these cities."""

    cities: tuple[str, ...]
    needs: frozenset[Any] = frozenset()

    def estimate(self, tasks: Sequence[Task], engine: Any, seed: int) -> list[Estimate]:
        return [Estimate(0.5, any(city in task.input for city in self.cities)) for task in tasks]


def played(
    *samples: Any,
    engine: ScriptedEngine | None = None,
    estimator: Any = None,
    learner: Any = None,
    inference: Any = None,
    **options: Any,
) -> list[Record]:
    stages = Stages(
        estimator or Always(), SelfGenerator(), learner or LoraSft(), inference or Direct()
    )
    pipeline = Pipeline(stages, engine or ScriptedEngine(), seed=3)
    made = ScoredWaves(pipeline, Exact(), 3, **options).run_wave(samples)
    return [each for each in made if isinstance(each, Record)]


def test_an_episode_is_one_record_with_its_steps() -> None:
    (record,) = played(make_journey("a", "City2", "City4", "City6"))
    assert record.id == "journeys/a"
    assert [step.said[-1].content[-6:-1] for step in record.steps] == ["City2", "City4", "City6"]
    assert all(step.adapted and step.receipt and step.examples for step in record.steps)
    assert record.final == record.steps[-1].answer
    assert (record.final_score, record.base_score) == (Score(True), Score(True))
    assert record.adapted
    assert set(record.costs) == {"estimate", "answer", "generate", "learn", "adapted"}


def test_the_base_model_alone_plays_the_episode_again() -> None:
    (record,) = played(make_journey("a", "City2", "City3"))
    assert record.final_score == Score(True)
    assert record.base_score == Score(False, "wrong_name", "get_weather get_time")
    (alone,) = played(make_journey("a", "City2", "City3"), baseline=False)
    assert (alone.base_score, alone.base) == (None, None)
    assert alone.final_score == Score(True)


def test_what_nothing_is_adapted_for_has_one_score_for_both() -> None:
    (record,) = played(make_journey("a", "City2", "City3"), estimator=Never())
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
        make_journey("a", "City2", "City4", "City6"),
        make_journey("b", "City8"),
        make_journey("c", "City2", "City4"),
        engine=Counting(),
    )
    assert waves == [3, 2, 1]
    assert sorted(record.id for record in records) == ["journeys/a", "journeys/b", "journeys/c"]
    assert [len(record.steps) for record in sorted(records, key=lambda r: r.id)] == [3, 1, 2]


def test_episodes_and_samples_can_share_a_wave() -> None:
    records = played(make_sample(1), make_journey("a", "City2"), make_sample(2))
    assert {record.id: len(record.steps) for record in records} == {
        "rows/1": 0,
        "rows/2": 0,
        "journeys/a": 1,
    }


def test_a_turn_is_estimated_at_its_first_step_if_the_spec_says_so() -> None:
    (record,) = played(make_journey("a", "City2", "City4"), rules=FIRST)
    assert [step.adapted for step in record.steps] == [True, False]
    assert [step.estimate for step in record.steps] == [Estimate(0.0, True), None]
    (every,) = played(make_journey("a", "City2", "City4"))
    assert [step.adapted for step in every.steps] == [True, True]


RULES = [
    Episodes(estimate_at="every_step", keep="step"),
    Episodes(estimate_at="first_of_turn", keep="step"),
    Episodes(estimate_at="every_step", keep="turn"),
    Episodes(estimate_at="first_of_turn", keep="turn"),
]


@pytest.mark.parametrize(
    ("doubted", "told"),
    [
        # "A": adapted anew; "k": under a kept adaptation; "b": the base model, H asked; ".": not.
        ("2468", ("AAAA", "A.A.", "AkAk", "AkAk")),
        ("48", ("bAbA", "b.b.", "bAbA", "b.b.")),
        ("2", ("Abbb", "A.b.", "Akbb", "Akb.")),
        ("", ("bbbb", "b.b.", "bbbb", "b.b.")),
    ],
)
def test_how_a_step_is_answered(doubted: str, told: Sequence[str]) -> None:
    journey = make_journey("a", "City2", "City4", "!City6", "City8")
    doubts = Doubts(tuple(f"City{digit}" for digit in doubted))
    found = []
    for rules in RULES:
        (record,) = played(journey, estimator=doubts, rules=rules)
        assert record.adapted == any(step.adapted for step in record.steps)
        found.append("".join(map(_how, record.steps)))
    assert tuple(found) == tuple(told)


def _how(step: ttsi.Step) -> str:
    """Return one letter for a step, after checking that its parts agree."""
    assert (step.receipt is None) == (step.examples == ())
    if step.receipt is not None:
        assert step.estimate is not None
        return "A"
    if step.adapted:
        assert step.estimate is None
        return "k"
    return "b" if step.estimate is not None else "."


@pytest.mark.parametrize("learner", [LoraSft(), InContext()])
def test_a_kept_adaptation_is_the_one_that_was_made(learner: Any) -> None:
    engine = ScriptedEngine()
    journey = make_journey("a", "City2", "City4", "City6", "!City8")
    played(journey, engine=engine, learner=learner, rules=TURN, baseline=False)
    jobs = [asked for asked in engine.asked if isinstance(asked, TrainJob)]
    assert len(jobs) == (2 if isinstance(learner, LoraSft) else 0)
    under: dict[str, list[Any]] = {}
    for asked in engine.asked:
        if isinstance(asked, Request):
            _system, *shown, _question = asked.prompt.messages
            adaptation = asked.adapter or tuple(turn for turn in shown if "Town" in turn.content)
            under.setdefault(asked.prompt.messages[-1].content[-6:-1], []).append(adaptation)
    # Requests for examples end otherwise than tasks, whose last word is the city.
    made = under["City2"][-1]
    assert made
    assert under["City4"] == under["City6"] == [made]
    assert under["City8"][-1] not in ((), made)


def test_a_kept_adaptation_costs_an_answer_and_nothing_else() -> None:
    (once,) = played(make_journey("a", "City2"), rules=TURN, baseline=False)
    (twice,) = played(make_journey("a", "City2", "City4"), rules=TURN, baseline=False)
    assert set(twice.costs) == set(once.costs)
    for stage in ("answer", "generate", "learn"):
        assert twice.costs[stage].prompt_tokens == once.costs[stage].prompt_tokens > 0
    assert twice.costs["adapted"].prompt_tokens == 2 * once.costs["adapted"].prompt_tokens


@dataclass(frozen=True)
class Refuses(Direct):
    """A gate that keeps the base answer in City2."""

    judged: list[str] = field(default_factory=list)

    def judge(self, rivals: Sequence[Rivals], engine: Any, seed: int) -> list[Verdict | None]:
        self.judged.extend(each.task.input[-6:-1] for each in rivals)
        return [Verdict("City2" not in each.task.input, "city", 0.5, 0.5) for each in rivals]


def test_a_gate_chooses_where_an_adaptation_is_made() -> None:
    gate = Refuses()
    journey = make_journey("a", "City2", "City4", "City6")
    (record,) = played(journey, inference=gate, rules=TURN)
    assert gate.judged == ["City2", "City4"]
    assert [step.adapted for step in record.steps] == [False, True, True]
    gates = [step.receipt and step.receipt["gate"]["kept"] for step in record.steps]
    assert gates == [False, True, None]


def test_a_step_that_fails_under_a_kept_adaptation_costs_its_episode() -> None:
    def script(request: Request) -> str:
        if "City4" in request.prompt.messages[-1].content:
            raise RuntimeError("out of words")
        return default_script(request)

    journeys = [
        make_journey(name, "City2", city) for name, city in (("a", "City4"), ("b", "City6"))
    ]
    records = played(*journeys, engine=ScriptedEngine(script=script), rules=TURN)
    assert {record.id: record.error for record in records} == {
        "journeys/a": "adapted: RuntimeError: out of words",
        "journeys/b": "",
    }


@pytest.mark.parametrize(
    ("limits", "steps", "note"),
    [
        # Each answer of the scripted engine has 15 tokens, its prompt included.
        ({"most_steps": 2}, 2, "ended by most_steps (2)"),
        ({"most_steps": 4}, 4, ""),
        ({"most_tokens": 30}, 2, "ended by most_tokens (30)"),
        ({"most_tokens": 31}, 3, "ended by most_tokens (31)"),
        ({"most_tokens": 60}, 4, ""),
        ({"most_seconds": 1e-9}, 1, "ended by most_seconds (1e-09)"),
        ({"most_seconds": 1e9}, 4, ""),
        ({"most_steps": 3, "most_tokens": 20}, 2, "ended by most_tokens (20)"),
        ({"most_steps": 3, "keep": "turn"}, 3, "ended by most_steps (3)"),
    ],
)
def test_an_episode_ends_at_a_limit(limits: dict[str, Any], steps: int, note: str) -> None:
    journey = make_journey("a", "City2", "City4", "!City6", "City8")
    others = [make_journey("b", "City2"), make_journey("c", "City2", "City4", "City6")]
    records = {each.id: each for each in played(journey, *others, rules=Episodes(**limits))}
    record = records["journeys/a"]
    assert len(record.steps) == steps
    assert record.final_score is not None
    assert record.final_score == record.base_score
    assert record.final_score.correct == (not note)
    assert record.note == (note and f"{note}; the base model alone: {note}")
    assert records["journeys/b"].note == ""
    (sure,) = played(journey, estimator=Never(), rules=Episodes(**limits))
    assert (len(sure.steps), sure.note) == (steps, note)


def test_the_base_models_play_may_reach_a_limit_alone() -> None:
    insists = make_journey("a", "City3", "City2", insists=True)
    (record,) = played(insists, rules=Episodes(most_steps=5))
    assert (record.final_score, len(record.steps)) == (Score(True), 2)
    assert record.base_score == Score(False, "wrong_name", "")
    assert record.note == "the base model alone: ended by most_steps (5)"


def test_no_adaptation_outlives_its_solution_in_a_solver() -> None:
    document = {
        "model": {"id": "scripted"},
        "engine": "ttsi-fakes/scripted",
        "estimator": "always",
    }
    with ttsi.Solver(document) as solver:
        (solution,) = solver.solve([make_sample(1).task])
    assert solution.adapted is not None
    assert solution.adaptation is None
    pipeline = Pipeline(
        Stages(Always(), SelfGenerator(), LoraSft(), Direct()), ScriptedEngine(), seed=3
    )
    (solution,) = pipeline.solve([make_sample(1).task])
    assert isinstance(solution.adaptation, Adapter)


def test_the_spec_says_how_episodes_are_played() -> None:
    spec: dict[str, Any] = {"benchmark": "ttsi-fakes/journeys"}
    (plain,) = load_spec(spec)
    assert plain.episodes == Episodes()
    assert "episodes" not in resolved(plain)
    (kept,) = load_spec(spec, {"episodes.keep": "turn"})
    assert kept.episodes == TURN
    assert kept.digest != plain.digest
    (again,) = load_spec({**resolved(kept)})
    assert (again.episodes, again.digest) == (kept.episodes, kept.digest)
    grid = load_spec({**spec, "matrix": {"/episodes/keep": ["step", "turn"]}})
    assert [cell.episodes for cell in grid] == [Episodes(), TURN]


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"estimate_at": "every_step"}, "/estimate_at"),
        ({"episodes": None}, "/episodes"),
        ({"episodes": {"keep": "episode"}}, "/episodes/keep"),
        ({"episodes": {"most_steps": 0}}, "/episodes/most_steps"),
        ({"episodes": {"most_tokens": 1.5}}, "/episodes/most_tokens"),
        ({"episodes": {"most_seconds": 0}}, "/episodes/most_seconds"),
        ({"episodes": {"estimate": "every_step"}}, "/episodes/estimate"),
    ],
)
def test_faults_of_episodes_are_told(wrong: dict[str, Any], pointer: str) -> None:
    problems = validate({"benchmark": "ttsi-fakes/journeys", **wrong})
    assert [problem.pointer for problem in problems] == [pointer]


def test_each_step_draws_its_own_numbers() -> None:
    engine = ScriptedEngine()
    played(make_journey("a", "City2", "City2"), engine=engine, estimator=Never())
    seeds = [asked.seed for asked in engine.asked if isinstance(asked, Request)]
    assert len(set(seeds)) == 2


def test_a_failing_step_costs_its_episode_and_no_other() -> None:
    def script(request: Request) -> str:
        if "City4" in request.prompt.messages[-1].content:
            raise RuntimeError("out of words")
        return default_script(request)

    records = played(
        make_journey("a", "City2", "City4"),
        make_journey("b", "City2", "City6"),
        *(make_journey(name, "City8", broken=name) for name in ("start", "step", "score")),
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
    (record,) = played(make_journey("a", "City2", "City3"))
    again = from_json(json.loads(json.dumps(to_json(record))))
    assert [step.answer for step in again.steps] == [step.answer for step in record.steps]
    assert to_json(again) == to_json(record)


def test_a_run_of_episodes_ends_like_any_other(tmp_path: Path) -> None:
    (cell,) = ttsi.evaluate(
        {
            "name": "journeys",
            "model": {"id": "scripted"},
            "engine": "ttsi-fakes/scripted",
            "benchmark": "ttsi-fakes/journeys",
            "estimator": "always",
        },
        out=tmp_path,
    )
    assert (cell.summary["accuracy"]["mean"], cell.errors) == (1.0, 0)
    results = json.loads((cell.folder / "seed-0" / "results.json").read_text())
    assert results["base"]["correct"] == 3
