"""Check JSON values against plain schemas (plain.py)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from fractions import Fraction
from typing import Any

from ttsi._common.jsons import JSON
from ttsi.parameters.automata import occurs

Schema = Mapping[str, Any]


ANY: Schema = {}
"""The schema of any value. It is one object, because some caches know schemas by identity."""


def same(one: JSON, other: JSON) -> bool:
    """Whether two JSON values are equal: 1 equals 1.0, and a boolean is not a number."""
    return identity(one) == identity(other)


def identity(value: JSON) -> Hashable:
    """Return a key that is equal for equal JSON values."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, dict):
        return ("object", frozenset((name, identity(inner)) for name, inner in value.items()))
    if isinstance(value, list | tuple):
        return ("list", *map(identity, value))
    kept: Hashable = value
    return kept


def is_of(value: JSON, kind: str) -> bool:
    """Whether a value is of a JSON type."""
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, int | float):
        return kind == "number" or (kind == "integer" and value == value // 1)
    kinds = {str: "string", dict: "object", list: "array", tuple: "array"}
    if value is None:
        return kind == "null"
    return any(isinstance(value, each) and kind == name for each, name in kinds.items())


def faults(value: JSON, schema: Schema) -> int:
    """Count the bounds and constants that a value of the schema's type breaks.

    Only the value itself is checked, not what it contains.
    """
    count = 0
    if "enum" in schema:
        count += identity(value) not in map(identity, schema["enum"])
    if isinstance(value, str):
        count += not _within(len(value), schema.get("minLength"), schema.get("maxLength"))
        count += "pattern" in schema and not occurs(schema["pattern"], value)
    elif isinstance(value, dict):
        count += not _within(len(value), schema.get("minProperties"), schema.get("maxProperties"))
        count += sum(name not in value for name in schema.get("required", ()))
    elif isinstance(value, list):
        count += not _within(len(value), schema.get("minItems"), schema.get("maxItems"))
        if schema.get("uniqueItems"):
            count += len(set(map(identity, value))) < len(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        count += _number_faults(value, schema)
    return count


def _number_faults(value: float, schema: Schema) -> int:
    count = int(not _within(value, schema.get("minimum"), schema.get("maximum")))
    if "exclusiveMinimum" in schema:
        count += not value > schema["exclusiveMinimum"]
    if "exclusiveMaximum" in schema:
        count += not value < schema["exclusiveMaximum"]
    if "multipleOf" in schema:
        count += not is_multiple(value, schema["multipleOf"])
    return count


def is_multiple(value: float, of: float) -> bool:
    """Whether `value` is a multiple of `of`, taken as decimals: 0.3 is a multiple of 0.1."""
    # An integer may be too large for a float.
    finite = isinstance(value, int) or math.isfinite(value)
    return finite and (exactly(value) / exactly(of)).denominator == 1


def exactly(number: float) -> Fraction:
    return Fraction(number) if isinstance(number, int) else Fraction(repr(float(number)))


def _within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def fits(value: JSON, schema: Schema, definitions: Schema) -> bool:
    """Whether a value is valid for a plain schema."""
    if "$ref" in schema:
        return fits(value, definitions[schema["$ref"].removeprefix("#/$defs/")], definitions)
    if "anyOf" in schema:
        return any(fits(value, branch, definitions) for branch in schema["anyOf"])
    if "type" not in schema:
        return True
    if not is_of(value, schema["type"]) or faults(value, schema):
        return False
    places: Iterable[tuple[Any, JSON]] = ()
    if isinstance(value, dict):
        places = value.items()
    elif isinstance(value, list):
        places = enumerate(value)
    inner = ((item, within(schema, key)) for key, item in places)
    return all(own is not None and fits(item, own, definitions) for item, own in inner)


def within(schema: Schema, key: str | int) -> Schema | None:
    """Return the schema of what stands under `key` in an object or array; None if forbidden."""
    if isinstance(key, int):
        prefix = schema.get("prefixItems", ())
        inner = prefix[key] if key < len(prefix) else schema.get("items", ANY)
    else:
        inner = schema.get("properties", {}).get(key)
        if inner is None:
            found = (
                each
                for pattern, each in schema.get("patternProperties", {}).items()
                if occurs(pattern, key)
            )
            inner = next(found, schema.get("additionalProperties", ANY))
    if inner is False:
        return None
    return inner if isinstance(inner, Mapping) else ANY
