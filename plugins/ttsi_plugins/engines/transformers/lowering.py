"""Plain schemas (ttsi.parameters.plain), rewritten for xgrammar 0.2.

What xgrammar would misread is written in another form: constants that are lists or objects,
patterns, bounds beyond its integers. What it cannot enforce is left out here and remains for the
check of parameters: uniqueItems; multipleOf, except small steps of integers without bounds or in a
narrow range; lengths beside a pattern that is more than one repeated character.

Strings with a pattern or a length have no character that JSON escapes, except quotation marks and
backslashes that the pattern lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ttsi.parameters.embedding import each_inner
from ttsi.parameters.patterns import Chars, Either, Node, Ranges, Repeat, Row, intersect, lengths
from ttsi.parameters.patterns import read_pattern as read

_PLAIN: Ranges = ((0x20, 0x21), (0x23, 0x5B), (0x5D, 0xD7FF), (0xE000, 0x10FFFF))
"""The characters that stand in JSON strings as they are."""

_LARGEST = 2**63 - 1
_MOST_OPTIONAL = 500
"""Of more the grammar takes minutes, for it grows with their square."""
_LONGEST_PATTERN = 1000
"""xgrammar spells repetitions out: of a longer pattern it makes no grammar, after minutes."""
_LONGEST_STEP = 1024
_WIDEST = 10_000


def lowered(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema for xgrammar. It is laxer than `plain` only as the module's text says."""
    if "enum" in plain and plain["type"] in ("array", "object"):
        return {"anyOf": [_constant(value) for value in plain["enum"]]}
    schema = each_inner(plain, lowered)
    for keyword in ("default", "uniqueItems"):
        schema.pop(keyword, None)
    kind = schema.get("type")
    if len(schema.get("properties", ())) - len(schema.get("required", ())) > _MOST_OPTIONAL:
        raise ValueError(f"an object has more than {_MOST_OPTIONAL} optional properties")
    if "patternProperties" in schema:
        inner = schema["patternProperties"]
        schema["patternProperties"] = {_spelt(read(name)): inner[name] for name in inner}
    if kind == "string" and "pattern" in schema:
        _lower_pattern(schema)
    if kind in ("integer", "number"):
        _lower_number(schema)
    return schema


def _constant(value: Any) -> dict[str, Any]:
    """Return a schema that only `value` satisfies, with the white space that the grammar writes."""
    if isinstance(value, list):
        return {
            "type": "array",
            "prefixItems": [_constant(item) for item in value],
            "items": False,
            "minItems": len(value),
        }
    if isinstance(value, dict):
        return {
            "type": "object",
            "properties": {name: _constant(item) for name, item in value.items()},
            "required": list(value),
            "additionalProperties": False,
        }
    return {"const": value}


def _lower_number(schema: dict[str, Any]) -> None:
    for keyword in ("minimum", "maximum"):
        if schema["type"] == "integer" and abs(schema.get(keyword, 0)) > _LARGEST:
            del schema[keyword]
    step = schema.get("multipleOf", 1)
    bounds = [schema[keyword] for keyword in ("minimum", "maximum") if keyword in schema]
    narrow = not bounds or (len(bounds) == 2 and bounds[1] - bounds[0] <= _WIDEST)
    if schema["type"] == "number" or step != step // 1 or step > _LONGEST_STEP or not narrow:
        schema.pop("multipleOf", None)


def _lower_pattern(schema: dict[str, Any]) -> None:
    """Write the pattern for whole strings, with the lengths in it if one character is repeated."""
    node = read(schema["pattern"])
    least, most = schema.pop("minLength", 0), schema.pop("maxLength", None)
    while isinstance(node, Row) and len(node.items) == 1:
        node = node.items[0]
    if isinstance(node, Repeat) and lengths(node.item) == (1, 1):
        limits = [each for each in (node.most, most) if each is not None]
        node = Repeat(node.item, max(node.least, least), min(limits) if limits else None)
    schema["pattern"] = _spelt(node)


def _spelt(node: Node) -> str:
    if _length(node) > _LONGEST_PATTERN:
        what = f"takes more than {_LONGEST_PATTERN} characters with its repetitions spelt out"
        raise ValueError(f"a pattern {what}")
    return _written(node)


def _length(node: Node) -> int:
    """Return the number of characters of a pattern whose repetitions are spelt out."""
    if isinstance(node, Chars):
        return 1
    if isinstance(node, Repeat):
        return _length(node.item) * max(node.least, node.most or 1)
    return sum(map(_length, node.items))


def _written(node: Node) -> str:
    """Return a pattern for the JSON text between the quotation marks."""
    if isinstance(node, Chars):
        return _characters(node)
    if isinstance(node, Row):
        return "".join(map(_written, node.items))
    if isinstance(node, Either):
        return "(?:" + "|".join(map(_written, node.items)) + ")"
    most = "" if node.most is None else node.most
    return f"(?:{_written(node.item)}){{{node.least},{most}}}"


def _characters(node: Chars) -> str:
    ranges = intersect(node.ranges, _PLAIN)
    spans = "".join(f"\\u{{{low:x}}}-\\u{{{high:x}}}" for low, high in ranges)
    choices = [f"[{spans}]"] if ranges else []
    escaped = [char for char in '"\\' if intersect(node.ranges, ((ord(char),) * 2,))]
    if node.listed:
        # JSON escapes each with a backslash, and the pattern escapes every backslash again.
        choices += ["\\\\" + char.replace("\\", "\\\\") for char in escaped]
    if not choices:
        # A control character: nothing that is written here matches.
        raise ValueError(f"no JSON string has the characters {node.ranges} as they are")
    return choices[0] if len(choices) == 1 else "(?:" + "|".join(choices) + ")"
