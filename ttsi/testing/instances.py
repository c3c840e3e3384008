"""Random values that are valid for a JSON Schema, as a constrained model would write.

Supports the schema keywords that tool parameters may use (ttsi.parameters.plain).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from ttsi.parameters.fitting import fits
from ttsi.parameters.patterns import Chars, Either, Node, Repeat, Row, read_pattern
from ttsi.parameters.plain import plain_schema

WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "islet", "knoll")

_TRIES = 100
_DEEP = 6
"""Depth of nesting beyond which optional parts are left out, so that recursive schemas end."""

_Schema = Mapping[str, Any]


def instance(schema: _Schema, draw: Random) -> Any:
    """Return a value that satisfies `schema`; optional properties are left out half the time.

    Raises ValueError where no value is found in _TRIES attempts.
    """
    plain = plain_schema(schema)
    definitions = plain.get("$defs", {})
    writer = _Writer(definitions, draw)
    for _ in range(_TRIES):
        value = writer.write(plain)
        if fits(value, plain, definitions):
            return value
    raise ValueError(f"no value was found for the schema {dict(schema)}")


class _Writer:
    def __init__(self, definitions: _Schema, draw: Random) -> None:
        self._definitions = definitions
        self._draw = draw
        self._depth = 0

    def write(self, schema: _Schema) -> Any:
        if "$ref" in schema:
            return self.write(self._definitions[schema["$ref"].removeprefix("#/$defs/")])
        if "enum" in schema:
            return self._draw.choice(schema["enum"])
        if "anyOf" in schema:
            return self.write(self._draw.choice(self._branches(schema["anyOf"])))
        writers: dict[str, Callable[[_Schema], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
            "boolean": lambda _: self._draw.random() < 0.5,
            "null": lambda _: None,
        }
        self._depth += 1
        value = writers[schema.get("type", "string")](schema)
        self._depth -= 1
        return value

    def _branches(self, branches: list[_Schema]) -> list[_Schema]:
        ending = [branch for branch in branches if "$ref" not in str(branch)]
        return ending if ending and self._depth > _DEEP else branches

    def _object(self, schema: _Schema) -> dict[str, Any]:
        required = schema.get("required", ())
        rare = 0.5 if self._depth <= _DEEP else 0.0
        properties = schema.get("properties", {})
        made = {
            name: self.write(inner)
            for name, inner in properties.items()
            if name in required or self._draw.random() < rare
        }
        for name, inner in [*properties.items(), *self._others(schema)]:
            if len(made) >= schema.get("minProperties", 0):
                break
            made.setdefault(name, self.write(inner))
        return made

    def _others(self, schema: _Schema) -> list[tuple[str, _Schema]]:
        """Return (name, schema) of enough undeclared properties for `minProperties`, if allowed."""
        count = 2 * schema.get("minProperties", 0)
        for pattern, inner in schema.get("patternProperties", {}).items():
            return [(self._matching(read_pattern(pattern)), inner) for _ in range(count)]
        others = schema.get("additionalProperties", {})
        if not isinstance(others, Mapping):
            return []
        return [(f"{self._draw.choice(WORDS)}{at}", others) for at in range(count)]

    def _array(self, schema: _Schema) -> list[Any]:
        prefix, items = schema.get("prefixItems", []), schema.get("items", {})
        least = schema.get("minItems", 0)
        most = schema.get("maxItems", max(least, len(prefix), 2))
        if not isinstance(items, Mapping):
            most = len(prefix)
        usual = max(least, len(prefix), 1) + 1
        count = self._draw.randint(max(least, min(1, most)), min(most, usual))
        if self._depth > _DEEP:
            count = least
        return [self.write(inner) for inner in [*prefix, *[items] * count][:count]]

    def _string(self, schema: _Schema) -> str:
        if "pattern" in schema:
            return self._matching(read_pattern(schema["pattern"]))
        text = f"{self._draw.choice(WORDS)} {self._draw.randrange(10_000)}"
        least: int = schema.get("minLength", 0)
        text += " more" * max(0, -(-(least - len(text)) // 5))
        most: int | None = schema.get("maxLength")
        return text[:most]

    def _matching(self, node: Node) -> str:
        """Return a text that matches a pattern."""
        if isinstance(node, Chars):
            low, high = self._draw.choice(node.ranges)
            least = min(max(low, 33), high)
            return chr(self._draw.randint(least, high) if high < 127 else max(low, 97))
        if isinstance(node, Row):
            return "".join(map(self._matching, node.items))
        if isinstance(node, Either):
            return self._matching(self._draw.choice(node.items))
        assert isinstance(node, Repeat)
        most = node.least + 2 if node.most is None else min(node.most, node.least + 2)
        count = self._draw.randint(node.least, most)
        return "".join(self._matching(node.item) for _ in range(count))

    def _integer(self, schema: _Schema) -> int:
        return int(self._multiple(schema, 1, int(schema.get("multipleOf", 1)) or 1))

    def _number(self, schema: _Schema) -> float:
        low, high = _bounds(schema, 0.25)
        if "multipleOf" in schema:
            return self._multiple(schema, 0.25, schema["multipleOf"])
        return min(high, max(low, round(self._draw.uniform(low, high), 2)))

    def _multiple(self, schema: _Schema, margin: float, step: float) -> float:
        low, high = _bounds(schema, margin)
        first = math.ceil(low / step)
        return self._draw.randint(first, max(first, math.floor(high / step))) * step


def _bounds(schema: _Schema, step: float) -> tuple[float, float]:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -step) + step)
    high = schema.get("maximum", schema.get("exclusiveMaximum", low + 99 + step) - step)
    return low, max(low, high)
