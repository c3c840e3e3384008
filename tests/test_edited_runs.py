"""Runs whose files were edited by hand: what records and answers make counts, and is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import reports
from edits import put
from submissions import edit, read, write

import ttsi
from ttsi.cli.main import main
from ttsi.errors import RunError
from ttsi.records import provenance
from ttsi.results.runs import open_run

DOCUMENT = reports.document(benchmark={"name": "ttsi-fakes/rows", "rows": 6}, estimator="always")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (cell,) = ttsi.evaluate(DOCUMENT, out=tmp_path_factory.mktemp("runs"))
    return cell.folder


@pytest.fixture
def mine(finished: Path, tmp_path: Path) -> Path:
    target = tmp_path / "runs" / finished.name
    shutil.copytree(finished, target)
    return target


def again(mine: Path, **changed: Any) -> dict[str, Any]:
    """Give the same command again, and return the results."""
    (cell,) = ttsi.evaluate(DOCUMENT | changed, out=mine.parent)
    return dict(cell.seeds[0])


def sealed(mine: Path) -> None:
    write(mine / "seed-0/manifest.json", provenance.manifest(mine / "seed-0"))


RESULTS: dict[str, tuple[Any, ...]] = {
    "accuracy": ("accuracy", 0.125),
    "its interval": ("accuracy_interval", [0.9, 0.99]),
    "correct": ("correct", 1),
    "wrong": ("wrong", 5),
    "samples": ("samples", 600),
    "errors": ("errors", 3),
    "base accuracy": ("base", "accuracy", 0.0),
    "base reasons": ("base", "reasons", {}),
    "fixed": ("change", "fixed", 99),
    "broken": ("change", "broken", 99),
    "p": ("change", "mcnemar_p", 1e-9),
    "uncertain": ("uncertain", 1),
    "adapted": ("adapted", 1),
    "tpr": ("estimator", "tpr", 0.0),
    "seconds": ("stages", "seconds", 1e-9),
    "tokens of a stage": ("stages", "by_stage", "answer", "prompt_tokens", 1),
    "seed": ("seed", 7),
    "name": ("name", "another"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_what_the_records_make(
    name: str, finished: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the manifest was made anew."""
    before = open_run(finished).seeds[0].results
    edit(mine, "seed-0/results.json", put(*RESULTS[name]))
    sealed(mine)
    (seed,) = open_run(mine).seeds
    assert seed.results == before
    pointer = "/" + "/".join(map(str, RESULTS[name][:-1]))
    assert f"{pointer}" in seed.doubt
    assert pointer in capsys.readouterr().err
    assert {**again(mine), "finished": None} == {**before, "finished": None}
    assert f"results.json is not what the records make: {pointer}" in capsys.readouterr().err
    assert open_run(mine).seeds[0].doubt == ""


def test_the_report_shows_what_the_records_make_and_says_so(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(mine, "seed-0/results.json", put("accuracy", 0.123))
    assert main(["report", str(mine)]) == 0
    text = (mine / "report.html").read_text()
    assert "12.3 %" not in text
    assert "/accuracy is 0.123, and made of the records it is 1.0" in text
    assert "/accuracy is 0.123" in capsys.readouterr().err


# ---------------------------------------------------------------- scores


def _verdict(at: int, play: str, **changed: Any) -> Callable[[list[Any]], None]:
    return lambda rows: rows[at][f"{play}_score"].update(changed)


SCORES = {
    f"{play} of {at}, {word}": _verdict(at, play, **changed)
    for at, play, word, changed in [
        *((at, "base", "right", {"correct": True, "reason": None}) for at in (1, 3, 5)),
        *((at, "base", "wrong", {"correct": False, "reason": "wrong_name"}) for at in (0, 2, 4)),
        *((at, "final", "wrong", {"correct": False, "reason": "unparsable"}) for at in range(6)),
        *((at, "base", "another reason", {"reason": "wrong_count"}) for at in (1, 3, 5)),
    ]
}


def _all_right(rows: list[Any]) -> None:
    for row in rows:
        row["base_score"] |= {"correct": True, "reason": None}


@pytest.mark.parametrize("name", [*SCORES, "all"])
def test_scores_are_what_the_answers_earn(
    name: str, finished: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(mine, "seed-0/samples.jsonl", SCORES.get(name, _all_right))
    if len(name) % 2:
        sealed(mine)
    found = again(mine)
    assert read(mine / "seed-0/samples.jsonl") == read(finished / "seed-0/samples.jsonl")
    before = read(finished / "seed-0/results.json")
    assert {**found, "finished": None} == {**before, "finished": None}
    assert "was edited: the scores of rows/" in capsys.readouterr().err


def test_a_report_says_that_scores_were_edited(mine: Path) -> None:
    edit(mine, "seed-0/samples.jsonl", _all_right)
    assert main(["report", str(mine)]) == 0
    text = reports.Page((mine / "report.html").read_text()).text
    assert "3 records with a score that the answers do not earn" in text


def test_edited_scores_of_an_unfinished_run_do_not_count(finished: Path, mine: Path) -> None:
    seed = mine / "seed-0"
    (seed / "manifest.json").unlink()
    write(seed / "samples.jsonl", read(seed / "samples.jsonl")[:4])
    edit(seed, "samples.jsonl", SCORES["base of 1, right"])
    assert again(mine)["accuracy"] == 1.0
    kept = [row | {"costs": None} for row in read(finished / "seed-0/samples.jsonl")[:4]]
    assert [row | {"costs": None} for row in read(seed / "samples.jsonl")[:4]] == kept


def test_edited_scores_of_estimates_do_not_count(tmp_path: Path) -> None:
    document = reports.document(budget=0.5, benchmark=DOCUMENT["benchmark"])
    (cell,) = ttsi.evaluate(document, out=tmp_path)
    seed = cell.folder / "seed-0"
    (seed / "manifest.json").unlink()
    write(seed / "samples.jsonl", [])
    edit(seed, "estimates.jsonl", _all_right)
    ttsi.evaluate(document, out=tmp_path)
    assert [
        s.correct for r in open_run(seed, "estimates.jsonl").seeds[0].records if (s := r.base_score)
    ] == [True, False] * 3


def test_records_of_another_seed_are_refused(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(mine, "seed-0/samples.jsonl", lambda rows: rows[2].update(seed=5))
    for seal in (False, True):
        if seal:
            sealed(mine)
        with pytest.raises(RunError, match="rows/2 is of seed 5, in the folder of seed 0"):
            again(mine)
    assert "There are records of seed 5" in open_run(mine).seeds[0].doubt
    assert "seed 5" in capsys.readouterr().err


def test_a_run_that_nobody_edited_is_left_alone(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in mine.rglob("*") if path.is_file()}
    again(mine)
    assert {path: path.stat().st_mtime_ns for path in mine.rglob("*") if path.is_file()} == before
    assert capsys.readouterr().err == ""


# ---------------------------------------------------------------- size


def test_a_large_page_is_told_of_before_it_is_made(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ttsi.cli import report

    monkeypatch.setattr(report, "_LARGE", 5_000)
    assert main(["report", str(mine), "--limit-samples", "6"]) == 0
    assert "the page will have about" in capsys.readouterr().err
    assert main(["report", str(mine), "--limit-samples", "1"]) == 0
    assert "the page will have about" not in capsys.readouterr().err


def test_the_size_is_about_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is estimated from the records: within a factor of two for what each sample adds."""
    rows = {"name": "ttsi-fakes/rows", "rows": 40}
    folder = reports.made(tmp_path, benchmark=rows).folder
    sizes = []
    for limit in (0, 40):
        assert main(["report", str(folder), "--limit-samples", str(limit)]) == 0
        sizes.append((folder / "report.html").stat().st_size)
    stored = (folder / "seed-0/samples.jsonl").stat().st_size
    assert 0.5 < (sizes[1] - sizes[0]) / stored < 2
    assert json.dumps(capsys.readouterr().err) == '""'
