"""Merge several subschemas that hold together for values of one type; used by plain.py."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from typing import Any

from ttsi._common.jsons import JSON
from ttsi.parameters.automata import occurs, overlap
from ttsi.parameters.fitting import exactly, faults, fits, identity, is_of
from ttsi.parameters.keywords import ANNOTATIONS, OF_TYPE
from ttsi.parameters.patterns import IrregularPattern, lengths, read_pattern

Node = Mapping[str, Any]
Plain = dict[str, JSON]


class SchemaFault(ValueError):
    """A schema that has no plain form: where, which keyword, why, and the cure."""

    def __init__(self, pointer: str, keyword: str, what: str, cure: str) -> None:
        super().__init__(f"{pointer}: {keyword} {what}" if keyword else f"{pointer}: {what}")
        self.pointer, self.keyword, self.what, self.cure = pointer, keyword, what, cure


class Conflict(Exception):
    """Subschemas that no value satisfies together; a choice drops the branch that raises it."""

    def __init__(self, pointer: str, what: str) -> None:
        super().__init__(pointer, what)
        self.pointer, self.what = pointer, what

    def fault(self, keyword: str = "") -> SchemaFault:
        cure = "Remove the contradiction: allOf and what stands beside $ref, anyOf or oneOf apply."
        return SchemaFault(self.pointer, keyword, self.what, cure)


def constrains(node: Node, *, but: str) -> bool:
    """Whether a node has any keyword besides `but` that restricts values."""
    return any(k != but and k not in ANNOTATIONS and not str(k).startswith("x-") for k in node)


def matches(pattern: str, name: str, pointer: str) -> bool:
    checked_pattern(pattern, pointer, "patternProperties")
    return occurs(pattern, name)


def checked_pattern(pattern: str, pointer: str, keyword: str) -> str:
    try:
        occurs(pattern, "")
    except IrregularPattern as error:
        cure = "Write it with literals, classes, groups, | and repetitions; ^ and $ at its ends."
        raise SchemaFault(pointer, keyword, str(error), cure) from None
    return pattern


# ---------------------------------------------------------------- types and constants


def common_values(nodes: Sequence[Node], pointer: str) -> list[JSON] | None:
    """Return the values that every const and enum allows; None if there are none of these keywords.

    Raises Conflict if no value is left.
    """
    lists = [[node["const"]] for node in nodes if "const" in node]
    lists += [list(node["enum"]) for node in nodes if "enum" in node]
    if not lists:
        return None
    others = [set(map(identity, each)) for each in lists[1:]]
    common: dict[Hashable, JSON] = {}
    for value in lists[0]:
        key = identity(value)
        if all(key in other for other in others):
            common.setdefault(key, value)
    if not common:
        raise Conflict(pointer, "allows no value: its constants differ")
    return list(common.values())


def common_types(nodes: Sequence[Node], values: list[JSON] | None, pointer: str) -> list[str]:
    """Return the types that values may have, in the listed order; empty means any type.

    Raises Conflict if the nodes have no type in common.
    """
    lists = [node["type"] for node in nodes if "type" in node]
    if not lists:
        if values is not None:
            return _types_of(values)
        return [kind for kind, own in OF_TYPE.items() if any(own & node.keys() for node in nodes)]
    common = list(dict.fromkeys(_listed(lists[0])))
    for other in map(_listed, lists[1:]):
        met = (common_type(kind, other) for kind in common)
        common = list(dict.fromkeys(kind for kind in met if kind))
    if not common:
        raise Conflict(pointer, "allows no value: its types differ")
    return common


def _listed(kinds: str | Sequence[str]) -> list[str]:
    return [kinds] if isinstance(kinds, str) else list(kinds)


def common_type(kind: str, others: Sequence[str]) -> str | None:
    if kind in others or (kind == "integer" and "number" in others):
        return kind
    return "integer" if kind == "number" and "integer" in others else None


def _types_of(values: Sequence[JSON]) -> list[str]:
    whole = all(is_of(value, "integer") for value in values if is_of(value, "number"))
    kinds = ("string", "integer" if whole else "number", "boolean", "null", "array", "object")
    return list(dict.fromkeys(next(k for k in kinds if is_of(value, k)) for value in values))


def with_values(bodies: Sequence[Plain], values: list[JSON], definitions: Plain) -> list[Plain]:
    """Return the schemas of each type, restricted to the constants that they allow."""
    left = list(values)
    found = []
    for body in bodies:
        own: list[JSON] = []
        others: list[JSON] = []
        for value in left:
            (own if fits(value, body, definitions) else others).append(value)
        left = others
        if not own:
            continue
        kind = body["type"]
        if kind == "null" or (kind == "boolean" and len(own) == 2):
            found.append({"type": kind})
        elif kind in ("array", "object"):
            found.append({**body, "enum": own})
        else:
            found.append({"type": kind, "enum": own})
    return found


# ---------------------------------------------------------------- bounds


def counts(nodes: Sequence[Node], low: str, high: str, pointer: str) -> dict[str, int]:
    """Return the tightest of the bounds `low` and `high`. Raises Conflict if they contradict."""
    least = [int(node[low]) for node in nodes if low in node]
    most = [int(node[high]) for node in nodes if high in node]
    if least and most and max(least) > min(most):
        raise Conflict(pointer, f"allows no value: {low} is more than {high}")
    bounds: dict[str, int] = {}
    if any(least):
        bounds[low] = max(least)
    if most:
        bounds[high] = min(most)
    return bounds


def number_bounds(nodes: Sequence[Node], pointer: str, *, whole: bool) -> Plain:
    """Return the tightest numeric bounds and the common multipleOf.

    With `whole`, the bounds are integers and inclusive. Raises Conflict if they exclude all values.
    """
    least = [(node["minimum"], False) for node in nodes if "minimum" in node]
    least += [(node["exclusiveMinimum"], True) for node in nodes if "exclusiveMinimum" in node]
    most = [(node["maximum"], False) for node in nodes if "maximum" in node]
    most += [(node["exclusiveMaximum"], True) for node in nodes if "exclusiveMaximum" in node]
    if whole:
        least = [(math.floor(low) + 1 if open else math.ceil(low), False) for low, open in least]
        most = [(math.ceil(high) - 1 if open else math.floor(high), False) for high, open in most]
    body: Plain = {}
    low, high = max(least, default=None), min(most, key=_from_below, default=None)
    if low:
        body["exclusiveMinimum" if low[1] else "minimum"] = low[0]
    if high:
        body["exclusiveMaximum" if high[1] else "maximum"] = high[0]
    if low and high and (low[0] > high[0] or (low[0] == high[0] and (low[1] or high[1]))):
        raise Conflict(pointer, "allows no value: its minimum is above its maximum")
    step = _common_multiple([node["multipleOf"] for node in nodes if "multipleOf" in node])
    if step and not (whole and step == 1):
        body["multipleOf"] = step
    return body


def _from_below(bound: tuple[float, bool]) -> tuple[float, bool]:
    """Sort key for upper bounds: at the same number, the exclusive bound comes first."""
    number, open = bound
    return number, not open


def _common_multiple(steps: Sequence[float]) -> float | None:
    if not steps:
        return None
    parts = [exactly(step) for step in steps]
    common = Fraction(
        math.lcm(*(part.numerator for part in parts)),
        math.gcd(*(part.denominator for part in parts)),
    )
    return int(common) if common.denominator == 1 else float(common)


def text_bounds(nodes: Sequence[Node], pointer: str) -> Plain:
    body: Plain = dict(counts(nodes, "minLength", "maxLength", pointer))
    patterns = dict.fromkeys(node["pattern"] for node in nodes if "pattern" in node)
    if len(patterns) > 1:
        raise SchemaFault(
            pointer, "pattern", f"stands for two at once: {', '.join(patterns)}", "Write one."
        )
    for pattern in patterns:
        body["pattern"] = checked_pattern(pattern, pointer, "pattern")
        shortest, longest = lengths(read_pattern(pattern))
        least, most = body.get("minLength", 0), body.get("maxLength", shortest)
        if shortest > most or (longest is not None and longest < least):
            raise Conflict(pointer, "allows no value: no match of its pattern has its length")
    return body


# ---------------------------------------------------------------- arrays and objects


def array_body(
    prefix: list[Plain],
    items: Plain | bool,
    bounds: dict[str, int],
    nodes: Sequence[Node],
    pointer: str,
) -> Plain:
    if bounds.get("maxItems") == len(prefix):
        items = False
    if items is False:
        bounds.pop("maxItems", None)
        if bounds.get("minItems", 0) > len(prefix):
            raise Conflict(pointer, "allows no value: minItems is more than it has items")
    unique = any(node.get("uniqueItems") for node in nodes)
    return {
        **({"prefixItems": prefix} if prefix else {}),
        "items": items,
        **bounds,
        **({"uniqueItems": True} if unique else {}),
    }


def named_others(
    names: Plain, properties: Plain, patterns: Plain, others: Plain | None, pointer: str
) -> tuple[Plain, Plain, Plain | None]:
    """Apply the propertyNames schema `names` to properties, patterns and others.

    Raises SchemaFault if the result cannot be expressed by these three.
    """
    if not names or names == {"type": "string"}:
        return properties, patterns, others
    wrong = [name for name in properties if not is_of(name, "string") or faults(name, names)]
    if not wrong and not patterns and others is None:
        return properties, patterns, others
    if not wrong and not patterns and set(names) == {"type", "enum"}:
        return {**dict.fromkeys(names["enum"], others), **properties}, {}, None
    if not properties and not patterns and set(names) == {"type", "pattern"}:
        return {}, {names["pattern"]: others}, None
    raise SchemaFault(
        pointer,
        "propertyNames",
        "says more than a list of names or one pattern for all of them",
        "Write properties or patternProperties.",
    )


def object_body(
    properties: Plain,
    patterns: Plain,
    others: Plain | None,
    required: Sequence[str],
    bounds: dict[str, int],
    pointer: str,
) -> Plain:
    if unknown := [name for name in required if name not in properties]:
        cure = "Declare it under properties, or do not require it."
        fault = f"names {unknown[0]!r}, which is not declared"
        raise SchemaFault(pointer, "required", fault, cure)
    if patterns and others is not None:
        if any(each != others for each in patterns.values()):
            raise SchemaFault(
                pointer,
                "patternProperties",
                "stands beside other properties of any name, which no grammar can tell apart",
                "Write additionalProperties false.",
            )
        patterns = {}
    _check_patterns(patterns, properties, pointer)
    if others is None and not patterns and bounds.get("minProperties", 0) > len(properties):
        raise Conflict(pointer, "allows no value: minProperties is more than it has properties")
    if bounds.get("maxProperties", len(required)) < len(required):
        raise Conflict(pointer, "allows no value: it requires more than maxProperties")
    return {
        **({"properties": properties} if properties else {}),
        **({"required": list(required)} if required else {}),
        **({"patternProperties": patterns} if patterns else {}),
        "additionalProperties": False if others is None else others,
        **bounds,
    }


def _check_patterns(patterns: Plain, properties: Plain, pointer: str) -> None:
    """Raise SchemaFault unless each name has one schema.

    A pattern with another schema may not match a declared name, nor any name that another pattern
    matches.
    """
    cure = "Tell the names apart, or give them the same schema."
    for pattern, schema in patterns.items():
        checked_pattern(pattern, pointer, "patternProperties")
        for name, own in properties.items():
            if own != schema and occurs(pattern, name):
                what = f"has {pattern!r}, which also matches the property {name!r}"
                raise SchemaFault(pointer, "patternProperties", what, cure)
    for one, other in combinations(patterns, 2):
        if patterns[one] != patterns[other] and overlap(one, other):
            what = f"has {one!r} and {other!r}, which match the same names"
            raise SchemaFault(pointer, "patternProperties", what, cure)
