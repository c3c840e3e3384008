"""Constrained decoding: whichever tokens the model prefers, the text is valid for the schema."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest
import torch
from engines import ask, hammer, shared_engine
from grammars import accepts, wild_text
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ttsi.answers.calls.validation import argument_faults
from ttsi.answers.calls.values import ToolCall
from ttsi.errors import EngineError
from ttsi.types import Request, Sampling, Tool
from ttsi_plugins.engines.transformers.grammar import allowed

pytestmark = pytest.mark.model

TYPES = {"str": "string", "string": "string", "int": "integer", "integer": "integer"}
TYPES |= {"float": "number", "number": "number", "bool": "boolean", "boolean": "boolean"}


def call_schema(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of one call of a tool in Hammer's format, with known types mapped."""
    properties = {
        name: {"type": TYPES[part["type"]]} if part.get("type") in TYPES else {}
        for name, part in tool["parameters"].items()
    }
    arguments = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [name for name, part in tool["parameters"].items() if part.get("required")]
    return {
        "type": "object",
        "properties": {
            "name": {"const": tool["name"]},
            "arguments": {**arguments, "required": required},
        },
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def real_schemas() -> list[dict[str, Any]]:
    """Return array schemas for calls of the tools that real rows offer."""
    rows = itertools.chain(hammer("sealtool")[1:6], hammer("toolalpaca")[:5])
    return [
        {
            "type": "array",
            "minItems": 1,
            "maxItems": 2,
            "items": {"anyOf": [call_schema(tool) for tool in row["tools"]]},
        }
        for row in rows
    ]


AWKWARD: list[dict[str, Any]] = [
    {"enum": ["Zürich", "日本", 'a"b\\c', "🙂", None, 3, True]},
    {"type": "object", "properties": {"ort": {"enum": ["Köln"]}}, "required": ["ort"]},
    {
        "type": "object",
        "properties": {
            "a": {
                "type": "object",
                "properties": {"b": {"type": "array", "items": {"type": "integer"}, "maxItems": 3}},
                "required": ["b"],
            }
        },
        "required": ["a"],
    },
    {"properties": {"untyped": {}}, "required": ["untyped"]},
    {"type": "object", "properties": {}},
    {"type": "integer"},
    {"type": ["number", "null"]},
    {"type": "object", "properties": {'say "hi"': {"const": "<|im_end|>"}}, "minProperties": 1},
    {"$defs": {"n": {"type": "boolean"}}, "type": "array", "items": {"$ref": "#/$defs/n"}},
]


@pytest.mark.parametrize("schema", real_schemas(), ids=range(10))
def test_texts_are_valid_for_real_tools(schema: dict[str, Any]) -> None:
    made = [wild_text(schema, seed) for seed in range(4)]
    finished = [text for text in made if text is not None]
    assert finished
    for text in finished:
        jsonschema.validate(json.loads(text), schema)


@pytest.mark.parametrize("schema", AWKWARD, ids=range(len(AWKWARD)))
def test_texts_are_valid_for_awkward_schemas(schema: dict[str, Any]) -> None:
    made = [wild_text(schema, seed) for seed in range(6)]
    finished = [text for text in made if text is not None]
    assert finished
    for text in finished:
        jsonschema.validate(json.loads(text), schema)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4, unique=True))
def test_any_enum_can_be_written_and_read_back(values: list[str]) -> None:
    tokens = shared_engine()._runtime().tokens
    assume(all(tokens.decode(tokens.text(value)) == value for value in values))
    text = wild_text({"enum": values}, seed=0)
    assert text is not None
    assert json.loads(text) in values


def test_what_the_tokenizer_cannot_write_is_an_error() -> None:
    tokens = shared_engine()._runtime().tokens
    beyond = "\U00040000"
    assert tokens.decode(tokens.text(beyond)) != beyond
    schema = {"enum": [beyond]}
    with pytest.raises(EngineError, match="cannot write"):
        shared_engine().generate([Request(ask("x"), Sampling.greedy(30), 0, grammar=schema)])


def test_the_order_of_properties_is_the_schemas_own() -> None:
    for names in (["first", "second"], ["second", "first"]):
        schema = {
            "type": "object",
            "properties": {name: {"type": "boolean"} for name in names},
            "required": names,
        }
        text = wild_text(schema, seed=1)
        assert text is not None
        assert list(json.loads(text)) == names


def test_no_control_token_is_allowed_inside_a_string() -> None:
    runtime = shared_engine()._runtime()
    matcher = runtime.grammars.matcher({"type": "string"})
    for token in runtime.tokens.text('"a'):
        matcher.accept(token)
    # Rows by column, as a product may leave them.
    scores = torch.zeros(runtime.model.config.vocab_size, 2).T
    free, held = (allowed(scores, [None, matcher])[0] > -torch.inf).unbind()
    assert free.all()
    assert not any(bool(held[id]) for id in runtime.tokens.control.values())
    assert int(held.sum()) > 10_000
    assert not scores.any()


def test_the_model_writes_a_valid_call() -> None:
    tool = {"name": "getWeather", "parameters": {"city": {"type": "str", "required": True}}}
    schema = {"type": "array", "items": call_schema(tool), "minItems": 1, "maxItems": 1}
    grammars: list[dict[str, Any] | None] = [schema, None, schema]
    wanted = [
        Request(ask("Weather in Oslo?"), Sampling.greedy(40), seed, grammar=grammar)
        for seed, grammar in enumerate(grammars)
    ]
    constrained, free, again = shared_engine().generate(wanted)
    assert constrained.finish == "stop"
    jsonschema.validate(json.loads(constrained.text), schema)
    assert again.text == constrained.text
    assert not free.text.startswith("[")


def test_a_refused_schema_names_its_tool() -> None:
    good = call_schema({"name": "fine", "parameters": {}})
    bad = call_schema({"name": "odd", "parameters": {}})
    bad["properties"]["arguments"] = {"type": "banana"}
    schema = {"type": "array", "items": {"anyOf": [good, bad]}}
    with pytest.raises(EngineError, match=r"'odd'.*banana"):
        shared_engine().generate([Request(ask("x"), Sampling.greedy(5), 0, grammar=schema)])


LOWERED: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    ({"type": "string", "pattern": "a"}, ["a", "bab", "ø a"], ["b", ""]),
    ({"type": "string", "pattern": "^a|b$"}, ["ax", "xb"], ["xa", "bx"]),
    ({"type": "string", "pattern": "^.+$"}, ["a/b", "日本"], ['a"b', "a\\b", "", "a\nb"]),
    ({"type": "string", "pattern": r'^[A-Z]:\\["\\]$'}, ['C:\\"', "C:\\\\"], ["C:", "C:\\x"]),
    ({"type": "string", "pattern": r"^\d+$"}, ["12"], ["\u0661", "12\n"]),
    ({"type": "string", "pattern": r"^\S+$"}, ["Zürich", "a"], ["a b", ""]),
    ({"type": "string", "pattern": r"^[^\d]\W$"}, ["üé", "a-"], ["1-", "aa"]),
    ({"type": "string", "pattern": "^[ab]+$", "minLength": 2, "maxLength": 3}, ["ab"], ["a"]),
    ({"type": "integer", "minimum": 0.5, "exclusiveMaximum": 2.5}, [1, 2], [0, 3]),
    ({"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 20}, [5, 20], [3, 25]),
    ({"type": "number", "exclusiveMinimum": 0}, [0.5], [0, -1]),
    ({"const": {"a": [1, "x"], "b": None}}, [{"a": [1, "x"], "b": None}], [{"a": [1, "x"]}, {}]),
    ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, [1, "a"], [None, 1.5]),
    ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, [3], [2, "a"]),
    ({"$ref": "#/$defs/n", "maximum": 5, "$defs": {"n": {"type": "integer"}}}, [5], [6]),
    ({"type": "string", "enum": ["a", 1]}, ["a"], [1]),
    ({"type": "object", "properties": {"a": {"type": "object"}}}, [{"a": {"x": 1}}], [{"b": 1}]),
    ({"type": "string", "format": "date"}, ["tomorrow"], [1]),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "good", "bad"), LOWERED)
def test_xgrammar_reads_a_schema_as_it_is_meant(
    schema: dict[str, Any], good: list[Any], bad: list[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    for value in good:
        assert accepts(schema, value), value
    for value in bad:
        assert not accepts(schema, value), value
    assert "arning" not in capfd.readouterr().err


NOT_HELD: list[tuple[dict[str, Any], Any]] = [
    ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, [1, 1]),
    ({"type": "number", "multipleOf": 0.5}, 0.3),
    ({"type": "integer", "multipleOf": 5, "minimum": 0}, 3),
    ({"type": "string", "pattern": "^[a-z]+-[0-9]+$", "maxLength": 4}, "abc-123"),
]


@pytest.mark.parametrize(("schema", "value"), NOT_HELD)
def test_what_no_grammar_holds_is_left_to_the_contract(
    schema: dict[str, Any], value: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """Left out on purpose: docs/benchmarks.md says so, and xgrammar has nothing to warn of."""
    assert accepts(schema, value)
    tool = Tool("f", "", {"type": "object", "properties": {"p": schema}})
    assert argument_faults([tool], ToolCall("f", {"p": value}))
    assert "arning" not in capfd.readouterr().err


def test_a_schema_that_is_not_supported_is_no_grammar() -> None:
    schema = {"type": "array", "items": {"not": {"type": "string"}}}
    with pytest.raises(EngineError, match=r"the answer.*#/items: not is not supported"):
        shared_engine().generate([Request(ask("x"), Sampling.greedy(5), 0, grammar=schema)])
