"""-q: nothing is said but what is asked for, and what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ttsi.cli import main as cli

SPEC = {
    "name": "scripted",
    "model": {"id": "scripted"},
    "engine": "ttsi-fakes/scripted",
    "benchmark": {"name": "ttsi-fakes/rows", "rows": 4},
    "inference": {"name": "direct", "decoding": "greedy"},
    "matrix": {"/estimator": ["never", "always"]},
}

SILENT = (
    ["validate", "spec.json"],
    ["eval", "spec.json"],
    ["eval", "spec.json", "--progress", "lines"],
    ["report", "RUN", "-o", "page.html"],
    ["export", "RUN"],
    ["new-plugin", "estimator", "acme-x"],
)
ASKED_FOR = (
    ["prompts", "spec.json"],
    ["calibrate", "spec.json", "--set", "estimator=random"],
    ["runs"],
    ["compare", "RUN", "RUN"],
    ["plugins"],
    ["schema"],
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a run's folder, in a place with its spec."""
    monkeypatch.chdir(tmp_path)
    Path("spec.json").write_text(json.dumps(SPEC))
    assert cli.main(["eval", "spec.json"]) == 0
    return str(next(Path("runs").glob("scripted-*/")))


def test_nothing_is_said_that_files_hold(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    for words in SILENT:
        argv = [run if word == "RUN" else word for word in words]
        assert cli.main(["-q", *argv]) == 0, argv
        out, err = capsys.readouterr()
        assert err == "", argv
        assert out == "", argv
    for words in ASKED_FOR:
        argv = [run if word == "RUN" else word for word in words]
        assert cli.main([*argv, "-q"]) == 0, argv
        out, err = capsys.readouterr()
        assert (out != "", err) == (True, ""), argv


def test_what_goes_wrong_is_said(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert cli.main(["-q", "eval", "nowhere.json"]) == 2
    assert "There is no spec nowhere.json" in capsys.readouterr().err
    results = Path(run) / "seed-0" / "results.json"
    results.write_text(results.read_text().replace('"accuracy"', '"acuracy"', 1))
    cli.main(["-q", "eval", "spec.json"])
    assert "is not what the records make" in capsys.readouterr().err
    failing = ["--set", 'engine={"name": "ttsi-fakes/scripted", "failing": 0.6}']
    assert cli.main(["-q", "eval", "spec.json", *failing]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "samples ended in an error" in err
