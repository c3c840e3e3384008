"""Helpers for tests of hostile commands: a finished run, and checks for every command."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest

import ttsi
from ttsi.cli import main as cli

SPEC = {
    "name": "small",
    "model": {"id": "scripted"},
    "engine": "ttsi-fakes/scripted",
    "benchmark": {"name": "ttsi-fakes/rows", "rows": 4},
    "estimator": "rss_margin",
    "inference": {"name": "direct", "decoding": "greedy"},
}
LINE = '{"id": "rows/0", "text": "[]"}\n'


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run with one seed."""
    (cell,) = ttsi.evaluate(SPEC, out=tmp_path_factory.mktemp("runs"))
    return cell.folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    return tmp_path


@functools.cache
def documented() -> frozenset[int]:
    told = cli._HELP.split("exit codes:")[1]
    return frozenset(int(word) for word in told.split() if word.isdigit())


def run(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = cli.main(argv)
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def assert_told(code: int, said: str) -> None:
    assert code in documented()
    assert "Traceback" not in said
    assert "internal error" not in said
    if code:
        assert "cure" in said, said
        assert len(said) < 12_000
        assert "has 0 problems" not in said
