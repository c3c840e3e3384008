"""A fake benchmark: small tasks whose tools have parameters of many types."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, ClassVar

from ttsi.answers.calls.values import ToolCall, answer_with
from ttsi.digests import json_digest
from ttsi.options import option
from ttsi.testing.instances import instance
from ttsi.types import JSON, Example, Message, Sample, Task, Tool


def _tool(name: str, description: str, required: Sequence[str], **properties: Any) -> Tool:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return Tool(name, description, parameters)


_TEXT = {"type": "string"}
WEATHER = _tool("get_weather", "Weather in a city", ["city"], city=_TEXT)
CONVERT = _tool(
    "convert_money",
    "Convert an amount of money",
    ["amount", "currency"],
    amount={"type": "number", "minimum": 0},
    currency={"enum": ["EUR", "NOK", "USD"]},
)
BOOK = _tool(
    "book_table",
    "Book a table",
    ["guests", "place"],
    guests={"type": "integer", "minimum": 1, "maximum": 12},
    outdoors={"type": "boolean", "default": False},
    place={"type": "object", "properties": {"name": _TEXT}, "required": ["name"]},
    wishes={"type": "array", "items": _TEXT},
)
TOOLS = (WEATHER, CONVERT, BOOK)


@dataclass(frozen=True)
class FakeBenchmark:
    """The samples fake/0, fake/1, ...: they offer one tool or three and need one call or two."""

    scoring: ClassVar[Mapping[str, JSON]] = {}

    rows: int = option(6, "How many samples; as many more are for training.", minimum=1)

    def samples(self) -> list[Sample]:
        return [_sample(f"fake/{row}", row) for row in range(self.rows)]

    def train(self) -> list[Sample]:
        """Return as many labelled rows, none of which is a sample."""
        return [_sample(f"fake/train/{row}", row + self.rows) for row in range(self.rows)]

    def revision(self) -> str:
        return json_digest([sample.digest for sample in [*self.samples(), *self.train()]])


def example_of(task: Task, number: int = 0) -> Example:
    """Return a valid synthetic example of `task`, as a generator would make it."""
    draw = Random(f"{task.id} {number}")
    tool = draw.choice(task.tools)
    call = ToolCall(tool.name, instance(tool.parameters, draw))
    variant = task.variant(str(number), input=f"Another request like it, number {number}.")
    return Example(variant, answer_with([call]), json.dumps(call.as_json()), attempts=1)


def _sample(name: str, row: int) -> Sample:
    """Return a row's sample, in turn with one tool, several, nested values, or two calls.

    One of the four is the end of a conversation.
    """
    city = f"City{row}"
    match row % 4:
        case 0:
            return _made(name, f"How is the weather in {city}?", [_weather(city)], [WEATHER])
        case 1:
            call = ToolCall("convert_money", {"amount": row + 0.5, "currency": "NOK"})
            return _made(name, f"What are {row + 0.5} NOK worth?", [call])
        case 2:
            call = ToolCall("book_table", {"guests": 1 + row % 12, "place": {"name": city}})
            made = _made(name, f"A table for {1 + row % 12} at {city}, please.", [call])
            return replace(made, task=made.task.after([*_talk(city), *made.task.said]))
        case _:
            calls = [_weather(city), _weather(f"{city}-upon-Sea")]
            return _made(name, f"Is it nicer in {city} or in {city}-upon-Sea?", calls)


def _talk(city: str) -> list[Message]:
    call = json.dumps([_weather(city).as_json()])
    asked = Message("user", f"Can one sit outdoors in {city}?")
    return [
        asked,
        Message("assistant", call),
        Message("tool", "sunny"),
        Message("assistant", "Yes."),
    ]


def _weather(city: str) -> ToolCall:
    return ToolCall("get_weather", {"city": city})


def _made(
    name: str, question: str, calls: Sequence[ToolCall], tools: Sequence[Tool] = TOOLS
) -> Sample:
    # Each sample has copies: what one plugin does to a schema must not affect the next.
    offered = tuple(copy.deepcopy(list(tools)))
    lines = [
        json.dumps({"name": t.name, "description": t.description, "parameters": t.parameters})
        for t in offered
    ]
    instruction = "\n".join(["Call the tools that answer the user. Tools:", *lines])
    return Sample(Task(name, offered, instruction, question), answer_with(calls))
