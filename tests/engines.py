"""One engine for all tests of a process, and short real prompts for it.

The renderer is not that of the benchmarks, so that these tests do not depend on it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from pathlib import Path
from typing import Any

import architectures
import pytest
from tiny_model import write_folder

from ttsi.types import Message, Prompt
from ttsi_plugins.engines.transformers import TransformersEngine

OPENING = '[{"name": "'
ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def shared_engine() -> TransformersEngine:
    """Return the embedded model in float32 on the CPU."""
    engine = TransformersEngine({"id": "smollm2-135m"}, device="cpu")
    engine.load()
    return engine


def small_engine(path: Path, mode: str) -> TransformersEngine:
    """Return an engine of a random model whose tokens are bytes, which runs in `mode`."""
    if mode == "native":
        architectures.folder(path / "model", "falcon", {"num_kv_heads": 2})
    else:
        write_folder(path / "model")
    engine = TransformersEngine({"id": str(path / "model")}, device="cpu", memory_gib=1)
    engine.load()
    assert engine.describe()["mode"] == mode
    return engine


def may_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the shared engine's batch sizes after a test that lets it run out of memory."""
    runtime = shared_engine()._runtime()
    for part in (runtime.reader, runtime.decoder, runtime):
        monkeypatch.setattr(part, "room", dataclasses.replace(part.room))


def data(name: str) -> Path:
    folder = Path(os.environ.get("TTSI_DATA_DIR") or ROOT.parent / "shared" / "data")
    return folder / name


def hammer(name: str) -> list[dict[str, Any]]:
    """Return rows of a data set in Hammer's format: query, tools."""
    return list(json.loads(data(f"hammer/{name}.json").read_text()))


def nexusraven() -> list[dict[str, Any]]:
    lines = data("nexusraven/standardized_api_list.jsonl").read_text().splitlines()
    tools = {tool["name"]: tool for tool in map(json.loads, lines)}
    rows = data("nexusraven/standardized_queries.jsonl").read_text().splitlines()
    return [
        {"query": row["prompt"], "tools": [tools[name] for name in row["context_functions"]]}
        for row in map(json.loads, rows)
    ]


def short_tasks(rows: list[dict[str, Any]], count: int) -> list[tuple[Prompt, list[str]]]:
    """Return prompt and tool names of the `count` shortest rows with at least three tools."""
    tasks = []
    for row in rows:
        names = list(dict.fromkeys(tool["name"] for tool in row["tools"]))
        lines = [f"- {tool['name']}: {tool['description'].strip()[:60]}" for tool in row["tools"]]
        system = Message("system", "Answer with one call of these tools:\n" + "\n".join(lines))
        query = row["query"]
        if isinstance(query, list):
            query = "\n".join(f"{turn['role']}: {turn['content']}" for turn in query)
        if len(names) >= 3:
            tasks.append((Prompt((system, Message("user", query))), names))
    tasks.sort(key=lambda task: sum(len(message.content) for message in task[0].messages))
    return tasks[:count]


def real_tasks(count: int) -> list[tuple[Prompt, list[str]]]:
    """Return `count` tasks of each of four benchmarks."""
    sources = [hammer("sealtool"), nexusraven(), hammer("apibank_l1"), hammer("toolalpaca")]
    return [task for rows in sources for task in short_tasks(rows, count)]


def ask(text: str, opening: str = "") -> Prompt:
    """Return a short prompt."""
    return Prompt((Message("system", "Be brief."), Message("user", text)), opening)
