"""Schemas in plain form within others: changed level by level, or put into another document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ttsi.parameters.plain import Plain


def each_inner(plain: Mapping[str, Any], change: Callable[[Any], Any]) -> Plain:
    """The plain schema with what `change` makes of each schema that stands right within it."""
    changed: Plain = dict(plain)
    for keyword, value in plain.items():
        if keyword in ("properties", "patternProperties", "$defs"):
            changed[keyword] = {name: change(inner) for name, inner in value.items()}
        elif keyword in ("anyOf", "prefixItems"):
            changed[keyword] = [change(inner) for inner in value]
        elif keyword in ("items", "additionalProperties") and isinstance(value, Mapping):
            changed[keyword] = change(value)
    return changed


def embedded(plain: Mapping[str, Any], prefix: str) -> tuple[Plain, Plain]:
    """A plain schema to be put into another one, and its definitions, their names prefixed.

    Without defaults, which say nothing of what is valid.
    """

    def renamed(node: Mapping[str, Any]) -> Plain:
        kept = each_inner(node, renamed)
        kept.pop("default", None)
        if "$ref" in kept:
            kept["$ref"] = "#/$defs/" + prefix + kept["$ref"].removeprefix("#/$defs/")
        return kept

    body = renamed(plain)
    return body, {prefix + name: each for name, each in body.pop("$defs", {}).items()}
