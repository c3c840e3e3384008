"""Estimates, dates and commits: the parts of a run's identity that later commands keep."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from resumed import OTHER, begun, identity, refused, run, says, spec

import ttsi_fakes
from ttsi.errors import RunError, SpecError
from ttsi.records import provenance
from ttsi.records.journal import read
from ttsi.running.cell_result import CellResult
from ttsi.running.evaluate import estimates
from ttsi.spec import load_spec
from ttsi_fakes import ScriptedEngine

# ---------------------------------------------------------------- estimates


def estimated(out: Path) -> CellResult:
    (cell,) = estimates(spec(estimator="rss_margin"), out=out)
    return cell


def test_estimates_of_another_model_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = estimated(tmp_path).folder / "seed-0"
    says(monkeypatch, weights_digest=OTHER)
    document = spec(estimator="rss_margin")
    refused(lambda: run(tmp_path, document), folder, "engine.weights_digest")
    (folder / "estimates.jsonl").write_text(
        "".join((folder / "estimates.jsonl").read_text().splitlines(keepends=True)[:2])
    )
    refused(lambda: estimated(tmp_path), folder, "engine.weights_digest")


def test_a_run_of_another_model_is_not_calibrated_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begun(tmp_path, spec(estimator="rss_margin"))
    says(monkeypatch, weights_digest=OTHER)
    with pytest.raises(RunError, match=r"engine\.weights_digest was"):
        estimated(tmp_path)
    # What the run knows was taken, and is the run's.
    assert len(list(read(folder / "estimates.jsonl"))) <= 1


def test_a_budget_is_not_shared_out_by_estimates_of_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(request: Any) -> str:
        if ttsi_fakes.WRITING in request.prompt.messages[-1].content:
            raise KeyboardInterrupt
        return ttsi_fakes.default_script(request)

    document = spec(estimator="rss_margin", budget=0.5)
    defaults = ScriptedEngine.__init__.__defaults__
    assert defaults is not None
    with monkeypatch.context() as patch:
        patch.setattr(ScriptedEngine.__init__, "__defaults__", (*defaults[:-1], stops))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, document)
    (folder,) = tmp_path.glob("*/seed-0")
    assert len(list(read(folder / "estimates.jsonl"))) == 4
    says(monkeypatch, weights_digest=OTHER)
    refused(lambda: run(tmp_path, document), folder, "engine.weights_digest")


# ---------------------------------------------------------------- date and commit


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """Return the model objects of all engines that were loaded."""
    found: list[Mapping[str, Any]] = []
    monkeypatch.setattr(ScriptedEngine, "load", lambda engine: found.append(engine.model))
    return found


def test_a_run_has_one_date_however_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: list[Mapping[str, Any]]
) -> None:
    monkeypatch.setattr(provenance, "today", lambda: "2026-02-28")
    folder = begun(tmp_path, spec())
    assert identity(folder)["date"] == "2026-02-28"
    monkeypatch.setattr(provenance, "today", lambda: "2026-03-01")
    cell = run(tmp_path, spec(seeds=[0, 7]))
    assert cell.folder == folder.parent
    assert {each["identity"]["date"] for each in cell.seeds.values()} == {"2026-02-28"}
    estimates(spec(seeds=[8]), out=tmp_path)
    assert {each["date"] for each in models} == {"2026-02-28"}
    assert identity(run(tmp_path, fresh=True).folder / "seed-0")["date"] == "2026-02-28"
    shutil.rmtree(folder.parent / "seed-7")
    shutil.rmtree(folder.parent / "seed-8")
    assert identity(run(tmp_path, fresh=True).folder / "seed-0")["date"] == "2026-03-01"


def test_a_date_that_the_spec_says_is_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: list[Mapping[str, Any]]
) -> None:
    monkeypatch.setattr(provenance, "today", lambda: "2026-03-01")
    plain = run(tmp_path)
    dated = run(tmp_path, spec(model={"id": "scripted", "date": "2024-02-29"}))
    assert dated.folder != plain.folder
    assert dated.seeds[0]["identity"]["date"] == "2024-02-29"
    assert [each["date"] for each in models] == ["2026-03-01", "2024-02-29"]
    (left_open,) = load_spec(spec(model={"id": "scripted", "date": None}))
    assert left_open.digest == plain.spec.digest


@pytest.mark.parametrize("date", ["2026-02-30", "today", "2026-1-1", "20260101", 3])
def test_a_date_that_is_none_is_a_problem_of_the_spec(date: Any) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(spec(model={"id": "scripted", "date": date}))
    assert [problem.pointer for problem in caught.value.problems] == ["/model/date"]


def test_a_run_goes_on_with_the_commit_that_it_was_begun_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: list[Mapping[str, Any]]
) -> None:
    """The branch in the spec may have moved since."""
    says(monkeypatch, model_revision="c" * 40)
    folder = begun(tmp_path, spec())
    cell = run(tmp_path, spec(seeds=[0, 1]))
    assert cell.folder == folder.parent
    assert [each.get("revision") for each in models] == [None, "c" * 40]
