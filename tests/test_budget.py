"""A share of the samples instead of a threshold, estimates without adaptation, and the grid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttsi
import ttsi_fakes
from ttsi.cli.calibrate import _journal_in
from ttsi.records import journal
from ttsi.records.journal import ESTIMATES
from ttsi.results.runs import open_run
from ttsi.running.cell_result import CellResult
from ttsi.running.evaluate import estimates
from ttsi.running.waves import ScoredWaves
from ttsi.solving import metering
from ttsi.solving.budget import share_out
from ttsi.solving.pipeline import Pipeline, Stages
from ttsi.types import Estimate, Example, Record, StageCost, Task
from ttsi_plugins.estimators.constant import Always
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners.icl import InContext
from ttsi_plugins.scorers.exact import Exact


def spec(**changed: Any) -> dict[str, Any]:
    return {
        "name": "shared",
        "model": {"id": "scripted"},
        "engine": "ttsi-fakes/scripted",
        "benchmark": {"name": "ttsi-fakes/rows", "rows": 12},
        "estimator": "rss_margin",
        "budget": 0.25,
        "inference": {"name": "direct", "decoding": "greedy"},
        "executor": {"name": "local", "wave": 5},
    } | changed


def run(out: Path, document: dict[str, Any] | None = None, **options: Any) -> CellResult:
    (cell,) = ttsi.evaluate(document or spec(), out=out, **options)
    return cell


def records(cell: CellResult, seed: int = 0) -> list[Record]:
    return list(journal.read(cell.folder / f"seed-{seed}" / "samples.jsonl"))


def record(name: str, confidence: float | None) -> Record:
    estimate = None if confidence is None else Estimate(confidence, True)
    return Record(name, "sha256:0", 0, estimate=estimate)


@given(
    st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=40),
    st.floats(0.01, 1),
    st.randoms(),
)
def test_the_least_confident_share_is_uncertain(
    confidences: list[float | None], budget: float, random: Any
) -> None:
    given_records = [record(f"s/{i}", each) for i, each in enumerate(confidences)]
    shared = share_out(given_records, budget)
    flags = {name: each.estimate.uncertain for name, each in shared.items() if each.estimate}
    estimated = [each for each in given_records if each.estimate]
    assert sum(flags.values()) == min(round(budget * len(given_records)), len(estimated))
    levels = {each.id: each.estimate.confidence for each in estimated if each.estimate}
    chosen = [levels[name] for name, flag in flags.items() if flag]
    others = [levels[name] for name, flag in flags.items() if not flag]
    assert not chosen or not others or max(chosen) <= min(others)
    random.shuffle(given_records)
    assert share_out(given_records, budget) == shared


@pytest.mark.parametrize("wave", [1, 5, 12])
def test_a_budget_adapts_to_its_share_whatever_the_wave(tmp_path: Path, wave: int) -> None:
    whole = run(tmp_path / "a")
    waves = run(tmp_path / "b", spec(executor={"name": "local", "wave": wave}))
    found = [(r.id, r.estimate, r.base, r.final, r.adapted, r.examples) for r in records(whole)]
    assert found == [
        (r.id, r.estimate, r.base, r.final, r.adapted, r.examples) for r in records(waves)
    ]
    confidences = sorted(r.estimate.confidence for r in records(whole) if r.estimate)
    for each in records(whole):
        assert each.estimate is not None
        assert each.estimate.uncertain == (each.estimate.confidence <= confidences[2])
        assert each.adapted == each.estimate.uncertain
        assert {"estimate", "answer"} <= each.costs.keys()


def test_a_run_with_a_budget_resumes_and_then_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(request: Any) -> str:
        if ttsi_fakes.WRITING in request.prompt.messages[-1].content:
            raise KeyboardInterrupt
        return ttsi_fakes.default_script(request)

    defaults = ttsi_fakes.ScriptedEngine.__init__.__defaults__
    assert defaults is not None
    with monkeypatch.context() as patch:
        scripted = tuple(stops if each is ttsi_fakes.default_script else each for each in defaults)
        patch.setattr(ttsi_fakes.ScriptedEngine.__init__, "__defaults__", scripted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    # The estimator chose the first samples, so the records so far are not representative.
    (folder,) = tmp_path.glob("*/seed-0")
    (seed,) = open_run(folder).seeds
    assert 0 < len(seed.records) < 12
    assert [seed.results[key] for key in ("base", "change", "estimator")] == [None] * 3
    (seed,) = open_run(folder, _journal_in(folder)).seeds
    assert len(seed.records) == 12
    asked: list[str] = []

    def counts(request: Any) -> str:
        asked.append(request.prompt.messages[-1].content)
        return ttsi_fakes.default_script(request)

    scripted = tuple(counts if each is ttsi_fakes.default_script else each for each in defaults)
    monkeypatch.setattr(ttsi_fakes.ScriptedEngine.__init__, "__defaults__", scripted)
    cell = run(tmp_path)
    # Estimates and base answers were on disk: only three samples are adapted to and answered.
    assert len([text for text in asked if ttsi_fakes.WRITING not in text]) == 3
    assert [r.adapted for r in records(cell)].count(True) == 3
    asked.clear()
    assert run(tmp_path).seeds == cell.seeds
    assert asked == []


def test_a_sample_without_an_estimate_is_an_error_and_counts_in_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    likelihoods = ttsi_fakes.ScriptedEngine.loglikelihoods

    def fails(self: Any, prompts: Any, continuations: Any) -> Any:
        if any("City3?" in prompt.messages[-1].content for prompt in prompts):
            raise ValueError("no")
        return likelihoods(self, prompts, continuations)

    with monkeypatch.context() as patch:
        patch.setattr(ttsi_fakes.ScriptedEngine, "loglikelihoods", fails)
        cell = run(tmp_path)
    assert cell.errors == 1
    assert cell.seeds[0]["adapted"] == 3
    again = run(tmp_path)
    assert again.errors == 0
    assert again.seeds[0]["adapted"] == 3
    # As if nothing had ever failed.
    whole = run(tmp_path / "whole")
    assert {r.id: r.adapted for r in records(again)} == {r.id: r.adapted for r in records(whole)}


def test_estimates_are_made_once_and_taken_from_a_run(tmp_path: Path) -> None:
    document = spec(budget=None)
    (first,) = estimates(document, out=tmp_path / "a")
    assert first.seeds[0]["adapted"] == 0
    assert first.seeds[0]["accuracy"] == first.seeds[0]["base"]["accuracy"] == 0.5
    kept = (first.folder / "seed-0" / "estimates.jsonl").read_bytes()
    estimates(document, out=tmp_path / "a")
    assert (first.folder / "seed-0" / "estimates.jsonl").read_bytes() == kept
    ran = run(tmp_path / "b", document)
    manifest = (ran.folder / "seed-0" / "manifest.json").read_bytes()
    (taken,) = estimates(document, out=tmp_path / "b")
    assert (ran.folder / "seed-0" / "manifest.json").read_bytes() == manifest
    made, copied = (
        [(r.id, r.estimate, r.base) for r in open_run(cell.folder, ESTIMATES).seeds[0].records]
        for cell in (first, taken)
    )
    assert len(made) == 12
    assert made == copied
    # What lies beside a run does not make it run again.
    assert run(tmp_path / "b", document).seeds == ran.seeds


def test_a_matrix_leaves_one_document_over_its_cells(tmp_path: Path) -> None:
    document = spec(budget=None, seeds=[0, 1, 2])
    document["matrix"] = {"/estimator/threshold": [0.0, 1.0]}
    cells = ttsi.evaluate(document, out=tmp_path)
    (path,) = tmp_path.glob("shared-*.grid.json")
    grid = json.loads(path.read_text())
    assert [cell["cell"] for cell in grid["cells"]] == [
        {"/estimator/threshold": 0.0},
        {"/estimator/threshold": 1.0},
    ]
    assert [cell["folder"] for cell in grid["cells"]] == [cell.folder.name for cell in cells]
    for written, cell in zip(grid["cells"], cells, strict=True):
        assert written["accuracy"] == cell.summary["accuracy"]
        assert written["adapted"] == sum(results["adapted"] for results in cell.seeds.values())
        assert len(written["accuracy"]["interval"]) == 2


class Paid:
    """Writes an example at a price; `failing` says when it fails, after paying."""

    needs: frozenset[str] = frozenset()

    def __init__(self, failing: Any) -> None:
        self.failing = failing

    def generate(self, tasks: Any, engine: Any, seed: int) -> list[list[Example]]:
        for task in tasks:
            metering.charge(task.id, prompt_tokens=100, completion_tokens=10, usd=0.5)
        if self.failing(tasks):
            raise ValueError("not this time")
        return [[self.example(task)] for task in tasks]

    def example(self, task: Task) -> Example:
        answer = ttsi_fakes.make_sample(99).reference
        return Example(task.variant("0", input="What is the weather in City99?"), answer, "", 1)


class LearnsAlone(InContext):
    """Fails in a wave of more than one sample, after G was paid."""

    def learn(self, tasks: Any, *rest: Any) -> Any:
        if len(tasks) > 1:
            raise ValueError("one at a time")
        return super().learn(tasks, *rest)


@pytest.mark.parametrize(
    ("failing", "learner", "paid"),
    [
        (lambda tasks: len(tasks) > 1, InContext(), 2),
        (lambda tasks: False, LearnsAlone(), 2),
        (lambda tasks: True, InContext(), 2),
        (lambda tasks: False, InContext(), 1),
    ],
    ids=["G failed", "T failed", "G always fails", "nothing failed"],
)
def test_what_is_paid_outside_the_engine_is_in_the_record(
    failing: Any, learner: InContext, paid: int
) -> None:
    parts = Stages(Always(), Paid(failing), learner, Direct(decoding="greedy"))
    pipeline = Pipeline(parts, ttsi_fakes.ScriptedEngine(), seed=0)
    waves = ScoredWaves(pipeline, Exact(), seed=0)
    found = list(waves.run_wave([ttsi_fakes.make_sample(number) for number in range(2)]))
    assert len(found) == 2
    for each in found:
        cost = each.costs["generate"]
        assert (cost.usd, cost.prompt_tokens, cost.completion_tokens) == (
            0.5 * paid,
            100.0 * paid,
            10.0 * paid,
        )
        assert all(other.usd == 0 for stage, other in each.costs.items() if stage != "generate")


def test_a_charge_outside_a_run_goes_nowhere() -> None:
    metering.charge("rows/0", usd=1.0)
    assert StageCost(1, 2, 3, 4) + StageCost(1, 1, 1, 1) == StageCost(2, 3, 4, 5)
