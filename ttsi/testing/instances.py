"""Values that are valid for a JSON Schema, drawn by a seed: what a constrained model would write.

Knows what tool parameters use: const, enum, anyOf and oneOf, type, properties, required, items,
and the bounds of arrays, strings and numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "islet", "knoll")


def instance(schema: Mapping[str, Any], draw: Random) -> Any:
    """A value that satisfies `schema`; optional properties are left out about half the time."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return draw.choice(list(schema["enum"]))
    for choices in ("anyOf", "oneOf"):
        if choices in schema:
            return instance(draw.choice(list(schema[choices])), draw)
    kind = schema.get("type", "string")
    if isinstance(kind, list):
        kind = kind[0]
    return _WRITERS[kind](schema, draw)


def _object(schema: Mapping[str, Any], draw: Random) -> dict[str, Any]:
    required = set(schema.get("required", ()))
    return {
        name: instance(inner, draw)
        for name, inner in schema.get("properties", {}).items()
        if name in required or draw.random() < 0.5
    }


def _array(schema: Mapping[str, Any], draw: Random) -> list[Any]:
    least = int(schema.get("minItems", 0))
    most = int(schema.get("maxItems", max(least, 2)))
    count = draw.randint(max(least, min(1, most)), min(most, max(least, 1) + 1))
    return [instance(schema.get("items", {}), draw) for _ in range(count)]


def _string(schema: Mapping[str, Any], draw: Random) -> str:
    text = f"{draw.choice(WORDS)} {draw.randrange(10_000)}"
    text += " more" * max(0, -(-(int(schema.get("minLength", 0)) - len(text)) // 5))
    return text[: schema.get("maxLength")]


def _integer(schema: Mapping[str, Any], draw: Random) -> int:
    low, high = _bounds(schema, 1)
    return draw.randint(int(low), int(high))


def _number(schema: Mapping[str, Any], draw: Random) -> float:
    low, high = _bounds(schema, 0.25)
    return min(high, max(low, round(draw.uniform(low, high), 2)))


def _bounds(schema: Mapping[str, Any], step: float) -> tuple[float, float]:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -step) + step)
    high = schema.get("maximum", schema.get("exclusiveMaximum", low + 99 + step) - step)
    return low, max(low, high)


_WRITERS: dict[str, Any] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": lambda schema, draw: draw.random() < 0.5,
    "null": lambda schema, draw: None,
}
