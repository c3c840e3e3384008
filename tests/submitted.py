"""A valid submission, for tests that modify copies of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import reports
from submissions import copied, read, submit_run, write

ROWS = {"name": "ttsi-fakes/rows", "rows": 4}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reports.made(tmp_path_factory.mktemp("runs"), benchmark=ROWS).folder


@pytest.fixture(scope="module")
def honest(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return submit_run(run, tmp_path_factory.mktemp("honest")).folder


@pytest.fixture
def mine(honest: Path, tmp_path: Path) -> Path:
    return copied(honest, tmp_path)


def no_base_answer(seed: Path) -> None:
    rows = read(seed / "samples.jsonl")
    next(row for row in rows if row["adapted"]).update({"base": None, "base_score": None})
    write(seed / "samples.jsonl", rows)
