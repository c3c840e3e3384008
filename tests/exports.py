"""Runs whose adapters are made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ttsi
from ttsi.cli.main import main
from ttsi.records.journal import read
from ttsi.types import Record


def spec(**changed: Any) -> dict[str, Any]:
    return {
        "name": "scripted",
        "model": {"id": "scripted"},
        "engine": "ttsi-fakes/scripted",
        "benchmark": {"name": "ttsi-fakes/rows", "rows": 5},
        "estimator": "always",
        "inference": {"name": "direct", "decoding": "greedy"},
        "executor": {"name": "local", "wave": 2},
    } | changed


def run(out: Path, **changed: Any) -> Path:
    (cell,) = ttsi.evaluate(spec(**changed), out=out)
    return cell.folder


def record_of(folder: Path, sample: str) -> Record:
    records = read(folder / "seed-0" / "samples.jsonl")
    return next(record for record in records if record.id == sample)


def export(folder: Path, sample: str, to: Path, *words: str) -> int:
    return main(["export-adapter", str(folder), sample, str(to), *words])
