"""Values converted to the schema's type."""

from __future__ import annotations

import json
import time
import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi.answers.calls import Switches
from ttsi.answers.calls.normalise import normalise
from ttsi.parameters.plain import plain_parameters, plain_schema

ALL = Switches()

BECOMES = [
    ("number", "40.7", 40.7),
    ("number", "-5", -5),
    ("number", "1e3", 1000.0),
    ("number", " 40.7\n", 40.7),
    ("number", 3, 3),
    ("number", 3.0, 3.0),
    ("integer", 3, 3),
    ("integer", 3.0, 3),
    ("integer", -0.0, 0),
    ("integer", "42", 42),
    ("integer", "-42", -42),
    ("integer", "3.0", 3),
    ("integer", 1e3, 1000),
    ("integer", "9007199254740993", 2**53 + 1),
    ("integer", 2**64 + 1, 2**64 + 1),
    ("boolean", "true", True),
    ("boolean", "True", True),
    ("boolean", "false", False),
    ("boolean", "False", False),
    ("boolean", True, True),
    ("string", 5, "5"),
    ("string", -7, "-7"),
    ("string", 5.0, "5.0"),
    ("string", 0.5, "0.5"),
    ("string", "  x\n", "x"),
    ("string", "e\u0301", "\u00e9"),
    ("array", "[1, 2]", [1, 2]),
    ("array", "['a', \"b\", None, True]", ["a", "b", None, True]),
    ("array", " [] ", []),
    ("object", '{"a": 1}', {"a": 1}),
    ("object", "{'a': True}", {"a": True}),
    ("null", None, None),
]

STAYS = [
    ("number", "007"),
    ("number", "1,000"),
    ("number", "40.7 km"),
    ("number", "+3"),
    ("number", ".5"),
    ("number", "NaN"),
    ("number", "Infinity"),
    ("number", "1e999"),
    ("number", "1" * 500),
    ("number", "٣"),
    ("number", ""),
    ("number", True),
    ("number", None),
    ("number", [1]),
    ("integer", 3.5),
    ("integer", 1.9),
    ("integer", "3.5"),
    ("integer", "00123"),
    ("integer", True),
    ("integer", False),
    ("integer", 1e300),
    ("integer", 2.0**53),
    ("boolean", 1),
    ("boolean", 0),
    ("boolean", "1"),
    ("boolean", "TRUE"),
    ("boolean", "yes"),
    ("boolean", "None"),
    ("string", True),
    ("string", None),
    ("string", [1]),
    ("string", {"a": 1}),
    ("string", "Dr. Lee"),
    ("string", "3.50"),
    ("string", "-5"),
    ("string", "None"),
    ("string", ""),
    ("string", "007"),
    ("string", "ｆｕｌｌ"),
    ("array", "[1, 2"),
    ("array", "[1, 2] and more"),
    ("array", "1, 2"),
    ("array", '{"a": 1}'),
    ("array", '{"a": 1, "a": 2}'),
    ("array", 1),
    ("object", "[1]"),
    ("object", "{a: 1}"),
    ("object", "dict(a=1)"),
    ("null", "null"),
    ("null", "None"),
]


@pytest.mark.parametrize(("kind", "value", "normal"), BECOMES)
def test_becomes_the_declared_type(kind: str, value: Any, normal: Any) -> None:
    got = normalise(value, {"type": kind}, ALL)
    assert (type(got), got) == (type(normal), normal)


@pytest.mark.parametrize(("kind", "value"), STAYS)
def test_stays_where_something_would_be_lost(kind: str, value: Any) -> None:
    got = normalise(value, {"type": kind}, ALL)
    assert (type(got), got) == (type(value), value)


@pytest.mark.parametrize("value", ["5", "true", "[1]", 5, 5.0, True, None, [1], {"a": "1"}])
def test_without_a_type_values_stay(value: Any) -> None:
    got = normalise(value, {"description": "anything"}, ALL)
    assert (type(got), got) == (type(value), value)


@pytest.mark.parametrize(
    ("schema", "value", "normal"),
    [
        ({"type": ["integer", "string"]}, "5", 5),
        ({"type": ["integer", "string"]}, "007", "007"),
        ({"type": ["string", "integer"]}, 5, "5"),
        ({"type": ["string", "null"]}, None, None),
        ({"type": ["string", "null"]}, "None", "None"),
        ({"type": ["number", "boolean"]}, "true", True),
        ({"anyOf": [{"type": "integer"}, {"type": "boolean"}]}, "True", True),
        ({"anyOf": [{"type": "integer"}, {"type": "boolean"}]}, "x", "x"),
        ({"oneOf": [{"type": "boolean"}, {"type": "number"}]}, "2.5", 2.5),
        (
            {
                "anyOf": [{"$ref": "#/$defs/n"}, {"type": "integer"}],
                "$defs": {"n": {"type": "null"}},
            },
            "2",
            2,
        ),
        ({"anyOf": [{"type": "integer", "minimum": 10}, {"type": "string"}]}, "5", "5"),
        ({"enum": [1, "1"]}, "1", "1"),
        ({"enum": [True, "yes"]}, "true", True),
        ({"anyOf": [{"type": "array", "items": {"type": "integer"}}]}, ["1"], [1]),
        ({"anyOf": [{"anyOf": [{"type": "integer"}]}, {"type": "string"}]}, "3", 3),
    ],
)
def test_alternatives_are_tried_in_order(schema: dict[str, Any], value: Any, normal: Any) -> None:
    got = normalise(value, plain_schema(schema), ALL)
    assert (type(got), got) == (type(normal), normal)


def test_types_reach_into_lists_and_objects() -> None:
    schema = {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"n": {"type": "integer"}, "unit": {"type": "string", "default": "kg"}},
        },
    }
    assert normalise("[{'n': '3'}, {'n': 4.0, 'unit': ' g '}]", schema, ALL) == [
        {"n": 3, "unit": "kg"},
        {"n": 4, "unit": "g"},
    ]


PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "default": "3"},
        "unit": {"type": "string"},
        "limit": {"type": ["integer", "null"], "default": 10},
        "offset": {"type": "integer", "default": None},
    },
    "required": ["city"],
}
PLAIN = plain_parameters(PARAMETERS)
DEFAULTS = {"days": 3, "limit": 10}


@pytest.mark.parametrize(
    ("arguments", "normal"),
    [
        ({"city": "Oslo"}, {"city": "Oslo", **DEFAULTS}),
        ({"city": "Oslo", "days": "3"}, {"city": "Oslo", **DEFAULTS}),
        ({"city": "Oslo", "days": 4}, {"city": "Oslo", **DEFAULTS, "days": 4}),
        ({"city": "Oslo", "unit": None}, {"city": "Oslo", **DEFAULTS}),
        ({"city": "Oslo", "unit": ""}, {"city": "Oslo", "unit": "", **DEFAULTS}),
        ({"city": "Oslo", "days": None}, {"city": "Oslo", **DEFAULTS}),
        ({"city": "Oslo", "offset": None}, {"city": "Oslo", **DEFAULTS}),
        # A parameter that may be null and defaults to something else: null is a value of its own.
        ({"city": "Oslo", "limit": None}, {"city": "Oslo", **DEFAULTS, "limit": None}),
        # Neither a required parameter nor an undeclared one is dropped for being null.
        ({"city": None}, {"city": None, **DEFAULTS}),
        ({"city": "Oslo", "other": None}, {"city": "Oslo", "other": None, **DEFAULTS}),
    ],
)
def test_defaults_and_null(arguments: dict[str, Any], normal: dict[str, Any]) -> None:
    assert normalise(arguments, PLAIN, ALL) == normal


def test_undeclared_arguments_stay_and_may_have_a_schema() -> None:
    closed = plain_parameters({"type": "object", "additionalProperties": False})
    assert normalise({"x": "5"}, closed, ALL) == {"x": "5"}
    typed = plain_parameters({"type": "object", "additionalProperties": {"type": "integer"}})
    assert normalise({"x": "5"}, typed, ALL) == {"x": 5}


def test_each_switch_switches_its_own_rule_off() -> None:
    given = {"city": " Oslo ", "days": "4", "unit": None}
    full = {"city": "Oslo", "days": 4, "limit": 10}
    assert normalise(given, PLAIN, ALL) == full
    no_fill = replace(ALL, fill_defaults=False)
    assert normalise(given, PLAIN, no_fill) == {
        "city": "Oslo",
        "days": 4,
        "unit": None,
    }
    no_coerce = replace(ALL, coerce=False)
    assert normalise(given, PLAIN, no_coerce) == {**full, "days": "4"}
    no_trim = replace(ALL, trim=False)
    assert normalise(given, PLAIN, no_trim) == {**full, "city": " Oslo "}


def test_nothing_given_is_changed() -> None:
    given = {"city": " Oslo ", "tags": [" a ", {"b": " c "}]}
    normalise(given, PLAIN, ALL)
    assert given == {"city": " Oslo ", "tags": [" a ", {"b": " c "}]}


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["5", "5.0", "007", "true", "None", "[1, '2']", "{'a': 1}", "1e3", " 7 "])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
TYPES = st.sampled_from(["string", "number", "integer", "boolean", "null", "array", "object"])
SCHEMAS = st.recursive(
    st.fixed_dictionaries({"type": TYPES | st.lists(TYPES, min_size=1, max_size=3)})
    | st.sampled_from([{}, {"enum": [1, "1", None]}, {"type": "string", "pattern": "^[0-9]+$"}]),
    lambda inner: (
        st.fixed_dictionaries({"type": st.just("array"), "items": inner})
        | st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner),
            }
        )
    ),
    max_leaves=4,
)


@given(VALUES, SCHEMAS)
def test_normal_forms_are_their_own_normal_form(value: Any, schema: dict[str, Any]) -> None:
    plain = plain_schema(schema)
    once = normalise(value, plain, ALL)
    twice = normalise(once, plain, ALL)
    assert repr(twice) == repr(once)


@given(st.integers(), st.integers())
def test_distinct_integers_stay_distinct(one: int, other: int) -> None:
    kinds = ("integer", "number")
    forms = {normalise(str(n), {"type": kind}, ALL) for n in (one, other) for kind in kinds}
    assert forms == {one, other}


def test_texts_in_texts_nest_no_deeper_than_what_is_read_at_once() -> None:
    plain = plain_schema(
        {
            "$ref": "#/$defs/n",
            "$defs": {
                "n": {
                    "anyOf": [{"type": "array", "items": {"$ref": "#/$defs/n"}}, {"type": "string"}]
                }
            },
        }
    )
    text = "x"
    for _ in range(3):
        text = "[" * 60 + json.dumps(text) + "]" * 60
    normal = normalise(text, plain, ALL)
    assert normalise(normal, plain, ALL) == normal
    levels = 0
    while isinstance(normal, list):
        (normal,) = normal
        levels += 1
    assert levels == 60
    assert isinstance(normal, str)
    assert normal.startswith("[" * 60)
    # What fits is opened.
    assert normalise('["[1]"]', plain, ALL) == [["1"]]


def test_null_and_defaults_are_known_behind_references() -> None:
    plain = plain_parameters(
        {
            "type": "object",
            "properties": {"next": {"$ref": "#/$defs/next"}},
            "$defs": {
                "next": {
                    "anyOf": [
                        {"type": "object", "properties": {"next": {"$ref": "#/$defs/next"}}},
                        {"type": "null"},
                        {"type": "string"},
                    ],
                    "default": "end",
                }
            },
        }
    )
    assert plain["properties"]["next"].keys() == {"$ref"}
    assert normalise({"next": None}, plain, ALL) == {"next": None}
    assert normalise({}, plain, ALL) == {"next": "end"}
    assert normalise({"next": {"next": None}}, plain, ALL) == {"next": {"next": None}}


def test_a_default_that_would_be_filled_in_without_end_is_none() -> None:
    plain = plain_parameters(
        {
            "type": "object",
            "properties": {"next": {"$ref": "#/$defs/next"}},
            "$defs": {
                "next": {
                    "type": "object",
                    "properties": {"next": {"$ref": "#/$defs/next"}},
                    "default": {},
                }
            },
        }
    )
    assert normalise({"next": {}}, plain, ALL) == {"next": {}}


def test_combining_marks_take_no_time() -> None:
    text = "a" + "\u0300\u0316" * 100_000
    started = time.process_time()
    assert normalise(text, {"type": "string"}, ALL) == text
    tibetan = "\u0f40" + "\u0f73" * 100_000
    assert normalise(tibetan, {"type": "string"}, ALL) == tibetan
    assert time.process_time() - started < 2
    longest = "a" + "\u0316\u0300" * 15
    assert normalise(longest, {"type": "string"}, ALL) == unicodedata.normalize("NFC", longest)
    assert normalise("e\u0301", {"type": "string"}, ALL) == "\u00e9"
