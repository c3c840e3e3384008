"""Rules of schemas that scoring, G's contract and the grammar share."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ttsi.answers.calls import Switches
from ttsi.answers.calls.match import score_calls
from ttsi.answers.calls.validation import argument_faults
from ttsi.answers.calls.values import ToolCall, answer_with
from ttsi.answers.calls.writing import calls_schema
from ttsi.parameters.fitting import fits
from ttsi.parameters.plain import SchemaFault, plain_parameters, plain_schema
from ttsi.types import Tool


def test_a_calls_schema_holds_the_definitions_of_each_tool_apart() -> None:
    def tree(name: str, leaf: str) -> Tool:
        node = {"type": "object", "properties": {"sub": {"$ref": "#/$defs/n"}, "v": {"type": leaf}}}
        root = {"type": "object", "properties": {"root": {"$ref": "#/$defs/n"}}}
        return Tool(name, "", {**root, "$defs": {"n": node}})

    check = Draft202012Validator(calls_schema([tree("f", "integer"), tree("g", "string")])).is_valid
    for name, leaf in (("f", 1), ("g", "1")):
        call = {"name": name, "arguments": {"root": {"sub": {"v": leaf}}}}
        assert check([call])
        wrong = {"name": {"f": "g", "g": "f"}[name], "arguments": call["arguments"]}
        assert not check([wrong])


def test_items_that_have_to_differ_are_compared_in_linear_time() -> None:
    plain = plain_schema({"type": "array", "uniqueItems": True})
    items: list[Any] = [*range(20_000), "1", True, [1], {"a": 1}]
    for again, valid in ([], True), ([1.0], False), ([[1.0]], False), ([{"a": 1.0}], False):
        assert fits([*items, *again], plain, {}) == valid


# ---------------------------------------------------------------- scoring and the contract agree

HUGE = 10**350


@pytest.mark.parametrize(
    ("schema", "value", "right"),
    [
        ({"type": "integer", "multipleOf": 5}, HUGE, True),
        ({"type": "integer", "multipleOf": 5}, HUGE + 1, False),
        ({"type": "number", "multipleOf": 0.5}, HUGE, True),
        ({"type": "number", "multipleOf": 0.3}, HUGE, False),
        ({"type": "number", "multipleOf": 0.01}, 19.99, True),
        ({"type": "number", "multipleOf": 0.01}, 19.995, False),
        ({"type": "string", "pattern": r"^\d+$"}, "12", True),
        ({"type": "string", "pattern": r"^\d+$"}, "12\n", False),
        ({"type": "string", "pattern": r"^\d+$"}, "\u0661", False),
        ({"type": "string", "pattern": r"^(\w+\s?)*$"}, "a" * 40 + "!", False),
        ({"type": "object", "patternProperties": {r"^\d$": {"type": "null"}}}, {"1": None}, True),
        ({"type": "object", "patternProperties": {r"^\d$": {"type": "null"}}}, {"1": 2}, False),
        ({"type": "object", "patternProperties": {r"^\d$": {}}}, {"\u0661": 1}, False),
        ({"type": "object", "patternProperties": {r"^(\w+\s?)*$": {}}}, {"a" * 40 + "!": 1}, False),
    ],
    ids=range(14),
)
def test_multiples_and_patterns_are_one_rule(schema: Any, value: Any, right: bool) -> None:
    tool = Tool("f", "", {"type": "object", "properties": {"p": schema}})
    assert fits(value, plain_schema(schema), {}) is right
    faults = argument_faults([tool], ToolCall("f", {"p": value}))
    assert (faults == []) is right
    call = ToolCall("f", {"p": value})
    assert score_calls([tool], [call], answer_with([call]), Switches()).correct


DEEP: dict[str, Any] = {}
for _ in range(2000):
    DEEP = {"items": DEEP}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": 5},
        {"type": [["string"]]},
        {"type": {"string": 1}},
        {"type": "string", "minLength": 10**400},
        {"type": "integer", "multipleOf": 10**400},
        {"properties": {5: {}}},
        {5: "string"},
        {"oneOf": [{"required": 5}, {"required": ["a"]}]},
        {"oneOf": [{"required": [["a"]]}, {"required": ["a"]}]},
        {"type": "string", "pattern": "a{99999999999}"},
        DEEP,
        "x",
        None,
        ["object"],
    ],
)
def test_what_is_malformed_is_refused_as_such(schema: Any) -> None:
    with pytest.raises(SchemaFault):
        plain_schema(schema)
    with pytest.raises(SchemaFault):
        plain_parameters(schema)
