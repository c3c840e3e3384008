"""How submitting begins: sizes and names are looked at, and what a killed one left goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import reports
from submissions import submit_run

from ttsi.cli.main import main
from ttsi.errors import UsageError
from ttsi.leaderboard import safe
from ttsi.leaderboard import submit as submitting
from ttsi.leaderboard.submit import submit

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = {"name": "ttsi-fakes/rows", "rows": 6}
    return reports.made(tmp_path_factory.mktemp("runs"), benchmark=rows, seeds=[1, 2]).folder


def test_sizes_are_looked_at_before_any_work(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is taken out for publication does not count; the run is not even opened."""
    names = ("seed-1/samples.jsonl", "seed-2/samples.jsonl")
    stored = max((run / name).stat().st_size for name in names)
    files = submit_run(run, tmp_path / "whole").files
    published = max(files[name] for name in names)
    assert published < stored
    monkeypatch.setattr(safe, "MAX_LINES", published)
    submit_run(run, tmp_path / "fits")
    monkeypatch.setattr(submitting, "open_run", lambda path: pytest.fail("it was opened"))
    monkeypatch.setattr(safe, "MAX_LINES", published // 2)
    with pytest.raises(UsageError, match="samples fill") as caught:
        submit_run(run, tmp_path)
    assert "limit" in caught.value.cure
    monkeypatch.setattr(safe, "MAX_LINES", stored)
    monkeypatch.setattr(safe, "MAX_TOTAL", stored)
    with pytest.raises(UsageError, match="of all seeds"):
        submit_run(run, tmp_path)
    monkeypatch.setattr(safe, "MAX_JSON", 1000)
    with pytest.raises(UsageError, match=r"spec.resolved.json has [0-9,]+ bytes"):
        submit_run(run, tmp_path)


def test_names_that_look_like_others_are_refused(run: Path, tmp_path: Path) -> None:
    submit_run(run / "seed-1", tmp_path)
    for who in ("ACME/tt-si", "acm-e/other", "acme/TT-SI"):
        with pytest.raises(UsageError, match="looks like"):
            submit(run / "seed-2", tmp_path / "leaderboards", who, third_party=True)
    assert submit(run / "seed-2", tmp_path / "leaderboards", "acme/other", third_party=True)


def test_submit_and_contributing_say_one_thing_of_rendering(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["leaderboard", "submit", str(run), "--to", str(tmp_path), "--as", "acme/x"]
    assert main([*words, "--third-party"]) == 0
    assert "next: commit this folder and nothing else" in capsys.readouterr().out
    text = " ".join((ROOT / "leaderboards/CONTRIBUTING.md").read_text(encoding="utf-8").split())
    assert "Commit that folder and nothing else, and open a pull request" in text
    assert "a maintainer merges it and runs `ttsi leaderboard render`" in text


def test_what_a_killed_submission_left_goes(run: Path, tmp_path: Path) -> None:
    where = tmp_path / "leaderboards" / "submissions"
    old, new = where / ".submitting-abc", where / ".submitting-def"
    for folder in (old, new):
        (folder / "partial").mkdir(parents=True)
    os.utime(old, (0, 0))
    submit_run(run / "seed-2", tmp_path)
    assert not old.exists()
    assert new.exists()
