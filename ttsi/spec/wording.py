"""Convert JSON Schema's errors to plain words and JSON pointers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ttsi._common.pointers import pointer
from ttsi._common.suggest import did_you_mean, nearest
from ttsi.errors import Problem

_TYPE_WORDS = {
    "string": "a string",
    "number": "a number",
    "integer": "an integer",
    "boolean": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
_LONGEST_VALUE_SHOWN = 60


def value_in_words(value: Any) -> str:
    """Describe a JSON value for people: `the string "high"`, `the number 3`, `null`."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "an array"
    kind = "the string" if isinstance(value, str) else "the number"
    return f"{kind} {shown(value)}"


def shown(value: Any) -> str:
    """Return a value as JSON text, cut to a length that fits a message."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except ValueError:  # an integer of thousands of digits has no text
        return "of too many digits"
    return text if len(text) <= _LONGEST_VALUE_SHOWN else text[: _LONGEST_VALUE_SHOWN - 1] + "…"


def problems_of(error: Any, base: str = "") -> Iterator[Problem]:
    """Yield the problems of one jsonschema.ValidationError, with pointers prefixed by `base`."""
    place = base + pointer(*error.absolute_path)
    if error.validator == "additionalProperties" and error.validator_value is False:
        yield from _unknown_keys(error, place)
    elif error.validator == "required":
        # jsonschema gives one error per missing key without naming it; the caller drops repeats.
        for key in error.validator_value:
            if key not in error.instance:
                yield Problem(place + pointer(key), "this key is required and missing.")
    elif error.validator == "anyOf" and _all_types(error):
        types = [name for part in error.validator_value for name in _as_list(part["type"])]
        yield Problem(place, _wrong_type(types, error.instance))
    elif error.validator == "propertyNames":
        yield Problem(place, f'the key "{error.instance}" does not fit: {error.message}')
    else:
        say = _WORDS.get(error.validator)
        message = say(error) if say else f"does not fit: {error.message[:200]}."
        yield Problem(place, message, _cure(error))


def _unknown_keys(error: Any, place: str) -> Iterator[Problem]:
    known = list(error.schema.get("properties", {}))
    for key in error.instance:
        if key not in known:
            cure = did_you_mean(key, known, noun="keys") if known else "It takes no options."
            yield Problem(place + pointer(key), "unknown key.", cure)


def _all_types(error: Any) -> bool:
    return all(e.validator == "type" for e in error.context) and all(
        "type" in part for part in error.validator_value
    )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _wrong_type(types: Any, instance: Any) -> str:
    words = [_TYPE_WORDS.get(name, str(name)) for name in _as_list(types)]
    return f"expected {_either(words)}, got {value_in_words(instance)}."


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def _cure(error: Any) -> str:
    instance = error.instance
    if error.validator == "format":
        return "Write it as YYYY-MM-DD."
    if error.validator == "type" and isinstance(instance, str):
        try:
            meant = json.loads(instance)
        except (ValueError, RecursionError):
            return ""
        if error.validator_value and _fits(meant, _as_list(error.validator_value)):
            return f"Write {shown(meant)} without quotes."
    if error.validator == "enum" and isinstance(instance, str):
        near = nearest(instance, [v for v in error.validator_value if isinstance(v, str)])
        return f'Did you mean "{near}"?' if near else ""
    return ""


def _fits(value: Any, types: list[str]) -> bool:
    if isinstance(value, bool):
        return "boolean" in types
    if isinstance(value, int):
        return "integer" in types or "number" in types
    return isinstance(value, float) and "number" in types


def _enum(error: Any) -> str:
    allowed = _either([shown(value) for value in error.validator_value])
    return f"expected {allowed}, got {value_in_words(error.instance)}."


def _bound(words: str) -> Callable[[Any], str]:
    return lambda e: f"expected {words} {shown(e.validator_value)}, got {shown(e.instance)}."


def _size(words: str, unit: str) -> Callable[[Any], str]:
    return lambda e: f"expected {words} {e.validator_value} {unit}, got {len(e.instance)}."


_WORDS: dict[str, Callable[[Any], str]] = {
    "type": lambda e: _wrong_type(e.validator_value, e.instance),
    "enum": _enum,
    "const": lambda e: f"expected {shown(e.validator_value)}, got {value_in_words(e.instance)}.",
    "minimum": _bound("at least"),
    "maximum": _bound("at most"),
    "exclusiveMinimum": _bound("more than"),
    "exclusiveMaximum": _bound("less than"),
    "multipleOf": _bound("a multiple of"),
    "minLength": _size("at least", "characters"),
    "maxLength": _size("at most", "characters"),
    "minItems": _size("at least", "entries"),
    "maxItems": _size("at most", "entries"),
    "minProperties": _size("at least", "keys"),
    "maxProperties": _size("at most", "keys"),
    "uniqueItems": lambda e: f"the same value twice: {shown(_first_repeated(e.instance))}.",
    "format": lambda e: f"expected a {e.validator_value}, got {shown(e.instance)}.",
    "pattern": lambda e: (
        f"expected {e.schema.get('$comment', f'a match of {e.validator_value}')}, "
        f"got {shown(e.instance)}."
    ),
}


def _first_repeated(values: list[Any]) -> Any:
    return next((v for place, v in enumerate(values) if v in values[:place]), None)
