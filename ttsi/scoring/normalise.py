"""Arguments by the type that the tool's schema declares (DESIGN section 8, rules 2 to 4).

Applied to reference and prediction alike, so that two calls are equal if their normal forms are.

| schema type | becomes it, where nothing is lost |
|---|---|
| number | a string that is a JSON number: "40.7". Not "007", "1,000", "NaN" or "1e999" |
| integer | that, where it has no fraction: 3.0, "3.0" and 1e3. Not 3.5: nothing is truncated |
| boolean | "true", "True", "false", "False". Not 1 or 0: a boolean is never a number |
| string | a number, as it was written: 5 becomes "5", 1.10 "1.10" and 1e3 "1e3". Not a boolean |
| array, object | a string that holds one, in JSON or Python notation |

A list of types and anyOf/oneOf: the first that the value has or can become. Else, and without a
type, the value stays as it is. Floats of 2**53 and more are never integers: digits may be lost.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from ttsi.scoring import Switches
from ttsi.scoring.literals import Reader
from ttsi.scoring.numbers import MAX_DIGITS, number_text
from ttsi.types import JSON

EXACT_BELOW = 2**53
"""Integers below this magnitude are doubles without loss; a larger double may have lost digits."""

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": True, "True": True, "false": False, "False": False}
_UNFIT = object()
"""What stands for `the value does not become this type`; None is a value."""

Schema = Mapping[str, Any]


def normalise_arguments(
    arguments: Mapping[str, JSON], parameters: Schema, switches: Switches
) -> dict[str, JSON]:
    """The arguments of a call in normal form, by the tool's `parameters` (a schema of an object).

    Idempotent. Undeclared arguments stay, so that matching can find them superfluous.
    """
    properties = _mapping(parameters.get("properties"))
    required = parameters.get("required")
    required = required if isinstance(required, list | tuple) else ()
    others = _mapping(parameters.get("additionalProperties"))
    normal: dict[str, JSON] = {}
    for key, value in arguments.items():
        schema = _mapping(properties.get(key, others))
        optional = key in properties and key not in required
        if switches.fill_defaults and optional and value is None and not _means_null(schema):
            continue
        normal[key] = normalise(value, schema, switches)
    if switches.fill_defaults:
        for key, declared in properties.items():
            default = _mapping(declared).get("default")
            if key not in normal and default is not None:
                normal[key] = normalise(default, _mapping(declared), switches)
    return normal


def normalise(value: JSON, schema: Schema, switches: Switches) -> JSON:
    """One value in normal form. What no declared type fits stays, but for its strings' form."""
    if switches.trim and isinstance(value, str):
        value = tidy(value)
    if switches.coerce:
        for branch in _branches(schema):
            fitted = _coerce(value, branch.get("type"))
            if fitted is not _UNFIT:
                return _inside(fitted, branch, switches)
    return _inside(value, schema, switches)


def tidy(text: str) -> str:
    """NFC, without outer white space; case and punctuation stay."""
    return unicodedata.normalize("NFC", text.strip())


def _inside(value: JSON, schema: Schema, switches: Switches) -> JSON:
    """Normal forms of what a list or an object holds."""
    if isinstance(value, dict):
        return normalise_arguments(value, schema, switches)
    if isinstance(value, list):
        items = _mapping(schema.get("items"))
        return [normalise(item, items, switches) for item in value]
    if switches.trim and isinstance(value, str):
        return tidy(value)
    return value


def _coerce(value: JSON, kind: object) -> JSON:
    """The value as JSON type `kind`, or _UNFIT."""
    if kind == "string":
        return value if isinstance(value, str) else _text(value)
    if kind == "number":
        return _number(value)
    if kind == "integer":
        return _integer(_number(value))
    if kind == "boolean":
        known = _BOOLEANS.get(value, _UNFIT) if isinstance(value, str) else _UNFIT
        return value if isinstance(value, bool) else known
    if kind == "null":
        return None if value is None else _UNFIT
    if kind == "array":
        return _container(value, list)
    if kind == "object":
        return _container(value, dict)
    return _UNFIT


def _text(value: JSON) -> JSON:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _UNFIT
    return number_text(value)


def _number(value: JSON) -> JSON:
    if isinstance(value, bool):
        return _UNFIT
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str) or len(value) > MAX_DIGITS or not _JSON_NUMBER.fullmatch(value):
        return _UNFIT
    if value.lstrip("-").isdigit():
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else _UNFIT


def _integer(number: JSON) -> JSON:
    if isinstance(number, float) and number.is_integer() and abs(number) < EXACT_BELOW:
        return int(number)
    return number if isinstance(number, int) else _UNFIT


def _container(value: JSON, kind: type) -> JSON:
    if isinstance(value, str):
        read = Reader(value).read_all()
        value = read.value if read else None
    return value if isinstance(value, kind) else _UNFIT


def _branches(schema: Schema) -> list[Schema]:
    """The schema's alternatives that declare one type, in order."""
    kind = schema.get("type")
    if isinstance(kind, str):
        return [schema]
    if isinstance(kind, list | tuple):
        return [{**schema, "type": one} for one in kind]
    either = schema.get("anyOf", schema.get("oneOf"))
    if not isinstance(either, list | tuple):
        return []
    return [branch for one in either for branch in _branches(_mapping(one))]


def _means_null(schema: Schema) -> bool:
    """Whether null says something that leaving the parameter out does not."""
    nullable = any(branch.get("type") == "null" for branch in _branches(schema))
    return nullable and schema.get("default") is not None


def _mapping(value: object) -> Schema:
    return value if isinstance(value, Mapping) else {}
