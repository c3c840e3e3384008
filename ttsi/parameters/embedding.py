"""Transform plain schemas level by level, and embed them in other documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ttsi.parameters.plain import Plain


def each_inner(plain: Mapping[str, Any], change: Callable[[Any], Any]) -> Plain:
    """Return the plain schema with `change` applied to each schema directly inside it."""
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
    """Return a plain schema to embed in another one, and its definitions, with prefixed names.

    Defaults are dropped, because they do not affect validity.
    """

    def renamed(node: Mapping[str, Any]) -> Plain:
        kept = each_inner(node, renamed)
        kept.pop("default", None)
        if "$ref" in kept:
            kept["$ref"] = "#/$defs/" + prefix + kept["$ref"].removeprefix("#/$defs/")
        return kept

    body = renamed(plain)
    return body, {prefix + name: each for name, each in body.pop("$defs", {}).items()}
