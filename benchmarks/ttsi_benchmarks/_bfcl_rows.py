"""Convert BFCL's functions and answers to JSON Schema and calls.

An answer lists the right values of each argument. "" among them means that the argument may be left
out; for a string it is also a value. Values inside objects are again lists of right values, and are
expanded here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from ttsi import JSON, AnyOf, Tool, ToolCall
from ttsi_benchmarks._notation import object_schema, type_schema, with_hints

Row = Mapping[str, Any]

_WORDS = {"tuple": "array", "any": "string"}
"""Types that JSON Schema lacks, converted as BFCL does for models with JSON Schema."""

_LEFT_OUT = ""


def to_tool(function: Row) -> Tool:
    return Tool(function["name"], function["description"].strip(), _object(function["parameters"]))


def to_reference(answer: Row, functions: Iterable[Row]) -> ToolCall:
    """Return the call that an answer describes, with its alternatives.

    Arguments that the function does not have are dropped.
    """
    ((name, arguments),) = answer.items()
    function = next(each for each in functions if each["name"] == name)["parameters"]
    declared = function["properties"]
    allowed: dict[str, tuple[JSON, ...]] = {}
    optional = []
    for argument, values in arguments.items():
        if argument in declared:
            allowed[argument] = tuple(_values(values, declared[argument]))
            if _LEFT_OUT in values and argument not in function["required"]:
                optional.append(argument)
    shown = {
        argument: _first_valid(values, declared[argument])
        for argument, values in allowed.items()
        if argument not in optional
    }
    return AnyOf(name, shown, allowed, tuple(optional))


def _object(given: Row) -> dict[str, JSON]:
    properties = {name: _schema(each) for name, each in given["properties"].items()}
    return object_schema(properties, given.get("required", []))


def _schema(given: Row) -> dict[str, JSON]:
    """Return the schema of a value; limits that BFCL never checks go into the description."""
    schema = type_schema(_WORDS.get(given["type"], given["type"]))
    if "properties" in given:
        schema = _object(given)
    if "items" in given:
        schema["items"] = _schema(given["items"])
    if "enum" in given:
        schema["enum"] = given["enum"]
    text = str(given.get("description", "")).strip()
    text = with_hints(text, given, ("format", "maximum", "minItems", "maxItems"))
    if "default" in given:
        if _is_valid(given["default"], schema):
            schema["default"] = given["default"]
        else:
            text = with_hints(text, given, ("default",))
    return {**schema, "description": text} if text else schema


def _values(values: Iterable[JSON], declared: Row) -> Iterator[JSON]:
    is_text = type_schema(_WORDS.get(declared["type"], declared["type"]))["type"] == "string"
    for value in values:
        if value != _LEFT_OUT or is_text:
            yield from _spelt_out(value)


def _spelt_out(value: JSON) -> Iterator[JSON]:
    """Yield the alternatives of a value whose objects contain lists of values."""
    if isinstance(value, dict):
        choices = [[(name, each) for each in inner] for name, inner in value.items()]
        for chosen in product(*choices):
            yield {name: each for name, each in chosen if each != _LEFT_OUT}
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        yield from map(list, product(*(list(_spelt_out(item)) for item in value)))
    else:
        yield value


def _first_valid(values: tuple[JSON, ...], declared: Row) -> JSON:
    schema = _schema(declared)
    return next((value for value in values if _is_valid(value, schema)), values[0])


def _is_valid(value: JSON, schema: Mapping[str, JSON]) -> bool:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema).is_valid(value)
