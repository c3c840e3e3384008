"""Served answers are, byte for byte, those of `ttsi eval` under the same spec, alone and together.

The model is tiny and random: what it says does not matter, only that it is the same. It is adapted
by training on labelled rows, since it writes no valid examples.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from serving import Server, serving
from tiny_model import write_folder

import ttsi
from ttsi.records.journal import read
from ttsi.types import Record, Task
from ttsi_benchmarks.sealtool import INSTRUCTION, SealTool


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = write_folder(tmp_path_factory.mktemp("tiny") / "model")
    return {
        "name": "tiny",
        "model": {"id": str(folder), "dtype": "float32"},
        "engine": {"name": "transformers", "device": "cpu", "memory_gib": 1},
        "benchmark": {"name": "sealtool", "limit": 20},
        "estimator": "always",
        "learner": {"name": "nearest", "mode": "pairs", "shots": 1, "learning_rate": 0.05},
        "inference": {
            "name": "direct",
            "format": "tool_calls",
            "decoding": "greedy",
            "max_tokens": 24,
            "min_calls": 1,
        },
    }


def asked(task: Task) -> dict[str, Any]:
    """Return the request of a client that has the sample's instruction, tools and query."""
    tools = [
        {"type": "function", "function": {"name": t.name, "description": t.description,
                                          "parameters": dict(t.parameters)}}
        for t in task.tools
    ]  # fmt: skip
    messages = [
        {"role": "system", "content": INSTRUCTION},
        {"role": "user", "content": task.input},
    ]
    return {
        "model": "tiny",
        "messages": messages,
        "tools": tools,
        "metadata": {"ttsi_id": task.id},
    }


def texts(server: Server, journal: Path, tasks: Sequence[Task], at_a_time: int) -> dict[str, str]:
    """Return the texts that were written for the tasks, by the journal."""
    before = len(journal.read_text().splitlines())
    with ThreadPoolExecutor(at_a_time) as pool:
        for status, _, answer in pool.map(lambda task: server.chat(**asked(task)), tasks):
            assert status == 200
            assert answer["ttsi"]["adapted"] is True
    lines = [json.loads(line) for line in journal.read_text().splitlines()[before:]]
    assert len(lines) == len(tasks)
    return {line["request"]["metadata"]["ttsi_id"]: line["answers"][0]["text"] for line in lines}


def test_answers_are_those_of_a_run_alone_and_16_at_a_time(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    (cell,) = ttsi.evaluate(spec, out=tmp_path / "runs")
    records: list[Record] = list(read(cell.folder / "seed-0" / "samples.jsonl"))
    wanted = {record.id: record.final.text for record in records if record.final and record.adapted}
    assert len(wanted) == 20
    assert len({*wanted.values()}) > 5
    assert any(record.base and wanted[record.id] != record.base.text for record in records)
    tasks = [sample.task for sample in SealTool(limit=20).samples()]
    journal = tmp_path / "journal.jsonl"
    with serving(spec, journal=journal, window=0.3) as server:
        assert texts(server, journal, tasks, 1) == wanted
        assert texts(server, journal, tasks, 16) == wanted
