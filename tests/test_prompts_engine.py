"""`ttsi prompts` loads, asks and closes its engine in this order, whatever happens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from _specs import clear_environment

import ttsi_fakes
from ttsi.cli import main as cli
from ttsi.errors import MissingAsset
from ttsi.solving.prompts import shown
from ttsi.spec import load_spec

SPEC = {
    "engine": "ttsi-fakes/scripted",
    "benchmark": {"name": "ttsi-fakes/rows", "rows": 1},
    "estimator": {"name": "rss_margin", "threshold": 1.0},
}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    clear_environment(monkeypatch)


def told() -> dict[str, Any]:
    (spec,) = load_spec(SPEC)
    return shown(spec, all_stages=True)


def test_the_engine_is_closed_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    scripted = ttsi_fakes.ScriptedEngine
    monkeypatch.setattr(scripted, "close", lambda self: closed.append(True))

    def fail(self: Any) -> Any:
        raise RuntimeError("no description")

    monkeypatch.setattr(scripted, "describe", fail)
    with pytest.raises(RuntimeError):
        told()
    assert closed == [True]


def test_the_engine_is_loaded_before_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that is not loaded need not answer, as the protocol says."""
    loaded: list[Any] = []
    scripted = ttsi_fakes.ScriptedEngine
    monkeypatch.setattr(scripted, "load", lambda self: loaded.append(self))
    for name in ("loglikelihoods", "generate", "train", "describe"):
        plain = getattr(scripted, name)

        def asked(self: Any, *given: Any, plain: Any = plain) -> Any:
            assert any(self is each for each in loaded), "asked before it was loaded"
            return plain(self, *given)

        monkeypatch.setattr(scripted, name, asked)
    found = told()
    assert not found["error"]
    assert [each["stage"] for each in found["stages"]] == [
        "estimate",
        "answer",
        "generate",
        "learn",
        "adapted",
    ]
    assert len(loaded) == 1


def test_an_engine_that_does_not_load_is_closed_and_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(ttsi_fakes.ScriptedEngine, "close", lambda self: closed.append(True))
    path = tmp_path / "tried.json"
    engine = {"name": SPEC["engine"], "at_load": "missing"}
    path.write_text(json.dumps({**SPEC, "engine": engine}))
    assert cli.main(["prompts", str(path)]) == MissingAsset.exit_code
    assert "There is no such model." in capsys.readouterr().err
    assert closed == [True]
