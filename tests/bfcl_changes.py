"""Answers near a reference of `bfcl`: all that it allows, and many kinds of changes."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ttsi.answers.calls.values import AnyOf, ToolCall, calls_in
from ttsi.types import Sample

Change = tuple[str, list[ToolCall]]
Values = Iterator[tuple[str, Any]]


def changes(sample: Sample) -> Iterator[Change]:
    """Yield (kind, calls). Answers other than "gold" and "allowed" differ in one respect."""
    gold = [ToolCall(call.name, call.arguments) for call in calls_in(sample.reference)]
    yield "gold", gold
    yield from _changed_lists(gold)
    schemas = {tool.name: tool.parameters["properties"] for tool in sample.task.tools}
    for place, call in enumerate(calls_in(sample.reference)):
        assert isinstance(call, AnyOf)
        for kind, changed in _changed_calls(call, schemas[call.name]):
            yield kind, [*gold[:place], changed, *gold[place + 1 :]]


def _changed_lists(gold: Sequence[ToolCall]) -> Iterator[Change]:
    yield "call dropped", list(gold[:-1])
    yield "call added", [*gold, gold[0]]
    if len(gold) > 1:
        yield "calls reversed", list(gold[::-1])
        yield "calls rotated", [*gold[1:], gold[0]]
        yield "first call again", [*gold[:-1], gold[0]]


def _changed_calls(call: AnyOf, schemas: Mapping[str, Any]) -> Iterator[tuple[str, ToolCall]]:
    given = {name: values[0] for name, values in call.allowed.items() if values}
    full = {**given, **call.arguments}

    def made(arguments: Mapping[str, Any]) -> ToolCall:
        return ToolCall(call.name, arguments)

    yield "all arguments", made(full)
    yield "name changed", ToolCall(call.name + "_", full)
    yield "name in other case", ToolCall(call.name.swapcase(), full)
    yield "argument added", made({**full, "no_such_argument": 1})
    for name in schemas.keys() - call.allowed.keys():
        yield "other argument of the function", made({**full, name: schemas[name].get("default")})
    for name, values in call.allowed.items():
        for value in values:
            yield "allowed", made({**full, name: value})
        yield "argument dropped", made({k: v for k, v in full.items() if k != name})
        if name in full:
            for kind, value in _changed_values(full[name], schemas[name]):
                yield kind, made({**full, name: value})


def _changed_values(value: Any, schema: Mapping[str, Any]) -> Values:
    yield "null", None
    if isinstance(value, str):
        yield from _changed_text(value)
        return
    yield "text for another type", json.dumps(value)
    if isinstance(value, bool):
        yield "other boolean", not value
        yield "number for a boolean", int(value)
    elif isinstance(value, int | float):
        yield "other number", value + 1
        yield "boolean for a number", bool(value)
        yield from _same_number(value, schema)
    elif isinstance(value, list):
        yield from _changed_list(value, schema.get("items", {}))
    elif isinstance(value, dict):
        yield from _changed_object(value)


def _same_number(value: float, schema: Mapping[str, Any]) -> Values:
    if schema.get("type") == "integer":
        yield "float for an integer", float(value)
    elif float(value).is_integer():
        yield "integer for a float", int(value)


def _changed_text(value: str) -> Values:
    yield "other text", value + " no such value"
    yield "text in other case", value.swapcase()
    yield "space around text", f" {value}\n"
    yield "blanks dropped", value.replace(" ", "")
    yield "marks added", value.replace(" ", ", ") + "."
    yield "marks that count", value + "!"
    yield "quotes turned", value.translate(str.maketrans("'\"", "\"'"))
    yield "list for a text", [value]
    decomposed = unicodedata.normalize("NFD", value)
    if decomposed != value:
        yield "accents apart", decomposed
    if value.isdecimal():
        yield "number for a text", int(value)


def _changed_list(value: list[Any], items: Mapping[str, Any]) -> Values:
    yield "tuple for a list", tuple(value)
    yield "item dropped", value[:-1]
    yield "item added", [*value, *(value[:1] or ["more"])]
    if value != value[::-1]:
        yield "list reversed", value[::-1]
    if not value:
        return
    yield "text for an item", [json.dumps(value[0]), *value[1:]]
    for kind, changed in _changed_item(value[0], items):
        yield kind, [changed, *value[1:]]


def _changed_item(item: Any, schema: Mapping[str, Any]) -> Values:
    if isinstance(item, str):
        yield "other text in a list", item + " no such value"
        yield "case or marks in a list", item.swapcase() + "."
    elif isinstance(item, int | float):
        yield "other number in a list", item + 1
        for kind, same in _same_number(item, schema):
            yield f"{kind} in a list", same
    elif isinstance(item, list):
        yield "case or marks in a list of lists", [_other_case(inner) for inner in item]
    elif isinstance(item, dict):
        for kind, changed in _changed_object(item):
            yield f"{kind} in a list", changed


def _changed_object(value: dict[str, Any]) -> Values:
    yield "key added", {**value, "no_such_key": 1}
    for key, inner in value.items():
        yield "key dropped", {k: v for k, v in value.items() if k != key}
        if isinstance(inner, str):
            yield "other text in an object", {**value, key: inner + " no such value"}
            yield "case or marks in an object", {**value, key: inner.swapcase() + "."}
        elif isinstance(inner, int | float):
            yield "other number in an object", {**value, key: inner + 1}
            yield "float for an integer in an object", {**value, key: float(inner)}
            if inner in (0, 1):
                yield "boolean for a number in an object", {**value, key: bool(inner)}
        elif isinstance(inner, list):
            other = [_other_case(item) for item in inner]
            yield "case or marks in a list in an object", {**value, key: other}


def _other_case(item: Any) -> Any:
    return item.swapcase() + "." if isinstance(item, str) else item
