"""Convert the type words of the data sets to JSON Schema when they are loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ttsi import JSON

_TYPES = {
    "str": "string",
    "string": "string",
    "int": "integer",
    "int32": "integer",
    "integer": "integer",
    "float": "number",
    "number": "number",
    "bool": "boolean",
    "boolean": "boolean",
    "list": "array",
    "array": "array",
    "dict": "object",
    "object": "object",
    "json": "object",
}
_ARRAY = re.compile(r"(?:list|array)\s*[\[(]\s*(?P<items>.+?)\s*[\])]", re.IGNORECASE)


def type_schema(words: str) -> dict[str, JSON]:
    """Return the schema of a type in words: "int", "list(str)", "Array[string]", "str, datetime
    obj".

    The first of several alternatives counts. Words that name no JSON type give {}: any value.
    """
    array = _ARRAY.fullmatch(words.strip())
    if array:
        return {"type": "array", "items": type_schema(array["items"])}
    first = re.split(r"[,/|]", words)[0].strip().lower()
    return {"type": _TYPES[first]} if first in _TYPES else {}


def with_hints(text: str, given: Mapping[str, JSON], hints: Iterable[str]) -> str:
    """Return a description extended by the values that `given` has under the names in `hints`."""
    for hint in hints:
        value = given.get(hint)
        words = ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")
        if words and words not in text:
            text = f"{text} ({hint}: {words})".strip()
    return text


def object_schema(
    properties: Mapping[str, Mapping[str, JSON]], required: Iterable[str]
) -> dict[str, JSON]:
    """Return the parameters of a function: these properties and no others."""
    schema: dict[str, JSON] = {
        "type": "object",
        "properties": {name: dict(value) for name, value in properties.items()},
    }
    needed = set(required)
    names = [name for name in properties if name in needed]
    if names:
        schema["required"] = names
    return {**schema, "additionalProperties": False}
