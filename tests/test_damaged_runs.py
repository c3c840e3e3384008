"""Commands that read a damaged run folder report what is wrong, where, and the cure."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from told import assert_told, finished, here, run

__all__ = ["finished", "here"]

OF_A_RUN = {
    "report": ["report", "GIVEN", "-o", "page.html"],
    "compare A": ["compare", "GIVEN", "RUN"],
    "compare B": ["compare", "RUN", "GIVEN"],
    "calibrate": ["calibrate", "GIVEN", "--out", "out"],
    "export": ["export", "GIVEN"],
    "export to inspect": ["export", "GIVEN", "--to", "inspect"],
    "export-adapter": ["export-adapter", "GIVEN", "rows/1", "adapter"],
    "submit": ["leaderboard", "submit", "GIVEN", "--as", "a/b", "--dry-run"],
}
FILES = (
    *("spec.resolved.json", "identity.json", "sessions.json", "results.json"),
    *("samples.jsonl", "manifest.json"),
)
CONTENTS = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "object": b"{}",
    "text": b'"x"\n',
    "number": b"1\n",
    "bytes": b"\xff\xfe\x00",
    "too deep": b"[" * 10**5 + b"\n",
}


def copied(finished: Path, here: Path) -> Path:
    shutil.copytree(finished, here / "run")
    return here / "run" / "seed-0"


def look(
    command: str, here: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    words = {"GIVEN": str(here / "run"), "RUN": str(finished)}
    code, said = run([words.get(word, word) for word in OF_A_RUN[command]], capsys)
    assert_told(code, said)
    return code, said


@pytest.mark.parametrize("content", [*CONTENTS, "missing", "a folder", "a link to itself"])
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("command", OF_A_RUN)
def test_a_damaged_run_is_told_of(
    command: str,
    file: str,
    content: str,
    here: Path,
    finished: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = copied(finished, here) / file
    path.unlink()
    if content == "a folder":
        path.mkdir()
    elif content == "a link to itself":
        path.symlink_to(path.name)
    elif content != "missing":
        path.write_bytes(CONTENTS[content])
    look(command, here, finished, capsys)


@pytest.mark.parametrize("value", [None, 1, "x", [1], {"a": 1}, True])
@pytest.mark.parametrize("command", ["report", "compare B", "calibrate", "export"])
def test_a_record_of_other_types_is_told_of(
    command: str, value: Any, here: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(finished, here) / "samples.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for key in rows[1]:
        odd = rows[1] | {key: value}
        lines = [json.dumps(row) + "\n" for row in (rows[0], odd, *rows[2:])]
        path.write_text("".join(lines))
        look(command, here, finished, capsys)
    for key in ("estimate", "base", "final", "base_score"):
        for inner in rows[1][key]:
            odd = rows[1] | {key: rows[1][key] | {inner: value}}
            path.write_text("".join(json.dumps(row) + "\n" for row in (rows[0], odd, *rows[2:])))
            look(command, here, finished, capsys)


@pytest.mark.parametrize("value", [None, "x", -1])
def test_results_of_other_types_are_told_of_and_the_cure_works(
    value: Any, here: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(finished, here) / "results.json"
    results = json.loads(path.read_text())
    for key in results:
        path.write_text(json.dumps(results | {key: value}))
        code, said = look("report", here, finished, capsys)
        if code:
            assert "Delete results.json there" in said
    path.unlink()
    shutil.move(here / "run", here / "out" / finished.name)
    assert run(["eval", "spec.json", "--out", "out", "--progress", "none"], capsys)[0] == 0
    made_anew = json.loads((here / "out" / finished.name / "seed-0" / "results.json").read_text())
    assert made_anew["accuracy"] == results["accuracy"]


@pytest.mark.parametrize("command", OF_A_RUN)
def test_a_run_that_was_killed_before_its_first_sample_is_told_of(
    command: str, here: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = copied(finished, here)
    for name in ("results.json", "manifest.json", "predictions.jsonl"):
        (seed / name).unlink()
    (seed / "samples.jsonl").write_bytes(b"")
    code, _ = look(command, here, finished, capsys)
    assert (code == 0) == (command in ("report", "export", "export to inspect"))


@pytest.mark.parametrize("name", ["seed-x", "seed-\u00b2", "seed-", "seed--"])
@pytest.mark.parametrize("command", OF_A_RUN)
def test_a_seeds_folder_of_another_name_is_told_of(
    command: str, name: str, here: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied(finished, here).rename(here / "run" / name)
    assert look(command, here, finished, capsys)[0] != 0
