"""Schemas that are small and mean harm: reading them takes bounded time."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ttsi.parameters.automata import occurs
from ttsi.parameters.plain import SchemaFault, plain_schema
from ttsi_plugins.engines.transformers.lowering import lowered

TEXT = {"type": "string"}


def entries(inner: Any, count: int = 2) -> dict[str, Any]:
    names = [f"p{at}" for at in range(count)]
    return {"type": "object", "properties": dict.fromkeys(names, inner), "required": names}


def doubling(levels: int, make: Any) -> dict[str, Any]:
    """Return a schema each of whose definitions holds the next one several times."""
    defined = {f"d{at}": make({"$ref": f"#/$defs/d{at + 1}"}) for at in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": {**defined, f"d{levels}": TEXT}}


def nested(levels: int, make: Any) -> dict[str, Any]:
    schema: dict[str, Any] = TEXT
    for _ in range(levels):
        schema = make(schema)
    return schema


def either(count: int, make: Any) -> list[Any]:
    return [make(at) for at in range(count)]


def text(pattern: str) -> dict[str, str]:
    return {"type": "string", "pattern": pattern}


STARS = f"^{'(a*)' * 2000}$"
REFUSED: dict[str, dict[str, Any]] = {
    "references that double": doubling(40, entries),
    "references by ten": doubling(9, lambda inner: entries(inner, 10)),
    "choices that double": doubling(
        30, lambda inner: {"anyOf": [inner, {"type": "array", "items": inner}]}
    ),
    "a product of choices": {
        "allOf": either(20, lambda n: {"anyOf": [entries(TEXT, n + 1), entries(TEXT, 30 + n)]})
    },
    "objects of which one has to hold": {
        "oneOf": either(1500, lambda n: entries({"const": f"v{n}"}, 1))
    },
    "a reference to itself": {"$ref": "#"},
    "a choice of itself": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
    "a chain of objects": doubling(800, lambda inner: entries(inner, 1)),
    "a reference out of the schema": {"$ref": "file:///etc/passwd"},
    "a pattern of many states": text("^((a{1,100}){1,100}){1,100}$"),
    "a long pattern": text("a" * 20_000),
    "a pattern of many groups": text("(" * 4000 + ")" * 4000),
    "texts and a pattern": {**text(STARS), "enum": ["a" * 30_000, "b"]},
    "names and a pattern": {
        "type": "object",
        "properties": dict.fromkeys(("a" * at for at in range(300)), TEXT),
        "patternProperties": {STARS: {"type": "string", "minLength": 1}},
    },
    "names and patterns": {
        "type": "object",
        "properties": {f"a{at}": TEXT for at in range(2000)},
        "patternProperties": {f"^b{at}": {"type": "integer", "minimum": at} for at in range(2000)},
    },
    "patterns and patterns": {
        "type": "object",
        "patternProperties": {
            f"^b{at}c*$": {"type": "integer", "minimum": at} for at in range(2000)
        },
    },
}
READ: dict[str, dict[str, Any]] = {
    "many texts": {"enum": [f"v{at}" for at in range(9000)]},
    "many objects": {"enum": [{"a": [at, {"b": at}]} for at in range(4000)]},
    "many texts twice": {"allOf": [{"enum": list(range(9000))}, {"enum": list(range(1, 9001))}]},
    "many constants, of which any may hold": {"anyOf": either(3000, lambda n: {"const": f"v{n}"})},
    "many constants, of which one has to hold": {
        "oneOf": either(3000, lambda n: {"const": f"v{n}"})
    },
    "many kinds of text": {"anyOf": either(2000, lambda n: {**TEXT, "minLength": n})},
    "references that meet again": doubling(40, lambda inner: {"allOf": [inner, inner]}),
    "lists in lists": nested(50, lambda inner: {"type": "array", "items": inner}),
    "choices in choices": nested(
        40, lambda inner: {"anyOf": [inner, {"type": "array", "items": TEXT}]}
    ),
    "a pattern that backtracks": text("^(a+)+$"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_schema_that_takes_too_long_is_refused(name: str) -> None:
    began = time.process_time()
    with pytest.raises(SchemaFault) as caught:
        plain_schema(REFUSED[name])
    assert time.process_time() - began < 20
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", READ)
def test_a_schema_that_is_large_or_nested_is_read(name: str) -> None:
    began = time.process_time()
    assert plain_schema(READ[name])
    assert time.process_time() - began < 20


def test_constants_of_a_one_of_are_told_apart_without_comparing_all() -> None:
    twice = [*either(3000, lambda n: {"const": n}), {"const": 7.0}]
    with pytest.raises(SchemaFault, match="one value may satisfy at once"):
        plain_schema({"oneOf": twice})
    mixed = [*either(50, lambda n: {"const": n}), {"type": "integer", "minimum": 50}, TEXT]
    assert len(plain_schema({"oneOf": mixed})["anyOf"]) == 52
    mixed[-2] = {"type": "integer", "minimum": 49}
    with pytest.raises(SchemaFault, match="one value may satisfy at once"):
        plain_schema({"oneOf": mixed})


def test_a_text_that_takes_seconds_to_match_has_no_match() -> None:
    began = time.process_time()
    assert occurs(STARS, "a" * 20)
    assert not occurs(STARS, "a" * 50_000)
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        (text(f"^{'.*' * 1500}$"), "characters"),
        (text("^a{2000}$"), "characters"),
        ({"type": "object", "properties": {f"p{at}": TEXT for at in range(600)}}, "optional"),
    ],
)
def test_a_schema_whose_grammar_takes_minutes_has_none(schema: Any, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        lowered(plain_schema(schema))
