"""Forty everyday requests, written for ttsi and shipped with it: no download, short prompts.

`quickstart.json` holds a pool of tools, and rows that offer three or four of them:

    {"tools": {"feed_pet": {"description": "Feed a pet", "parameters": {"name": "string"}}, ...},
     "rows": [{"query": "Feed Rex.", "tools": ["feed_pet", "walk_pet", "call_vet"],
               "calls": [{"name": "feed_pet", "arguments": {"name": "Rex"}}]}, ...]}

Every parameter is required and every right value stands in the query. Two rows need two calls.
`quickstart_train.json` holds rows for training with the same pool of tools; none of them calls a
tool that a test row calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, ClassVar

from ttsi import JSON, Sample, Tool, ToolCall, answer_with, json_digest
from ttsi.rows.rendering import make_task
from ttsi_benchmarks._notation import object_schema, type_schema
from ttsi_benchmarks._select import CallSelection

INSTRUCTION = "Call the tool that does what the user asks."


@dataclass(frozen=True)
class Quickstart(CallSelection):
    """Forty everyday requests with three or four short tools, shipped with ttsi.

    Ids are quickstart/0 to quickstart/39.
    """

    scoring: ClassVar[Mapping[str, JSON]] = {}

    def all_samples(self) -> list[Sample]:
        return _samples("quickstart", _read("quickstart.json")["rows"])

    def train(self) -> list[Sample]:
        """Return rows for training: quickstart/train/0 to 23. Options of selection do not apply."""
        return self.asked(_samples("quickstart/train", _read("quickstart_train.json")["rows"]))

    def revision(self) -> str:
        return json_digest(_read("quickstart.json"))


def _read(name: str) -> dict[str, Any]:
    file = resources.files("ttsi_benchmarks").joinpath(name)
    data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return data


def _samples(prefix: str, rows: list[Mapping[str, Any]]) -> list[Sample]:
    pool = _read("quickstart.json")["tools"]
    tools = {name: _tool(name, given) for name, given in pool.items()}
    return [_sample(f"{prefix}/{i}", row, tools) for i, row in enumerate(rows)]


def _tool(name: str, given: Mapping[str, Any]) -> Tool:
    properties = {key: type_schema(words) for key, words in given["parameters"].items()}
    return Tool(name, given["description"], object_schema(properties, properties))


def _sample(id: str, row: Mapping[str, Any], tools: Mapping[str, Tool]) -> Sample:
    offered = [tools[name] for name in row["tools"]]
    calls = [ToolCall(call["name"], call["arguments"]) for call in row["calls"]]
    return Sample(make_task(id, INSTRUCTION, offered, row["query"]), answer_with(calls))
