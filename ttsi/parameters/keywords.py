"""The keywords of JSON Schema 2020-12: their allowed values, and which are ignored or refused."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from ttsi._common.suggest import did_you_mean

TYPES = ("string", "number", "integer", "boolean", "null", "array", "object")

OF_TYPE: Mapping[str, frozenset[str]] = {
    "object": frozenset(
        {"properties", "patternProperties", "additionalProperties", "propertyNames", "required"}
        | {"minProperties", "maxProperties", "unevaluatedProperties"}
    ),
    "array": frozenset(
        {"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "unevaluatedItems"}
    ),
    "string": frozenset({"pattern", "minLength", "maxLength"}),
    "number": frozenset(
        {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    ),
}
"""Keywords by the type of value that they apply to; those of numbers also apply to integers."""

ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "example", "deprecated", "readOnly"}
    | {"writeOnly", "format", "contentEncoding", "contentMediaType", "contentSchema"}
    | {"$comment", "$schema", "$defs", "definitions", "discriminator", "xml", "externalDocs"}
    | {"enumNames", "enumDescriptions", "markdownDescription", "propertyOrdering"}
)
"""Keywords that do not affect validity. `default` is filled in when calls are scored."""

REFUSED: Mapping[str, str] = {
    "not": "List what is allowed instead.",
    "if": "Write the cases as branches of anyOf.",
    "then": "Write the cases as branches of anyOf.",
    "else": "Write the cases as branches of anyOf.",
    "dependentRequired": "Write the cases as branches of anyOf.",
    "dependentSchemas": "Write the cases as branches of anyOf.",
    "dependencies": "Write the cases as branches of anyOf.",
    "contains": "Say what every item is, with items or prefixItems.",
    "minContains": "Say what every item is, with items or prefixItems.",
    "maxContains": "Say what every item is, with items or prefixItems.",
    "additionalItems": "Write prefixItems for the first items and items for the others.",
    "$anchor": "Refer to the subschema by its place, as in #/$defs/name.",
    "$dynamicRef": "Refer to the subschema by its place, as in #/$defs/name.",
    "$dynamicAnchor": "Refer to the subschema by its place, as in #/$defs/name.",
    "$recursiveRef": "Refer to the subschema by its place, as in #/$defs/name.",
    "$recursiveAnchor": "Refer to the subschema by its place, as in #/$defs/name.",
    "$id": "Leave it out: references lead to places in this schema only.",
}


def _is_schema(value: Any) -> bool:
    return isinstance(value, Mapping | bool)


def _are_schemas(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_schema, value))


def _name_schemas(value: Any) -> bool:
    if not isinstance(value, Mapping) or not are_names(list(value)):
        return False
    return all(map(_is_schema, value.values()))


def _are_types(value: Any) -> bool:
    listed = [value] if isinstance(value, str) else value
    return bool(listed) and are_names(listed) and {*listed} <= {*TYPES}


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    # No number beyond a float's range; the comparison also works for integers of any length.
    return -sys.float_info.max <= value <= sys.float_info.max


def are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


_SHAPES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "$ref": (lambda value: isinstance(value, str), "a text"),
    "type": (_are_types, f"one or several of {', '.join(TYPES)}"),
    "enum": (lambda value: isinstance(value, list | tuple) and bool(value), "a list of values"),
    "const": (lambda value: True, "a value"),
    "nullable": (_is_flag, "true or false"),
    **dict.fromkeys(
        ("allOf", "anyOf", "oneOf", "prefixItems"), (_are_schemas, "a list of schemas")
    ),
    **dict.fromkeys(("properties", "patternProperties"), (_name_schemas, "schemas by name")),
    **dict.fromkeys(("items", "additionalProperties", "propertyNames"), (_is_schema, "a schema")),
    **dict.fromkeys(
        ("unevaluatedProperties", "unevaluatedItems"),
        (lambda value: value is False, "false, which goes without saying"),
    ),
    **dict.fromkeys(("required",), (are_names, "a list of names")),
    **dict.fromkeys(("uniqueItems",), (_is_flag, "true or false")),
    **dict.fromkeys(("pattern",), (lambda value: isinstance(value, str), "a text")),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), (_is_number, "a number")
    ),
    "multipleOf": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        (_is_count, "a whole number from 0 on"),
    ),
}


def keyword_fault(node: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return the first keyword of a subschema that cannot be used, why, and the cure; else None."""
    for keyword, value in node.items():
        if not isinstance(keyword, str):
            return str(keyword), "is no keyword: it is no text", "Write it as a text."
        if keyword in REFUSED:
            return keyword, "is not supported", REFUSED[keyword]
        if keyword in ANNOTATIONS or keyword.startswith("x-"):
            continue
        if keyword not in _SHAPES:
            known = [*_SHAPES, *ANNOTATIONS]
            cure = did_you_mean(keyword, known, noun="keywords")
            return keyword, "is no keyword that is known", cure
        is_sound, wanted = _SHAPES[keyword]
        if not is_sound(value):
            return keyword, f"is not {wanted}: {value!r}", f"Make it {wanted}."
    return None
