"""The shape that the Hammer repository gives to several test sets, and its conversion.

{"query": "..." or [{"role": "user", "content": "..."}, ...],
 "tools": [{"name": "...", "description": "...", "parameters": {NAME: {"type": "int", ...}},
            "required": [NAME]}],
 "answers": [{"name": "...", "arguments": {...}}]}      (or "tool" and "parameters")
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ttsi import JSON, Asset, Sample, Tool, ToolCall, answer_with, data_file, json_digest
from ttsi.assets import github_asset
from ttsi.rows.rendering import make_task
from ttsi_benchmarks._notation import object_schema, type_schema, with_hints

LOADER_VERSION = 1
"""Increase it when the same files would give other tools, references or ids."""

REPOSITORY = "MadeAgents/Hammer"
COMMIT = "ff415d9998180b5a68bbfdda3309ec04b472fb49"

Row = Mapping[str, Any]
RequiredRule = Callable[[Row], list[str]]


def hammer_asset(stem: str, sha256: str) -> Asset:
    path = f"data/test/original/{stem}.json"
    return github_asset(f"hammer/{stem}.json", REPOSITORY, COMMIT, path, sha256, "Apache-2.0")


def read_rows(asset: Asset) -> list[Row]:
    rows: list[Row] = json.loads(data_file(asset).read_text(encoding="utf-8"))
    return rows


def files_revision(*assets: Asset, loader: int = LOADER_VERSION) -> str:
    """Return a digest of the files' recorded SHA-256 and the loader's version."""
    return json_digest([loader, [[asset.name, asset.sha256] for asset in assets]])


def declared_required(tool: Row) -> list[str]:
    """Return the required parameters, declared on the parameter or in a list on the tool."""
    listed = set(tool.get("required", []))
    return [n for n, p in tool["parameters"].items() if n in listed or p.get("required") is True]


def to_sample(
    id: str, row: Row, *, instruction: str, input: str, required: RequiredRule = declared_required
) -> Sample:
    tools = [to_tool(tool, required) for tool in row["tools"]]
    return Sample(
        task=make_task(id, instruction, tools, input),
        reference=answer_with(to_call(answer) for answer in row["answers"]),
    )


def to_tool(tool: Row, required: RequiredRule) -> Tool:
    properties = {name: _property(given) for name, given in tool["parameters"].items()}
    schema = object_schema(properties, required(tool))
    return Tool(tool["name"], tool["description"].strip(), schema)


def to_call(answer: Row) -> ToolCall:
    """Return the reference as written; the scorer types its values by the schema."""
    if "tool" in answer:
        return ToolCall(answer["tool"], answer["parameters"])
    return ToolCall(answer["name"], answer["arguments"])


def _property(given: Row) -> dict[str, JSON]:
    schema = type_schema(given["type"])
    description = _description(given)
    if description:
        schema["description"] = description
    if given.get("default") not in (None, "None", ""):
        schema["default"] = given["default"]
    return schema


def _description(given: Row) -> str:
    """Return the description with hints in words: references deviate from some `choices`."""
    text = str(given.get("description", "")).strip()
    return with_hints(text, given, ("unit", "choices", "example", "examples"))
