"""Episodes that are stopped and go on: whatever the cut, the record is the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import ttsi
from ttsi import Played, Record, Sample
from ttsi.errors import CorruptAsset, RunError
from ttsi.records.journal import STEPS, read
from ttsi.records.lines import played_to_json, to_json
from ttsi.records.steps import Steps
from ttsi.running.evaluate import estimates
from ttsi.running.waves import ScoredWaves
from ttsi.solving.pipeline import Pipeline, Stages
from ttsi.spec import Episodes
from ttsi_fakes import ScriptedEngine, make_journey
from ttsi_plugins.estimators.rss_margin import RssMargin
from ttsi_plugins.generators.self_generator import SelfGenerator
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners.lora_sft import LoraSft
from ttsi_plugins.scorers.exact import Exact

TESTS = Path(__file__).resolve().parent
RULES = [
    Episodes(),
    Episodes(estimate_at="first_of_turn"),
    Episodes(keep="turn"),
    Episodes(keep="turn", estimate_at="first_of_turn", most_steps=3),
    Episodes(most_tokens=45),
]
JOURNEYS = [
    make_journey("a", "City2", "City3", "!City5", "City8"),
    make_journey("b", "City31", "!City7"),
    make_journey("c", "City4", "City6", "City9"),
]


def begun(
    samples: Sequence[Sample],
    rules: Episodes,
    played: Mapping[str, Sequence[Played]],
    engine: ScriptedEngine | None = None,
    threshold: float = 0.7,
) -> Any:
    """Return what a run yields; half of the steps or so are uncertain, unless all are."""
    stages = Stages(RssMargin(threshold=threshold), SelfGenerator(), LoraSft(), Direct())
    pipeline = Pipeline(stages, engine or ScriptedEngine(), seed=3)
    return ScoredWaves(pipeline, Exact(), 3, rules=rules, played=played).run_wave(samples)


def untimed(made: Sequence[Any]) -> dict[str, Record]:
    """Return the records by id, without costs."""
    return {each.id: replace(each, costs={}) for each in made if isinstance(each, Record)}


def resumed(folder: Path, rules: Episodes, *cuts: int) -> dict[str, Record]:
    """Return the records of runs that were stopped after `cuts` steps and records."""
    done: dict[str, Record] = {}
    for cut in (*cuts, None):
        pending = [sample for sample in JOURNEYS if sample.id not in done]
        with Steps(folder) as steps:
            for made in islice(begun(pending, rules, steps.of(pending)), cut):
                if isinstance(made, Played):
                    steps.append(made)
                else:
                    done |= untimed([made])
    return done


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_any_cut_gives_the_same_record(rules: Episodes, tmp_path: Path) -> None:
    made = list(begun(JOURNEYS, rules, {}))
    whole = untimed(made)
    assert any(record.adapted for record in whole.values())
    for cut in range(len(made)):
        assert _sound(resumed(tmp_path / f"{cut}", rules, cut)) == _sound(whole), cut
        twice = resumed(tmp_path / f"{cut}-3", rules, cut, 3)
        assert _sound(twice) == _sound(whole), cut


def _sound(records: Mapping[str, Record]) -> dict[str, Any]:
    """Return the records as JSON, in which the tasks of examples have no prompts."""
    return {name: to_json(records[name]) for name in sorted(records)}


@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize("threshold", [0.7, 1.0])
def test_nothing_is_asked_twice(rules: Episodes, threshold: float) -> None:
    """A step under an adaptation that died with the process is the exception."""
    journey = JOURNEYS[0]
    whole = ScriptedEngine()
    made = list(begun([journey], rules, {}, whole, threshold))
    for cut in range(1, len(made)):
        first, second = ScriptedEngine(), ScriptedEngine()
        steps = list(islice(begun([journey], rules, {}, first, threshold), cut))
        list(begun([journey], rules, {journey.id: steps}, second, threshold))
        asked = len(first.asked) + len(second.asked)
        assert asked > len(whole.asked) if steps[-1].kept else asked == len(whole.asked)


def test_costs_of_steps_that_were_played_before_are_in_the_record() -> None:
    journey = make_journey("a", "City2", "City3")
    whole = list(begun([journey], Episodes(), {}, threshold=1.0))
    *_, record = begun([journey], Episodes(), {journey.id: whole[:1]}, threshold=1.0)
    for stage, cost in whole[-1].costs.items():
        assert record.costs[stage].completion_tokens == cost.completion_tokens
        assert record.costs[stage].prompt_tokens == cost.prompt_tokens


def test_an_environment_that_shows_something_else_is_played_anew() -> None:
    before = make_journey("a", "City2", "City4", "City6")
    after = make_journey("a", "City2", "City3", "City6")
    steps = list(islice(begun([before], Episodes(), {}, threshold=1.0), 3))
    engine = ScriptedEngine()
    made = list(begun([after], Episodes(), {before.id: steps}, engine, threshold=1.0))
    whole = list(begun([after], Episodes(), {}, threshold=1.0))
    assert _sound(untimed(made)) == _sound(untimed(whole))
    assert [step.number for step in made if isinstance(step, Played) and not step.alone] == [1, 2]


# ---------------------------------------------------------------- the file


def test_steps_are_read_as_they_were_written(tmp_path: Path) -> None:
    made = list(begun(JOURNEYS, Episodes(keep="turn"), {}, threshold=1.0))
    with Steps(tmp_path) as steps:
        assert steps.of(JOURNEYS) == {}
        assert not (tmp_path / STEPS).exists()
        for step in made:
            if isinstance(step, Played):
                steps.append(step)
    with Steps(tmp_path) as steps:
        found = steps.of(JOURNEYS)
        for name, some in found.items():
            written = [step for step in made if isinstance(step, Played) and step.id == name]
            written.sort(key=lambda step: (step.alone, step.number))
            assert list(map(played_to_json, some)) == list(map(played_to_json, written))
        assert found.keys() == {"journeys/a", "journeys/b", "journeys/c"}
        assert steps.of(JOURNEYS[:1]).keys() == {"journeys/a"}
        steps.remove()
    assert not (tmp_path / STEPS).exists()


def _numbers(steps: Steps, *samples: Sample) -> list[int]:
    return [step.number for some in steps.of(samples).values() for step in some]


def test_which_steps_count(tmp_path: Path) -> None:
    journey = JOURNEYS[0]
    made = list(begun([journey], Episodes(), {}, threshold=1.0))
    first, second, third = (step for step in made[:3] if isinstance(step, Played))
    with Steps(tmp_path) as steps:
        for step in (first, second, third):
            steps.append(step)
        assert _numbers(steps, journey) == [0, 1, 2]
        # A step that was played anew replaces those after it.
        steps.append(second)
        assert _numbers(steps, journey) == [0, 1]
        # One whose predecessor is missing is of no use.
        steps.append(replace(third, number=5))
        assert _numbers(steps, journey) == [0, 1]
        assert _numbers(steps, JOURNEYS[1]) == []
        assert _numbers(steps, replace(journey, reference=JOURNEYS[1].reference)) == []
        # The record of an error has the costs of its steps, and is tried again from the beginning.
        steps.drop(journey.id)
        assert _numbers(steps, journey) == []
        steps.append(first)
        assert _numbers(steps, journey) == [0]
    with (tmp_path / STEPS).open("ab") as file:
        file.write(b'{"id": "journeys/a", "torn')
    with Steps(tmp_path) as steps:
        assert _numbers(steps, journey) == [0]
    with (tmp_path / STEPS).open("ab") as file:
        file.write(b'{"id": "journeys/a"}\n')
    with Steps(tmp_path) as steps, pytest.raises(CorruptAsset, match="Line 8 "):
        steps.of([journey])


# ---------------------------------------------------------------- runs


def spec(**engine: Any) -> dict[str, Any]:
    return {
        "name": "journeys",
        "model": {"id": "scripted"},
        "engine": {"name": "ttsi-fakes/scripted", **engine},
        "benchmark": {"name": "ttsi-fakes/journeys", "rows": 2},
        "estimator": "always",
        "executor": {"name": "local", "wave": 1},
    }


def records(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "samples.jsonl").read_text().splitlines()
    return [{**json.loads(line), "costs": None} for line in lines]


def killed(out: Path) -> Path:
    """Return the folder of a run that was killed in the fourth step of the second episode."""
    document = spec(fatal="City14", marks=str(out / "marks"))
    (out / "marks").mkdir(parents=True)
    (out / "spec.json").write_text(json.dumps(document))
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [str(TESTS / "fakes"), str(TESTS.parent), *filter(None, before)]
    done = subprocess.run(
        [sys.executable, "-m", "ttsi", "eval", str(out / "spec.json"), "--out", str(out / "runs")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    (folder,) = (out / "runs").glob("*/seed-0")
    return folder


def test_a_killed_process_loses_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = killed(tmp_path)
    assert [record.id for record in read(folder / "samples.jsonl")] == ["journeys/0"]
    lines = [json.loads(line) for line in (folder / STEPS).read_text().splitlines()]
    assert [line["number"] for line in lines if line["id"] == "journeys/1"] == [0, 1, 2]
    engines: list[ScriptedEngine] = []
    load = ScriptedEngine.load
    monkeypatch.setattr(
        ScriptedEngine, "load", lambda engine: (engines.append(engine), load(engine))[1]
    )
    (cell,) = ttsi.evaluate(tmp_path / "spec.json", out=tmp_path / "runs")
    assert cell.folder == folder.parent
    (engine,) = engines
    assert sum(isinstance(asked, ttsi.TrainJob) for asked in engine.asked) == 1
    adapted = [each for each in engine.asked if isinstance(each, ttsi.Request) and each.adapter]
    assert [each.prompt.messages[-1].content[-7:-1] for each in adapted] == ["City14"]
    (whole,) = ttsi.evaluate(spec(), out=tmp_path / "whole")
    assert records(folder) == records(whole.folder / "seed-0")
    assert cell.summary["accuracy"] == whole.summary["accuracy"]
    assert not list(tmp_path.rglob(STEPS))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["files"].keys() == {path.name for path in folder.glob("[!.]*")} - {
        "manifest.json"
    }


def test_fresh_forgets_steps(tmp_path: Path) -> None:
    folder = killed(tmp_path)
    (cell,) = ttsi.evaluate(tmp_path / "spec.json", out=tmp_path / "runs", fresh=True)
    sessions = json.loads((folder / "sessions.json").read_text())["sessions"]
    assert [each["samples"] for each in sessions] == [2]
    assert not (folder / STEPS).exists()
    assert cell.errors == 0


def test_steps_without_an_identity_are_refused(tmp_path: Path) -> None:
    folder = killed(tmp_path)
    (folder / "samples.jsonl").write_text("")
    (folder / "identity.json").unlink()
    with pytest.raises(RunError, match="nothing says what made them"):
        ttsi.evaluate(tmp_path / "spec.json", out=tmp_path / "runs")


def test_estimates_of_episodes_go_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append, written = Steps.append, []

    def stops(steps: Steps, step: Played) -> None:
        append(steps, step)
        written.append(step)
        if len(written) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(Steps, "append", stops)
    with pytest.raises(KeyboardInterrupt):
        estimates(spec(), out=tmp_path)
    (kept,) = tmp_path.rglob("estimates.steps.jsonl")
    (cell,) = estimates(spec(), out=tmp_path)
    assert [(step.id, step.number) for step in written[6:]] == [
        ("journeys/1", 2),
        ("journeys/1", 3),
    ]
    assert cell.samples == 2
    assert not kept.exists()
