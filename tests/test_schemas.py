"""Plain form: it means what JSON Schema says, or is refused."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ttsi.scoring import Switches
from ttsi.scoring.fitting import fits
from ttsi.scoring.normalise import normalise
from ttsi.scoring.schemas import SchemaFault, plain_schema

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
    max_examples=600, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
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
        once = normalise(value, plain, Switches())
        assert checker.is_valid(once) or not checker.is_valid(value), (value, once)
        assert repr(normalise(once, plain, Switches())) == repr(once)
