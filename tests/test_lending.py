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
from ttsi.records import identity
from ttsi.records.identity import Identity
from ttsi.records.journal import ESTIMATES, SAMPLES, read
from ttsi.running.evaluate import estimates
from ttsi.running.lending import Lender, lent
from ttsi.running.spending import Spending
from ttsi.spec import StopAt, load_spec, resolved
from ttsi.types import Record
from ttsi_plugins.estimators.entropy import Entropy
from ttsi_plugins.inference.direct import Direct
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


def another_engine(path: Path) -> None:
    """Change the engine that an identity names."""
    told = json.loads(path.read_text())
    told["engine"]["dtype"] = "bfloat16"
    path.write_text(json.dumps(told))


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
    another_engine(path)
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
    another_engine(path)
    (journal,) = {
        p.parent / "samples.jsonl" for p in tmp_path.glob("scripted-*/seed-0/identity.json")
    } - {path.parent / "samples.jsonl"}
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:5]))
    found = cells(tmp_path, "base", "always")["always"]
    assert without_costs(found) == without_costs(before)


def fails(*_: Any) -> Any:
    raise RuntimeError("a fault")


def test_a_sample_that_is_tried_again_has_the_cost_of_its_answer_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as failing:
        failing.setattr(LoraSft, "learn", fails)
        first = cells(tmp_path, "base", "always")
    assert all(record.error for record in first["always"].values())
    assert all("answer" not in record.costs for record in first["always"].values())
    alone = cells(tmp_path, "always")["always"]
    for id, record in alone.items():
        assert record.costs["answer"] != first["base"][id].costs["answer"]
        assert record.costs["generate"].seconds > first["always"][id].costs["generate"].seconds


def test_what_a_sample_spent_before_anything_was_lent_still_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as failing:
        failing.setattr(LoraSft, "learn", fails)
        first = cells(tmp_path, "always")["always"]
    found = cells(tmp_path, "base", "always")
    for id, record in found["always"].items():
        both = first[id].costs["answer"].seconds + found["base"][id].costs["answer"].seconds
        assert record.costs["answer"].seconds == pytest.approx(both)


def test_an_estimate_that_is_tried_again_has_the_cost_of_its_answer_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {**SCRIPTED, "estimator": "rss_margin"}
    (first,) = estimates(spec, out=tmp_path, estimators=["rss_margin"])
    for _ in range(2):
        with monkeypatch.context() as failing:
            failing.setattr(Entropy, "estimate", fails)
            estimates(spec, out=tmp_path, estimators=["rss_margin", "entropy"])
    (_, second) = estimates(spec, out=tmp_path, estimators=["rss_margin", "entropy"])
    answers = []
    for cell in (first, second):
        made = [each for each in read(cell.folder / "seed-0" / ESTIMATES) if not each.error]
        answers.append({each.id: each.costs["answer"] for each in made})
    assert answers[0] == answers[1]


def test_without_a_baseline_no_base_answer_is_taken_over(tmp_path: Path) -> None:
    found = cells(tmp_path, "base", "always", baseline=False)
    assert all(record.base for record in found["base"].values())
    assert not any(record.base for record in found["always"].values())


def test_where_nothing_is_lent_any_engine_is_admitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as failing:
        failing.setattr(Direct, "answer", fails)
        cells(tmp_path, "base")
    (folder,) = tmp_path.glob("scripted-*")
    stated = identity.read(folder / "seed-0")
    assert stated is not None
    (spec,) = load_spec({**SPEC, "matrix": {"method": {"always": {}}}})
    samples = list(ttsi_fakes.Rows(rows=ROWS).samples())
    for lines in ("", "lends"):
        known = identity.known(spec, 0, stated["date"], stated["revision"])
        whose = Identity(tmp_path / "new" / f"seed-{lines}", known)
        (lender_spec,) = load_spec({**SPEC, "matrix": {"method": {"base": MATRIX["base"]}}})
        found = lent([Lender(resolved(lender_spec), folder, SAMPLES)], spec, whose, samples)
        assert bool(found) == bool(lines)
        other = {**stated["engine"], "dtype": "bfloat16"}
        (tmp_path / "new" / f"seed-{lines}").mkdir(parents=True)
        if lines:
            with pytest.raises(ttsi.RunError):
                whose.admit("a worker", other)
        else:
            whose.admit("a worker", other)
        cells(tmp_path, "base")


def test_a_seed_takes_over_what_the_runs_other_seeds_may_have(tmp_path: Path) -> None:
    cells(tmp_path, "base", seeds=[0, 1])
    for path in tmp_path.glob("scripted-*/seed-*/identity.json"):
        another_engine(path)
    cells(tmp_path, "always", seeds=[0])
    found = cells(tmp_path, "base", "always", seeds=[0, 1])
    assert len(found["always"]) == ROWS


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
    assert "12 base answers are those of cells before" in capsys.readouterr().err
