"""Runs that are interrupted and then continued, unchanged or with another identity."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import ttsi
from ttsi.errors import RunError
from ttsi.hooks import hookimpl
from ttsi.records.journal import read
from ttsi.running.cell_result import CellResult
from ttsi_fakes import ScriptedEngine

OTHER = "sha256:" + "0" * 64


def spec(**changed: Any) -> dict[str, Any]:
    return {
        "name": "who",
        "model": {"id": "scripted"},
        "engine": "ttsi-fakes/scripted",
        "benchmark": {"name": "ttsi-fakes/rows", "rows": 4},
        "estimator": "always",
        "inference": {"name": "direct", "decoding": "greedy"},
        "executor": {"name": "local", "wave": 1},
    } | changed


class Interrupts:
    """Presses ctrl-C after the first sample."""

    @hookimpl
    def ttsi_sample_finished(self, record: Any) -> None:
        raise KeyboardInterrupt


def begun(out: Path, document: Mapping[str, Any]) -> Path:
    """Return the first seed's folder of a run that was interrupted after one sample."""
    with pytest.raises(KeyboardInterrupt):
        ttsi.evaluate(document, out=out, hooks=[Interrupts()])
    (folder,) = out.glob("*/seed-0")
    assert len(list(read(folder / "samples.jsonl"))) == 1
    return folder


def run(out: Path, document: Mapping[str, Any] | None = None, **options: Any) -> CellResult:
    (cell,) = ttsi.evaluate(document or spec(), out=out, **options)
    return cell


def identity(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "identity.json").read_text()))


def state(folder: Path) -> dict[str, bytes]:
    """Return the content of all files that are not empty."""
    files = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: held for name, held in files.items() if held}


def refused(go_on: Callable[[], object], folder: Path, *keys: str) -> str:
    """Check that `go_on` is refused for exactly these keys, and leaves the folder unchanged."""
    before = state(folder)
    with pytest.raises(RunError) as caught:
        go_on()
    lines = caught.value.what.splitlines()[1:]
    assert sorted(line.split(" was ")[0].strip() for line in lines) == sorted(keys)
    assert "Get back what it was" in caught.value.cure
    assert "--fresh" in caught.value.cure
    assert state(folder) == before
    return caught.value.what


def says(monkeypatch: pytest.MonkeyPatch, **other: Any) -> None:
    plain = ScriptedEngine.identity
    monkeypatch.setattr(ScriptedEngine, "identity", lambda engine: plain(engine) | other)
    if "weights_digest" in other:
        monkeypatch.setattr(ScriptedEngine, "digest", lambda engine: other["weights_digest"])
