"""The environment in examples/, and the page that tells how one is written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from _dists import importable, write_dist
from reports import Page
from submissions import faults, submit_run

import ttsi
from ttsi import DECLINED, Completion, Score, ToolCall, answer_with
from ttsi.report import html
from ttsi.results.runs import open_run
from ttsi.testing import check_plugin

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "ttsi-pantry"
PAGE = (ROOT / "docs" / "episodes.md").read_text()
DONE = Completion("[]", DECLINED)
LOOK = ToolCall("look", {})


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(EXAMPLE)
    points = {"ttsi.benchmarks": "pantry = ttsi_pantry:Pantry"}
    with importable(write_dist(tmp_path / "dist", "ttsi-pantry", points)):
        yield


def take(what: Any, count: Any) -> ToolCall:
    return ToolCall("take", {"what": what, "count": count})


BREAKFAST = take("eggs", 3)


def calling(*calls: ToolCall) -> Completion:
    return Completion(json.dumps([call.as_json() for call in calls]), answer_with(calls))


def played(place: int, *answers: Completion, **options: Any) -> Any:
    """Return the episode after these answers, which have to be just enough."""
    sample = import_module("ttsi_pantry").Pantry(**options).samples()[place]
    assert sample.episode is not None
    episode = sample.episode()
    task = episode.start()
    for answer in answers:
        assert task is not None
        task = episode.step(answer)
    assert task is None
    return episode


def test_it_keeps_the_contract_of_benchmarks() -> None:
    outcomes = check_plugin("ttsi-pantry/pantry")
    assert [(o.check.name, o.message) for o in outcomes if not o.passed] == []
    assert {o.check.name for o in outcomes if o.skipped} == {"train"}


@pytest.mark.parametrize(
    ("answers", "credit", "reason"),
    [
        ([calling(BREAKFAST, take("milk", 1)), DONE, calling(take("eggs", 2)), DONE], 1, None),
        ([calling(BREAKFAST), calling(take("milk", 1)), DONE, DONE], 0.5, "wrong_state"),
        ([DONE, calling(take("eggs", 5), take("milk", 1)), DONE], 0.5, "wrong_state"),
        ([calling(LOOK), DONE, DONE], 0, "wrong_state"),
        ([calling(LOOK)] * 8, 0, "wrong_state"),
    ],
)
def test_a_turn_is_right_if_what_is_left_is_right(
    answers: list[Completion], credit: float, reason: str | None
) -> None:
    episode = played(0, *answers)
    score: Score = episode.score()
    assert (score.correct, score.credit, score.reason) == (credit == 1, credit, reason)
    assert sum(turn.correct for turn in episode.turns()) == 2 * credit


def test_in_a_turn_without_anything_to_do_no_call_is_right() -> None:
    answers = [calling(take("beans", 3)), DONE, calling(take("rice", 4)), DONE, DONE]
    assert played(1, *answers).score() == Score(True, credit=1.0)


@pytest.mark.parametrize(
    "call", [take("eggs", 13), take("eggs", 0), take("eggs", True), take(["eggs"], 1), take("x", 1)]
)
def test_what_cannot_be_taken_stays_and_the_model_is_told(call: ToolCall) -> None:
    episode = played(0, calling(call), DONE, DONE)
    assert episode.shelf == {"eggs": 12, "milk": 3, "flour": 2}
    assert episode.said[2].content.startswith("There ")


def test_the_page_shows_the_environment_as_it_is() -> None:
    (shown,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.M | re.S)
    assert shown in (EXAMPLE / "ttsi_pantry.py").read_text()
    assert shown.count("\n") <= 40


@pytest.mark.model
def test_the_embedded_model_plays_it_and_the_run_is_verified(tmp_path: Path) -> None:
    limits = {"benchmark.limit": 1, "benchmark.most": 2, "generator.attempts": 1}
    limits["episodes.estimate_at"] = "first_of_turn"  # the others are tested in test_episodes.py
    (cell,) = ttsi.evaluate(EXAMPLE / "spec.json", overrides=limits, out=tmp_path / "runs")
    assert cell.errors == 0
    run = open_run(cell.folder)
    (record,) = run.seeds[0].records
    assert 2 <= len(record.steps) <= 4
    assert [step.said[-1].role for step in record.steps].count("user") == 2
    assert sum(step.turn is not None for step in record.steps) == 2
    assert "Turn 2" in Page(html([run])).text
    assert faults(submit_run(cell.folder, tmp_path).folder) == []
