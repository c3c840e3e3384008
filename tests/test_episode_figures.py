"""Figures on episodes: none is of the first step alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_episodes import Doubts, Refuses, played

import ttsi
from ttsi import Request
from ttsi.results.calibration import adapted_correct
from ttsi.results.metrics import summarise
from ttsi.solving.budget import divisible
from ttsi_fakes import WRITING, ScriptedEngine, default_script, make_journey, make_sample
from ttsi_plugins.estimators.constant import Never


def test_an_episode_is_as_sure_as_its_least_sure_step() -> None:
    journey = make_journey("a", "City2", "City4", "City6")
    (record,) = played(journey, estimator=Doubts(("City6",)))
    assert [step.uncertain for step in record.steps] == [False, False, True]
    assert record.uncertain
    assert record.estimate == record.steps[2].estimate
    (sure,) = played(journey, estimator=Doubts(()))
    assert not sure.uncertain


@pytest.mark.parametrize(
    ("doubted", "steps", "lacking", "without"),
    [
        # Uncertain steps, those of them without an example, and episodes without any.
        (("City4", "City6"), 2, 1, 0),
        (("City6",), 1, 1, 1),
        (("City4",), 1, 0, 0),
    ],
)
def test_what_no_example_was_made_for_is_counted_at_every_step(
    doubted: tuple[str, ...], steps: int, lacking: int, without: int
) -> None:
    def script(request: Request) -> str:
        text = request.prompt.messages[-1].content
        return "no example" if WRITING in text and "City6" in text else default_script(request)

    journey = make_journey("a", "City2", "City4", "City6")
    engine = ScriptedEngine(script=script)
    found: Any = summarise(played(journey, engine=engine, estimator=Doubts(doubted)))
    assert found["steps"] == {
        "steps": 3,
        "estimated": 3,
        "uncertain": steps,
        "adapted": steps - lacking,
        "not_generated": lacking,
    }
    counts = (found["uncertain"], found["adapted"], found["not_generated"])
    assert counts == (1, 1 - without, without)


def test_what_a_gate_refused_has_its_example() -> None:
    found: Any = summarise(played(make_journey("a", "City2"), inference=Refuses()))
    assert (found["adapted"], found["not_generated"]) == (0, 0)
    assert (found["steps"]["adapted"], found["steps"]["not_generated"]) == (0, 0)
    assert "steps" not in summarise(played(make_sample(2)))


def test_an_adapted_episode_says_nothing_of_the_base_model_at_each_step() -> None:
    (adapted,) = played(make_journey("a", "City2", "City4"))
    (sure,) = played(make_journey("a", "City2", "City4"), estimator=Never())
    assert not divisible(adapted)
    assert divisible(sure)
    assert adapted_correct(adapted) is None


def test_a_budget_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    document = {
        "model": {"id": "no-such-model"},
        "engine": "ttsi-fakes/scripted",
        "benchmark": "ttsi-fakes/journeys",
        "budget": 0.5,
    }
    with pytest.raises(ttsi.UsageError, match="estimate at every step") as caught:
        ttsi.evaluate(document, out=tmp_path)
    assert caught.value.where == "/budget"
    assert "threshold" in caught.value.cure
    assert list(tmp_path.iterdir()) == []
