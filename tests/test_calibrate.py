"""`ttsi calibrate`: stored estimates against runs at those thresholds, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ttsi
import ttsi_fakes
from ttsi.cli.main import main
from ttsi.errors import RunError
from ttsi.records.journal import ESTIMATES
from ttsi.results.calibration import (
    Case,
    at_threshold,
    auroc,
    calibrate,
    cases_of,
    suggest_by_budget,
    thresholds,
)
from ttsi.results.runs import open_run
from ttsi.running.cell_result import CellResult
from ttsi.running.evaluate import estimates

ROOT = Path(__file__).resolve().parent.parent
RATES = ("tpr", "fpr", "j", "f1")


def spec(threshold: float = 0.5, **changed: Any) -> dict[str, Any]:
    return {
        "name": "calibrated",
        "model": {"id": "scripted"},
        "engine": "ttsi-fakes/scripted",
        "benchmark": {"name": "ttsi-fakes/rows", "rows": 16},
        "estimator": {"name": "rss_margin", "threshold": threshold},
        "inference": {"name": "direct", "decoding": "greedy"},
        "executor": {"name": "local", "wave": 5},
    } | changed


def answers(request: Any) -> str:
    """Base: right on even cities. Adapted: wrong on multiples of three. G fails on 5 and 15."""
    text = request.prompt.messages[-1].content
    if ttsi_fakes.WRITING in text:
        return "no" if "5?" in text else ttsi_fakes.default_script(request)
    city = text.rsplit(" ", 1)[-1].rstrip("?")
    number = int(city.removeprefix("City"))
    right = number % 3 != 0 if request.adapter is not None else number % 2 == 0
    name = "get_weather" if right else "get_time"
    return json.dumps([{"name": name, "arguments": {"city": city}}])


def play(monkeypatch: pytest.MonkeyPatch, script: Any) -> None:
    """Let the scripted engine answer by `script`."""
    init = ttsi_fakes.ScriptedEngine.__init__
    monkeypatch.setattr(init, "__defaults__", (*(init.__defaults__ or ())[:-1], script))


@pytest.fixture(autouse=True)
def _scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, answers)


def run(out: Path, document: dict[str, Any]) -> CellResult:
    (cell,) = ttsi.evaluate(document, out=out)
    return cell


def cases_in(folder: Path, journal: str = "samples.jsonl") -> list[Case]:
    (seed,) = open_run(folder, journal).seeds
    return cases_of(seed.records)


def agrees(found: dict[str, Any], results: dict[str, Any]) -> bool:
    """Whether `at_threshold` and a run's results have the same numbers."""
    assert found["uncertain"] == results["uncertain"]
    assert {key: found[key] for key in RATES} == {key: results["estimator"][key] for key in RATES}
    return True


# ---------------------------------------------------------------- against separate runs


def test_stored_estimates_give_the_numbers_of_separate_runs(tmp_path: Path) -> None:
    (stored,) = estimates(spec(), out=tmp_path / "stored")
    cases = cases_in(stored.folder, ESTIMATES)
    adapted = cases_in(run(tmp_path / "runs", spec(1.0)).folder)
    cuts = thresholds(cases)
    assert len(cuts) >= 10
    accuracies, untaught = set(), 0
    for threshold in cuts:
        results = dict(run(tmp_path / "runs", spec(threshold)).seeds[0])
        assert agrees(at_threshold(cases, threshold), results)
        assert agrees(at_threshold(adapted, threshold), results)
        assert auroc(cases) == auroc(adapted) == results["estimator"]["auroc"]
        assert at_threshold(adapted, threshold)["accuracy"] == results["accuracy"]
        known = at_threshold(cases, threshold)["accuracy_known"]
        assert known == (results["uncertain"] == 0)
        accuracies.add(results["accuracy"])
        untaught = max(untaught, results["not_generated"])
    assert len(accuracies) > 3
    assert untaught == 2


def test_errored_samples_count_as_in_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(request: Any) -> str:
        if "City4?" in request.prompt.messages[-1].content:
            raise ValueError("no")
        return answers(request)

    play(monkeypatch, fails)
    whole = open_run(run(tmp_path, spec(1.0)).folder)
    for threshold in (0.3, 0.8):
        results = dict(run(tmp_path, spec(threshold)).seeds[0])
        assert results["errors"] == 1
        (row,) = calibrate(whole, [threshold])["all"]["sweep"]
        assert agrees(row, results)
        assert row["accuracy"] == results["accuracy"]


@pytest.fixture(scope="module")
def quickstart() -> dict[str, Any]:
    """Return the quickstart's spec for a few samples, with short outputs."""
    document = json.loads((ROOT / "specs" / "quickstart.json").read_text())
    document["benchmark"]["limit"] = 6
    document["generator"] |= {"attempts": 3, "max_tokens": 48}
    document["inference"]["max_tokens"] = 32
    document["seeds"] = [3]
    return document


@pytest.fixture(scope="module")
def stored(quickstart: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Return the cases of the embedded model's estimates and base answers."""
    (cell,) = estimates(quickstart, out=tmp_path_factory.mktemp("stored"))
    return cases_in(cell.folder, ESTIMATES)


@pytest.mark.model
def test_stored_estimates_of_a_model_give_the_numbers_of_a_separate_run(
    quickstart: dict[str, Any], stored: list[Case], tmp_path: Path
) -> None:
    threshold = suggest_by_budget([case.confidence for case in stored], 1 / 6)
    estimator = {**quickstart["estimator"], "threshold": threshold}
    separate = run(tmp_path, {**quickstart, "estimator": estimator})
    results = dict(separate.seeds[3])
    assert results["samples"] == len(stored) == 6
    assert results["uncertain"] == results["adapted"] == 1
    assert agrees(at_threshold(stored, threshold), results)
    assert auroc(stored) == results["estimator"]["auroc"]
    adapted = cases_in(separate.folder)
    assert [(case.id, case.wrong) for case in adapted] == [(case.id, case.wrong) for case in stored]
    assert at_threshold(adapted, threshold)["accuracy"] == results["accuracy"]
    assert at_threshold(adapted, 0.0)["accuracy"] == results["base"]["accuracy"]


# ---------------------------------------------------------------- the command


def written(tmp_path: Path, **changed: Any) -> str:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec(**changed)))
    return str(path)


def printed(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(["calibrate", *argv]) == code
    return capsys.readouterr().out


def loads(engine: Any) -> None:
    raise AssertionError("a model was loaded")


def test_a_run_is_read_without_its_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(run(tmp_path, spec(1.0)).folder)
    monkeypatch.setattr(ttsi_fakes.ScriptedEngine, "load", loads)
    out = printed(capsys, folder, "--budget", "0.25")
    for part in ("16 samples", "this run", "largest J", "most accurate", "AUROC", "budget 0.25"):
        assert part in out
    (found,) = json.loads(printed(capsys, folder, "--thresholds", "0.2,0.9", "--json"))["runs"]
    assert [row["threshold"] for row in found["all"]["sweep"]] == [0.2, 0.9]
    assert all(row["accuracy_known"] for row in found["all"]["sweep"])
    assert found["all"] == found["by_seed"]["0"]


def test_a_spec_is_estimated_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = [written(tmp_path, seeds=[1, 2]), "--out", str(tmp_path / "runs"), "--json"]
    first = printed(capsys, *argv)
    (found,) = json.loads(first)["runs"]
    assert found["all"]["samples"] == 32
    assert list(found["by_seed"]) == ["1", "2"]
    assert not list((tmp_path / "runs").glob("*/seed-*/samples.jsonl"))
    monkeypatch.setattr(ttsi_fakes.ScriptedEngine, "load", loads)
    assert printed(capsys, *argv) == first
    (one,) = json.loads(printed(capsys, *argv, "--seeds", "2"))["runs"]
    assert list(one["by_seed"]) == ["2"]
    assert one["by_seed"]["2"] == found["by_seed"]["2"]
    (of_folder,) = json.loads(printed(capsys, found["folder"], "--json"))["runs"]
    assert of_folder["all"] == found["all"]


def test_base_answers_are_lent_to_runs_of_the_same_answers_alone(tmp_path: Path) -> None:
    answers = [{"name": "direct", "decoding": decoding} for decoding in ("greedy", "sample")]
    document = {**spec(1.0), "matrix": {"/inference": answers}}
    cells = estimates(document, out=tmp_path, estimators=["rss_margin", "perplexity"])
    runs = [open_run(cell.folder, ESTIMATES) for cell in cells]
    assert [run.spec["inference"]["decoding"] for run in runs] == ["greedy", "sample"] * 2
    seconds = [[each.costs["answer"].seconds for each in run.seeds[0].records] for run in runs]
    assert seconds[0] == seconds[2]
    assert seconds[1] == seconds[3]
    assert not set(seconds[0]) & set(seconds[1])


@pytest.mark.parametrize("damaged", [False, True])
def test_estimates_of_other_weights_are_refused_until_they_are_made_afresh(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    damaged: bool,
) -> None:
    argv = ["calibrate", written(tmp_path), "--out", str(tmp_path / "runs"), "--json"]
    assert main(argv) == 0
    (path,) = (tmp_path / "runs").glob("*/seed-*/identity.json")
    if damaged:
        path.write_text("{")
    monkeypatch.setattr(ttsi_fakes.ScriptedEngine, "digest", lambda self: "sha256:" + "e" * 64)
    # Something is left to estimate, or no engine would be loaded.
    estimated = path.with_name(ESTIMATES)
    lines = estimated.read_text().splitlines(keepends=True)
    estimated.write_text("".join(lines[:-1]))
    capsys.readouterr()
    assert main(argv) != 0
    assert "--fresh" in capsys.readouterr().err
    printed(capsys, *argv[1:], "--fresh")
    assert json.loads(path.read_text())["engine"]["weights_digest"] == "sha256:" + "e" * 64
    assert len(estimated.read_text().splitlines()) == len(lines)
    assert not list((tmp_path / "runs").glob("*/seed-*/samples.jsonl"))


def test_a_run_without_base_answers_still_has_a_budget(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(tmp_path, spec(0.5, baseline=False)).folder
    out = printed(capsys, str(folder), "--budget", "0.5")
    assert "no rate is known" in out
    assert "budget 0.5: threshold" in out
    assert "AUROC" not in out


def test_errored_samples_are_told_of_and_end_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(request: Any) -> str:
        if "City4?" in request.prompt.messages[-1].content:
            raise ValueError("no")
        return answers(request)

    play(monkeypatch, fails)
    out = printed(capsys, written(tmp_path), "--out", str(tmp_path / "runs"), code=3)
    assert "1 sample ended in an error" in out
    play(monkeypatch, answers)
    out = printed(capsys, written(tmp_path), "--out", str(tmp_path / "runs"))
    assert "error" not in out


def test_a_run_without_estimates_has_nothing_to_calibrate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(request: Any) -> str:
        raise ValueError("no")

    play(monkeypatch, fails)
    folder = run(tmp_path, spec()).folder
    with pytest.raises(RunError, match="No sample"):
        calibrate(open_run(folder))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--thresholds", "0.5,x"], "numbers from 0 to 1"),
        (["--thresholds", "2"], "numbers from 0 to 1"),
        (["--budget", "1.5"], "not a share"),
        (["--limit", "3"], "benchmark.limit"),
        (["--fresh"], "none are made"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], part: str
) -> None:
    folder = str(run(tmp_path, spec()).folder)
    capsys.readouterr()
    assert main(["calibrate", folder, *arguments]) == 2
    err = capsys.readouterr().err
    assert part in err
    assert "cure:" in err
