"""Plain form: it means what JSON Schema defines, or is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from engines import ROOT
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ttsi.answers.calls import Switches
from ttsi.answers.calls.match import score_calls
from ttsi.answers.calls.normalise import normalised
from ttsi.answers.calls.predicted import of_text
from ttsi.answers.calls.values import AnyOf, ToolCall, answer_with, calls_in
from ttsi.errors import PluginError
from ttsi.parameters.fitting import fits
from ttsi.parameters.plain import SchemaFault, plain_parameters, plain_schema
from ttsi.types import Tool

# ---------------------------------------------------------------- JSON Schema as the oracle

VALUES = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 2, 3, 1.5, 2.0, "", "a", "b", "ab", "x-1", "2"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "x-1", "c"]), inner, max_size=3)
    ),
    max_leaves=6,
)
BOUND = st.integers(0, 3)
NUMBERS = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number", ["number", "string"]])},
    optional={
        "minimum": st.sampled_from([0, 0.5, 1, 2]),
        "exclusiveMaximum": st.sampled_from([1.5, 2, 3]),
        "multipleOf": st.sampled_from([0.5, 1, 2]),
    },
)
TEXTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", ["string", "null"]])},
    optional={
        "minLength": BOUND,
        "maxLength": BOUND,
        "pattern": st.sampled_from(["^a", "b$", "^[ab]{1,2}$", "a|b", "^(a|x-)"]),
        "format": st.just("date"),
    },
)
CONSTANTS = st.lists(VALUES, min_size=1, max_size=4).map(lambda values: {"enum": values})
CONSTANTS |= VALUES.map(lambda value: {"const": value})
REFERENCES = st.sampled_from([{"$ref": "#/$defs/one"}, {"$ref": "#/$defs/two"}])
LEAVES = NUMBERS | TEXTS | CONSTANTS | REFERENCES | st.sampled_from([{}, {"type": "boolean"}])


def holders(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=3)
    arrays = st.fixed_dictionaries(
        {"type": st.just("array"), "items": inner | st.booleans()},
        optional={"prefixItems": some, "minItems": BOUND, "maxItems": BOUND,
                  "uniqueItems": st.booleans()},
    )  # fmt: skip
    objects = st.fixed_dictionaries(
        {"type": st.just("object"), "additionalProperties": inner | st.booleans()},
        optional={
            "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
            "patternProperties": st.dictionaries(st.sampled_from(["^x-", "^c"]), inner, max_size=2),
            "required": st.lists(st.sampled_from(["a", "b"]), max_size=2, unique=True),
            "maxProperties": BOUND,
        },
    )
    choices = st.sampled_from(["anyOf", "oneOf", "allOf"])
    composed = st.builds(lambda word, branches: {word: branches}, choices, some)
    beside = st.builds(lambda one, other: {**one, **other}, arrays | objects | REFERENCES, composed)
    return arrays | objects | composed | beside


SCHEMAS = st.recursive(LEAVES, holders, max_leaves=6)
DOCUMENTS = st.builds(
    lambda schema, one, two: {**schema, "$defs": {"one": one, "two": two}},
    SCHEMAS, SCHEMAS, LEAVES,
)  # fmt: skip
many = settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def plain_or_refused(schema: dict[str, Any]) -> dict[str, Any]:
    try:
        return plain_schema(schema)
    except SchemaFault:
        assume(False)
        raise


@many
@given(DOCUMENTS, st.lists(VALUES, min_size=5, max_size=10))
def test_plain_form_means_what_the_schema_says(schema: Any, values: list[Any]) -> None:
    plain = plain_or_refused(schema)
    Draft202012Validator.check_schema(plain)
    original, after = Draft202012Validator(schema), Draft202012Validator(plain)
    for value in values:
        assert after.is_valid(value) == original.is_valid(value), value
        assert fits(value, plain, plain.get("$defs", {})) == original.is_valid(value), value


@many
@given(DOCUMENTS)
def test_plain_form_is_its_own_plain_form(schema: Any) -> None:
    plain = plain_or_refused(schema)
    assert json.dumps(plain_schema(plain)) == json.dumps(plain)


@many
@given(DOCUMENTS, st.lists(VALUES, min_size=5, max_size=10))
def test_what_is_valid_stays_valid_in_normal_form(schema: Any, values: list[Any]) -> None:
    plain = plain_or_refused(schema)
    checker = Draft202012Validator(plain)
    for value in values:
        once = normalised(value, plain, Switches())[0]
        assert checker.is_valid(once) or not checker.is_valid(value), (value, once)
        assert repr(normalised(once, plain, Switches())[0]) == repr(once)


# ---------------------------------------------------------------- what is refused

CITY = {"type": "string"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"not": {}}, "#/properties/p: not is not supported"),
    ({"if": {}, "then": {}}, "#/properties/p: if is not supported"),
    ({"type": "object", "dependentRequired": {"a": ["b"]}}, "dependentRequired is not supported"),
    ({"type": "object", "dependentSchemas": {"a": {}}}, "dependentSchemas is not supported"),
    ({"type": "array", "contains": {}}, "contains is not supported"),
    ({"$dynamicRef": "#x"}, "dynamicRef is not supported"),
    ({"$ref": "https://a.example/x.json"}, "leads out of the schema"),
    ({"$ref": "other.json#/x"}, "leads out of the schema"),
    ({"$ref": "#/$defs/nowhere"}, "leads nowhere"),
    ({"$ref": "#/properties/p"}, "refers to itself"),
    ({"anyOf": [{"$ref": "#/properties/p"}, {"type": "null"}]}, "refers to itself"),
    ({"allOf": [{"$ref": "#/properties/p"}]}, "refers to itself"),
    ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "its types differ"),
    ({"allOf": [{"enum": ["a"]}, {"enum": ["b"]}]}, "its constants differ"),
    ({"type": "integer", "enum": ["a"]}, "none of the values of its enum"),
    ({"allOf": [{"minimum": 3}, {"maximum": 2}]}, "its minimum is above its maximum"),
    ({"type": "string", "pattern": "^a{3}$", "maxLength": 2}, "has its length"),
    ({"allOf": [{"pattern": "a"}, {"pattern": "b"}]}, "stands for two at once"),
    ({"type": "string", "pattern": "(?=a)b"}, "cannot be held to"),
    ({"type": "string", "pattern": "\\bword\\b"}, "cannot be held to"),
    ({"type": "string", "pattern": "(a)\\1"}, "cannot be held to"),
    ({"type": "string", "pattern": "("}, "no regular expression"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "may satisfy at once"),
    ({"oneOf": [{"type": "string"}, {"type": "string", "format": "date"}]}, "may satisfy at once"),
    ({"type": "object", "required": ["a"], "properties": {"b": {}}}, "'a', which is not declared"),
    ({"type": "object", "properties": {"a": False}, "additionalProperties": True}, "forbids 'a'"),
    ({"type": "object", "patternProperties": {"^a": {}}, "additionalProperties": {"type": "null"}},
     "no grammar can tell apart"),
    ({"type": "object", "patternProperties": {"^a": {"type": "null"}, "^ab": {"type": "string"}}},
     "match the same names"),
    ({"type": "object", "properties": {"ab": {"type": "null"}}, "patternProperties": {"^a": {}}},
     "also matches the property 'ab'"),
    ({"type": "object", "propertyNames": {"minLength": 2}}, "propertyNames says more"),
    ({"allOf": [{"type": "object", "properties": {"a": {}}, "additionalProperties": False},
                {"properties": {"b": {}}}]}, "does not allow the property 'b'"),
    ({"type": "dict"}, "type is not one or several of"),
    ({"type": "array", "items": [{"type": "string"}]}, "items is not a schema"),
    ({"type": "integer", "minimum": 0, "exclusiveMinimum": True}, "exclusiveMinimum is not a num"),
    ({"type": "string", "required": True}, "required is not a list of names"),
    ({"type": "string", "enums": ["a"]}, "enums is no keyword that is known"),
    ({"type": "object", "unevaluatedProperties": {}}, "unevaluatedProperties is not false"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "told"), REFUSED)
def test_what_cannot_be_kept_to_is_refused(schema: dict[str, Any], told: str) -> None:
    parameters = {"type": "object", "properties": {"p": schema}}
    with pytest.raises(SchemaFault) as caught:
        plain_parameters(parameters)
    assert told in str(caught.value)
    assert caught.value.cure


@pytest.mark.parametrize("parameters", [{"type": "string"}, {"anyOf": [{"type": "null"}]}, {}])
def test_parameters_are_those_of_an_object(parameters: dict[str, Any]) -> None:
    with pytest.raises(SchemaFault, match="takes what is no object"):
        plain_parameters(parameters)


def test_a_tool_tells_what_where_and_the_cure() -> None:
    tool = Tool("ship", "", {"type": "object", "properties": {"to": {"not": {}}}})
    with pytest.raises(PluginError) as caught:
        _ = tool.schema
    assert str(caught.value) == (
        "Parameters of tool 'ship' cannot be used: not is not supported.\n"
        "  where: tool 'ship', parameters, #/properties/to\n"
        "  cure:  List what is allowed instead."
    )


def test_annotations_are_kept_out_and_not_refused() -> None:
    city = {**CITY, "title": "City", "description": "Where", "examples": ["Oslo"], "format": "x",
            "deprecated": True, "x-order": 1, "default": "Oslo"}  # fmt: skip
    plain = plain_parameters(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://a.example/x",
         "type": "object", "properties": {"city": city}}
    )  # fmt: skip
    assert plain["properties"] == {"city": {"type": "string", "default": "Oslo"}}


def test_references_that_multiply_are_refused_in_time() -> None:
    doubled = {f"d{at}": {"type": "array", "prefixItems": [{"$ref": f"#/$defs/d{at + 1}"}] * 2}
               for at in range(40)}  # fmt: skip
    definitions = {**doubled, "d40": {"type": "null"}}
    with pytest.raises(SchemaFault, match="spells out to more than"):
        plain_schema({"$ref": "#/$defs/d0", "$defs": definitions})


# ---------------------------------------------------------------- the rule for what is not listed


@pytest.mark.parametrize(
    ("schema", "others"),
    [
        ({"type": "object", "properties": {"a": {}}}, False),
        ({"type": "object", "patternProperties": {"^a": {}}}, False),
        ({"type": "object"}, {}),
        ({"type": "object", "properties": {}}, {}),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": True}, {}),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "null"}},
         {"type": "null"}),
        ({"type": "object", "properties": {"a": {}}, "unevaluatedProperties": False}, False),
    ],
)  # fmt: skip
def test_what_is_not_listed_is_not_taken_unless_it_is_said(schema: Any, others: Any) -> None:
    assert plain_schema(schema)["additionalProperties"] == others
    if others == {} and "additionalProperties" not in schema:
        assert plain_parameters(schema)["additionalProperties"] is False


# ---------------------------------------------------------------- scoring


def test_a_row_with_references_and_all_of_is_scored_by_them() -> None:
    cases = ROOT.parent / "shared" / "cases"
    if not cases.exists():
        pytest.skip("the cases of issue 12 are not here")
    (row,) = json.loads((cases / "ref-rows.json").read_text())
    (line,) = (cases / "ref-predictions.jsonl").read_text().splitlines()
    tools = [Tool(each["name"], "", each["parameters"]) for each in row["tools"]]
    reference = [ToolCall(each["name"], each["arguments"]) for each in row["reference"]]
    answer = of_text(json.loads(line)["text"], ())
    assert score_calls(tools, reference, answer, Switches()).correct
    (call,) = calls_in(answer)
    heavy = ToolCall(call.name, {**call.arguments, "weight": "1.0"})
    other = ToolCall(call.name, {**call.arguments, "weight": 2})
    for given_call, right in ((heavy, True), (other, False)):
        answer = answer_with([given_call])
        assert score_calls(tools, reference, answer, Switches()).correct == right


SHAPES = Tool(
    "draw",
    "",
    {
        "type": "object",
        "oneOf": [
            {"properties": {"kind": {"const": "dot"}, "size": {"type": "string"},
                            "fill": {"type": "string", "default": "red"}}, "required": ["kind"]},
            {"properties": {"kind": {"const": "line"}, "size": {"type": "integer"}},
             "required": ["kind"]},
        ],
    },
)  # fmt: skip


@pytest.mark.parametrize(
    ("call", "right"),
    [
        ({"kind": "line", "size": "2"}, True),
        ({"kind": "line", "size": 3.0}, True),
        ({"kind": "line", "size": 4}, False),
        ({"kind": "line", "size": 2, "fill": "red"}, False),
        ({"kind": "dot", "size": 2}, False),
    ],
)
def test_alternatives_of_a_reference_are_read_by_the_answers_branch(
    call: dict[str, Any], right: bool
) -> None:
    reference = AnyOf("draw", {"kind": "line", "size": 2}, {"size": (2, "3")})
    answer = answer_with([ToolCall("draw", call)])
    assert score_calls([SHAPES], [reference], answer, Switches()).correct == right
    ordered = Switches(ordered=True)
    assert score_calls([SHAPES], [reference], answer, ordered).correct == right


def test_alternatives_within_alternatives_take_no_more_than_their_share_of_time() -> None:
    """Each level of the value fits both branches; a naive algorithm doubles the work per level."""
    plain = plain_schema(
        {
            "$defs": {
                "a": {
                    "anyOf": [
                        {"type": "object", "properties": {"k": {"$ref": "#/$defs/a"},
                                                          "x": {"type": "integer"}},
                         "required": ["x"], "additionalProperties": False},
                        {"type": "object", "properties": {"k": {"$ref": "#/$defs/a"}},
                         "required": ["k"], "additionalProperties": False},
                        {"type": "string"},
                    ]
                }
            },
            "$ref": "#/$defs/a",
        }
    )  # fmt: skip
    value: Any = 5
    for _ in range(60):
        value = {"k": value}
    normal = normalised(value, plain, Switches())[0]
    for _ in range(60):
        normal = normal["k"]
    assert normal == "5"
