"""Forty everyday requests, written for ttsi and shipped with it: no download, short prompts.

`quickstart.json` holds a pool of tools, and rows that offer three or four of them:

    {"tools": {"feed_pet": {"description": "Feed a pet", "parameters": {"name": "string"}}, ...},
     "rows": [{"query": "Feed Rex.", "tools": ["feed_pet", "walk_pet", "call_vet"],
               "calls": [{"name": "feed_pet", "arguments": {"name": "Rex"}}]}, ...]}

Every parameter is required and every right value stands in the query. Two rows need two calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, ClassVar

from ttsi.digests import json_digest
from ttsi.types import JSON, Sample, Tool, ToolCall
from ttsi_benchmarks._notation import object_schema, type_schema
from ttsi_benchmarks._rendering import make_task
from ttsi_benchmarks._select import Selection

INSTRUCTION = "Call the tool that does what the user asks."


@dataclass(frozen=True)
class Quickstart(Selection):
    """Benchmark `quickstart`; ids quickstart/0 to quickstart/39."""

    scoring: ClassVar[Mapping[str, JSON]] = {}

    def all_samples(self) -> list[Sample]:
        data = _read()
        tools = {name: _tool(name, given) for name, given in data["tools"].items()}
        return [_sample(f"quickstart/{i}", row, tools) for i, row in enumerate(data["rows"])]

    def revision(self) -> str:
        return json_digest(_read())


def _read() -> dict[str, Any]:
    file = resources.files("ttsi_benchmarks").joinpath("quickstart.json")
    data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return data


def _tool(name: str, given: Mapping[str, Any]) -> Tool:
    properties = {key: type_schema(words) for key, words in given["parameters"].items()}
    return Tool(name, given["description"], object_schema(properties, properties))


def _sample(id: str, row: Mapping[str, Any], tools: Mapping[str, Tool]) -> Sample:
    offered = [tools[name] for name in row["tools"]]
    calls = tuple(ToolCall(call["name"], call["arguments"]) for call in row["calls"])
    return Sample(make_task(id, INSTRUCTION, offered, row["query"]), calls)
