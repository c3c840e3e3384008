"""Cells of a matrix that would ask the base model for the same answers ask once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_progress import SPEC as SCRIPTED

import ttsi
import ttsi_fakes
from ttsi.cli.main import main
from ttsi.records.journal import read
from ttsi.running.spending import Spending
from ttsi.spec import StopAt
from ttsi.types import Record
from ttsi_plugins.learners.lora_sft import LoraSft

ROWS = 12
MATRIX: dict[str, Any] = {
    "base": {"/estimator": "never"},
    "always": {},
    "unsure": {"/estimator": {"name": "rss_margin", "threshold": 0.5}},
    "icl": {"/estimator": {"name": "rss_margin", "threshold": 0.5}, "/learner": "icl"},
    "votes": {"/inference": {"name": "best_of", "samples": 3}},
}
SPEC: dict[str, Any] = {**SCRIPTED, "matrix": {"method": MATRIX}}


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count the texts and the likelihoods that engines are asked for."""
    counts = {"generate": 0, "loglikelihoods": 0}
    for name in counts:
        monkeypatch.setattr(ttsi_fakes.ScriptedEngine, name, _counted(name, counts))
    return counts


def _counted(name: str, counts: dict[str, int]) -> Any:
    call = getattr(ttsi_fakes.ScriptedEngine, name)

    def counted(engine: Any, requests: Any, *rest: Any) -> Any:
        counts[name] += len(requests)
        return call(engine, requests, *rest)

    return counted


def cells(out: Path, *names: str, **changed: Any) -> dict[str, dict[str, Record]]:
    """Run these cells in this order, and return their records by id."""
    results = ttsi.evaluate(
        {**SPEC, "matrix": {"method": {name: MATRIX[name] for name in names}}, **changed}, out=out
    )
    return {n: dict(_records(cell.folder)) for n, cell in zip(names, results, strict=True)}


def _records(folder: Path) -> Iterator[tuple[str, Record]]:
    for record in read(folder / "seed-0" / "samples.jsonl"):
        yield record.id, record


def without_costs(records: dict[str, Record]) -> dict[str, Record]:
    def told(record: Record) -> Record:
        receipt = {k: v for k, v in (record.receipt or {}).items() if k != "seconds"}
        return replace(record, costs={}, receipt=receipt)

    return {name: told(record) for name, record in records.items()}


def test_records_are_those_of_cells_that_run_alone(tmp_path: Path) -> None:
    together = cells(tmp_path / "together", *MATRIX)
    for name in MATRIX:
        alone = cells(tmp_path / name, name)[name]
        assert without_costs(together[name]) == without_costs(alone), name
        assert all(
            each.costs.keys() == alone[id].costs.keys() for id, each in together[name].items()
        )


def test_a_base_answer_is_asked_for_once(tmp_path: Path, asked: dict[str, int]) -> None:
    found = cells(tmp_path, "base", "unsure", "icl")
    costs = [{id: each.costs["answer"] for id, each in cell.items()} for cell in found.values()]
    assert costs[0] == costs[1] == costs[2]
    estimates = [
        {id: (e.estimate, e.costs["estimate"]) for id, e in found[name].items()}
        for name in ("unsure", "icl")
    ]
    assert estimates[0] == estimates[1]
    scored = asked["loglikelihoods"]
    cells(tmp_path / "alone", "unsure")
    assert asked["loglikelihoods"] == 2 * scored


def test_other_answers_are_not_taken_over(tmp_path: Path) -> None:
    found = cells(tmp_path, "base", "votes")
    assert all(
        found["base"][id].costs["answer"] != each.costs["answer"]
        for id, each in found["votes"].items()
    )


def test_a_finished_cell_lends_too(tmp_path: Path, asked: dict[str, int]) -> None:
    cells(tmp_path, "base")
    before = asked["generate"]
    assert before == ROWS
    cells(tmp_path, "base", "unsure")
    generated = asked["generate"] - before
    cells(tmp_path / "alone", "unsure")
    assert asked["generate"] - before - generated == generated + ROWS


def test_under_a_budget_other_samples_are_uncertain(tmp_path: Path) -> None:
    matrix = {"share": {"/budget": 0.25}, "threshold": {}}
    spec = {**SCRIPTED, "estimator": {"name": "rss_margin", "threshold": 1.0}}
    results = ttsi.evaluate({**spec, "matrix": {"how": matrix}}, out=tmp_path)
    share, threshold = (dict(_records(cell.folder)) for cell in results)
    assert sum(record.uncertain for record in share.values()) == 3
    assert sum(record.uncertain for record in threshold.values()) > 3
    assert all(share[id].base == each.base for id, each in threshold.items())


def test_an_estimate_of_an_earlier_cell_serves_a_budget(
    tmp_path: Path, asked: dict[str, int]
) -> None:
    spec = {**SCRIPTED, "estimator": {"name": "rss_margin", "threshold": 1.0}}
    results = ttsi.evaluate(
        {**spec, "matrix": {"how": {"threshold": {}, "share": {"/budget": 0.25}}}}, out=tmp_path
    )
    scored = asked["loglikelihoods"]
    share = dict(_records(results[1].folder))
    assert sum(record.uncertain for record in share.values()) == 3
    ttsi.evaluate(spec, out=tmp_path / "alone")
    assert asked["loglikelihoods"] == 2 * scored


def test_base_answers_of_another_engine_are_refused(tmp_path: Path) -> None:
    cells(tmp_path, "base")
    (path,) = tmp_path.glob("scripted-*/seed-0/identity.json")
    told = json.loads(path.read_text())
    told["engine"]["dtype"] = "bfloat16"
    path.write_text(json.dumps(told))
    with pytest.raises(ttsi.RunError, match=r"engine\.dtype was") as caught:
        cells(tmp_path, "base", "always")
    assert "--cell" in str(caught.value)
    assert caught.value.where == str(path)
    assert len(list(tmp_path.glob("scripted-*/seed-0"))) == 1
    assert len(cells(tmp_path, "always")["always"]) == ROWS


def test_a_run_with_records_takes_nothing_over_from_another_engine(tmp_path: Path) -> None:
    cells(tmp_path, "base")
    (path,) = tmp_path.glob("scripted-*/seed-0/identity.json")
    before = cells(tmp_path, "always")["always"]
    told = json.loads(path.read_text())
    told["engine"]["dtype"] = "bfloat16"
    path.write_text(json.dumps(told))
    (journal,) = {
        p.parent / "samples.jsonl" for p in tmp_path.glob("scripted-*/seed-0/identity.json")
    } - {path.parent / "samples.jsonl"}
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:5]))
    found = cells(tmp_path, "base", "always")["always"]
    assert without_costs(found) == without_costs(before)


def test_a_sample_that_is_tried_again_has_the_cost_of_its_answer_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("a fault")

    with monkeypatch.context() as failing:
        failing.setattr(LoraSft, "learn", fails)
        first = cells(tmp_path, "base", "always")
    assert all(record.error for record in first["always"].values())
    second = cells(tmp_path, "base", "always")
    for id, record in second["always"].items():
        assert record.costs["answer"] == first["base"][id].costs["answer"]
        assert record.costs["generate"].seconds > first["always"][id].costs["generate"].seconds


def test_what_is_taken_over_counts_once_towards_a_limit(tmp_path: Path) -> None:
    found = cells(tmp_path, "base", "always")
    stored, alone = Spending(StopAt()), 0.0
    for folder in tmp_path.glob("scripted-*/seed-0"):
        stored.add_stored(folder)
        each = Spending(StopAt())
        each.add_stored(folder)
        alone += each.seconds
    lent = sum(record.costs["answer"].seconds for record in found["base"].values())
    assert stored.seconds == pytest.approx(alone - lent)


def test_the_command_says_what_is_taken_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "spec.json"
    path.write_text(
        json.dumps({**SPEC, "matrix": {"method": {n: MATRIX[n] for n in ("base", "always")}}})
    )
    assert main(["eval", str(path), "--out", str(tmp_path / "runs")]) == 0
    assert "12 base answers are those of cells before this one" in capsys.readouterr().err
