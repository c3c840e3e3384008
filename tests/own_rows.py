"""Rows for tests of the benchmark `file`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ttsi import registry
from ttsi.errors import (
    PluginError,
    TtsiError,
    UsageError,
)
from ttsi.types import Completion, Sample
from ttsi_benchmarks.file import File

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "own-data"

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "Weather now", "parameters": CITY}
ALARM = {
    "name": "set_alarm",
    "description": "Ring later",
    "parameters": {
        "type": "object",
        "properties": {"hour": {"type": "integer", "minimum": 0}, "label": {"type": "string"}},
        "required": ["hour"],
    },
}
ROME = {"name": "get_weather", "arguments": {"city": "Rome"}}
OPENAI_ROME = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'},
}
TALK = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Weather in Oslo "},
            {"type": "text", "text": "and Rome?"},
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [OPENAI_ROME, OPENAI_ROME],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    {"role": "tool", "tool_call_id": "call_2", "content": "rain"},
    {"role": "assistant", "content": "Sunny, and rain."},
    {"role": "user", "content": "Wake me at seven."},
]


def row(**changed: Any) -> dict[str, Any]:
    """Return a valid row with changes; keys changed to None are left out."""
    made = {"input": "Weather in Rome?", "tools": [WEATHER, ALARM], "reference": [ROME]} | changed
    return {key: value for key, value in made.items() if value is not None}


def written(folder: Path, *rows: Any, name: str = "my.jsonl") -> str:
    path = folder / name
    path.write_text("".join(f"{json.dumps(each)}\n" for each in rows), encoding="utf-8")
    return str(path)


def one(folder: Path, options: dict[str, Any] | None = None, **changed: Any) -> Sample:
    (sample,) = File(path=written(folder, row(**changed)), **(options or {})).samples()
    return sample


def refused(path: str, **options: Any) -> TtsiError:
    with pytest.raises((UsageError, PluginError)) as caught:
        File(path=path, **options).samples()
    return caught.value


def scores(sample: Sample, text: str) -> bool:
    from ttsi.answers import form_of

    scorer: Any = registry.load("scorers", "exact")
    completion = Completion(text, form_of(sample.task).parse(sample.task, text))
    return bool(scorer().score(sample.task, sample.reference, completion).correct)
