"""A tool's parameters in plain form: one schema that scoring, G's contract and the grammar share.

A plain schema is {} (any value), one `type` with keywords of that type alone, `anyOf` of plain
schemas, or `{"$ref": "#/$defs/NAME"}` for a recursive schema; `$defs` are at the root. `enum` is
beside the type of its values, `default` beside any. Other references are resolved, and `allOf` and
the keywords beside a reference or a choice are merged. These rules remove ambiguity:

- A schema allows only what it lists. An object with properties and an array with prefixItems allow
  no others unless `additionalProperties`, `patternProperties` or `items` says so. An object that
  lists no properties allows any, except at the root of a tool's parameters, which then takes none.
- A schema without a type, whose keywords are those of one type, is of that type.
- `oneOf` becomes `anyOf`, because its branches have to exclude each other: by type, by the values
  of a property, or by a property that one requires and the other does not allow.
- `format` is an annotation.

A schema that has no such form is refused by SchemaFault. Otherwise JSON Schema 2020-12 applies.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, TypeAlias

from ttsi._common.jsons import JSON
from ttsi.parameters import merging
from ttsi.parameters.automata import Laborious, bounded
from ttsi.parameters.exclusion import disjoint, exclusive
from ttsi.parameters.fitting import identity
from ttsi.parameters.keywords import keyword_fault
from ttsi.parameters.merging import Conflict, SchemaFault
from ttsi.parameters.parts import (
    Choice,
    Part,
    Parts,
    choice_of,
    is_named,
    item_of,
    named,
    target_of,
)

__all__ = ["Plain", "SchemaFault", "plain_parameters", "plain_schema"]

Plain: TypeAlias = dict[str, JSON]

_MOST_STEPS = 50_000
"""A schema whose references expand to more subschemas than this is refused."""

_MOST_WORK = 2_000_000
"""So is one whose patterns take more work to compare with each other, with names and constants."""


def plain_parameters(parameters: Mapping[str, JSON]) -> Plain:
    """Return the parameters of a tool in plain form: an object, or `anyOf` of objects.

    Raises SchemaFault.
    """
    plain = _Compiler(parameters, closed_root=True).compile()
    for branch in plain.get("anyOf", [plain]):
        if _deref(branch, plain.get("$defs", {})).get("type") != "object":
            fault = "takes what is no object, and arguments are one"
            raise SchemaFault("#", "type", fault, 'Make it "type": "object".')
    return plain


def plain_schema(schema: Mapping[str, JSON]) -> Plain:
    """Return any schema in plain form. Idempotent. Raises SchemaFault."""
    return _Compiler(schema, closed_root=False).compile()


class _Compiler:
    def __init__(self, document: Mapping[str, JSON], *, closed_root: bool) -> None:
        if not isinstance(document, Mapping):
            raise SchemaFault("#", "", f"is no schema: {document!r}", "Make it an object.")
        self._document = {key: value for key, value in document.items() if key != "$id"}
        self._closed_root = closed_root
        self._open: dict[frozenset[Part], str | None] = {}
        self._definitions: Plain = {}
        self._choosing: set[frozenset[Part]] = set()
        self._steps = 0

    def compile(self) -> Plain:
        root = Part("#", self._document)
        try:
            with bounded(_MOST_WORK):
                plain = self._schema((root,), closed=self._closed_root)
        except Conflict as conflict:
            raise conflict.fault() from None
        except RecursionError:
            what, cure = "nests too many schemas in each other", "Write fewer levels."
            raise SchemaFault("#", "", what, cure) from None
        except Laborious:
            what, cure = "take too long to match", "Write fewer or simpler patterns."
            raise SchemaFault("#", "patterns", what, cure) from None
        if self._definitions:
            if "$ref" in plain:
                plain = self._definitions[plain["$ref"].removeprefix("#/$defs/")]
            plain = {**plain, "$defs": self._definitions}
        return plain

    def _schema(self, parts: Parts, *, closed: bool = False) -> Plain:
        """Return the plain schema of all `parts` together; a recursive one becomes a reference."""
        parts = tuple(map(self._beyond_references, parts))
        key = frozenset(parts)
        if key in self._open:
            self._open[key] = self._open[key] or self._new_name(parts)
            return {"$ref": f"#/$defs/{self._open[key]}"}
        self._open[key] = None
        try:
            body = self._body(parts, closed)
        except Conflict:
            del self._open[key]
            raise
        name = self._open[key]
        if not name:
            del self._open[key]
            return body
        self._definitions[name] = body
        return {"$ref": f"#/$defs/{name}"}

    def _new_name(self, parts: Parts) -> str:
        tail = re.sub(r"[^\w.]", "_", parts[-1].pointer.rpartition("/")[2]) or "root"
        names = {*self._open.values()}
        return next(n for i in range(len(names) + 1) if (n := f"{tail}{i or ''}") not in names)

    def _beyond_references(self, part: Part) -> Part:
        """Follow the references of a part that has nothing but a `$ref`."""
        seen = {part.pointer}
        while isinstance(part.node, Mapping) and not part.without and part.has("$ref"):
            if "default" in part.node or merging.constrains(part.node, but="$ref"):
                break
            self._check(part)
            part = target_of(part, self._document)
            if part.pointer in seen:
                raise SchemaFault(
                    part.pointer,
                    "$ref",
                    "refers to itself",
                    "Define it without a reference to itself.",
                )
            seen.add(part.pointer)
        return part

    def _step(self, part: Part, steps: int = 1) -> None:
        self._steps += steps
        if self._steps > _MOST_STEPS:
            raise SchemaFault(
                part.pointer,
                "$ref",
                f"the schema spells out to more than {_MOST_STEPS} subschemas",
                "Say it with fewer alternatives.",
            )

    def _check(self, part: Part) -> None:
        self._step(part)
        if not isinstance(part.node, Mapping):
            raise SchemaFault(
                part.pointer, "", f"is no schema: {part.node!r}", "Make it an object."
            )
        if found := keyword_fault(part.node):
            raise SchemaFault(part.pointer, *found)

    # ------------------------------------------------------------ references, allOf and choices

    def _flat(self, parts: Parts) -> Iterator[Part]:
        """Yield the parts with references and allOf resolved; the first `default` counts."""
        seen: set[Part] = set()
        waiting = [(part, frozenset[str]()) for part in reversed(parts)]
        while waiting:
            part, behind = waiting.pop()
            if part.pointer in behind:
                raise SchemaFault(
                    part.pointer,
                    "$ref",
                    "refers to itself",
                    "Define it without a reference to itself.",
                )
            if part.node is True or part in seen:
                continue
            if part.node is False:
                raise Conflict(part.pointer, "allows no value")
            self._check(part)
            seen.add(part)
            if part.has("nullable") and part.node["nullable"]:
                yield part
                continue
            inner: list[Part] = []
            if part.has("$ref"):
                inner.append(target_of(part, self._document))
            if part.has("allOf"):
                inner += [part.child("allOf", i) for i in range(len(part.node["allOf"]))]
            behind |= {part.pointer}
            waiting += [(each, behind) for each in reversed(inner)]
            yield part.less("$ref").less("allOf")

    def _body(self, parts: Parts, closed: bool) -> Plain:
        flat = list(self._flat(parts))
        default = next((p.node["default"] for p in flat if "default" in p.node), None)
        choice = next((found for part in flat if (found := choice_of(part))), None)
        body = self._chosen(flat, choice, closed) if choice else self._typed(flat, closed)
        return body if default is None else {**body, "default": default}

    def _chosen(self, flat: Sequence[Part], choice: Choice, closed: bool) -> Plain:
        key = frozenset(flat)
        if key in self._choosing:
            cure = "Define it without a reference to itself."
            raise SchemaFault(choice.part.pointer, choice.keyword, "refers to itself", cure)
        self._choosing.add(key)
        others = tuple(part for part in flat if part is not choice.part)
        found: list[list[Plain]] = []
        conflict = Conflict(choice.part.pointer, "allows no value")
        for branch in choice.branches:
            try:
                # A default inside a branch does not select that branch, so it cannot be filled in.
                body = _without_default(self._body((*others, *branch), closed))
            except Conflict as one:
                conflict = one
                continue
            found.append(body.get("anyOf", [body]))
        self._choosing.discard(key)
        if choice.exclusive and not exclusive(found, partial(self._disjoint, choice.part)):
            raise SchemaFault(
                choice.part.pointer,
                "oneOf",
                "has branches that one value may satisfy at once",
                "Write anyOf, or tell the branches apart: by type, by a property with a const "
                "of its own, or by a property that one requires and the other does not have.",
            )
        distinct: dict[Hashable, Plain] = {}
        for each in chain.from_iterable(found):
            distinct.setdefault(identity(each), each)
        if not distinct:
            raise conflict
        bodies = list(distinct.values())
        return bodies[0] if len(bodies) == 1 else {"anyOf": bodies}

    def _disjoint(self, place: Part, one: Plain, other: Plain) -> bool:
        self._step(place)
        return disjoint(_deref(one, self._definitions), _deref(other, self._definitions))

    # ------------------------------------------------------------ keywords of one type

    def _typed(self, flat: Sequence[Part], closed: bool) -> Plain:
        nodes = [{k: v for k, v in part.node.items() if k not in part.without} for part in flat]
        place = flat[0].pointer if flat else "#"
        values = merging.common_values(nodes, place)
        types = merging.common_types(nodes, values, place)
        if not types:
            return {}
        bodies: list[Plain] = []
        conflict = None
        for kind in types:
            try:
                bodies.append(self._of_type(kind, flat, nodes, closed))
            except Conflict as one:
                conflict = one
        if values is not None:
            try:
                bodies = merging.with_values(bodies, values, self._definitions)
            except LookupError:
                what = "stands beside a schema that holds itself"
                raise SchemaFault(place, "enum", what, "Leave one of them out.") from None
        if not bodies:
            raise conflict or Conflict(place, "allows none of the values of its enum")
        return bodies[0] if len(bodies) == 1 else {"anyOf": bodies}

    def _of_type(
        self, kind: str, flat: Sequence[Part], nodes: Sequence[Mapping[str, Any]], closed: bool
    ) -> Plain:
        place = flat[0].pointer
        body: Plain = {"type": kind}
        if kind in ("number", "integer"):
            return body | merging.number_bounds(nodes, place, whole=kind == "integer")
        if kind == "string":
            return body | merging.text_bounds(nodes, place)
        if kind == "array":
            return body | self._array(flat, nodes)
        if kind == "object":
            return body | self._object(flat, nodes, closed)
        return body

    def _array(self, flat: Sequence[Part], nodes: Sequence[Mapping[str, Any]]) -> Plain:
        place = flat[0].pointer
        bounds = merging.counts(nodes, "minItems", "maxItems", place)
        longest = max(len(node.get("prefixItems", ())) for node in nodes)
        prefix: list[Plain] = []
        ended = False
        for at in range(min(longest, bounds.get("maxItems", longest))):
            item = self._inner([part for each in flat for part in item_of(each, at)], "prefixItems")
            if item is None:
                ended = True
                break
            prefix.append(item)
        listed = [part.child("items") for part in flat if part.has("items")]
        items: Plain | bool = False
        if not ended and (listed or not longest):
            inner = self._inner(listed, "items")
            items = False if inner is None else inner
        return merging.array_body(prefix, items, bounds, nodes, place)

    def _inner(self, parts: Sequence[Part], keyword: str) -> Plain | None:
        """Return the schema of an object's or array's content; None where `false` forbids it."""
        if any(part.node is False for part in parts):
            return None
        try:
            return self._schema(tuple(parts)) if parts else {}
        except Conflict as conflict:
            raise conflict.fault(keyword) from None

    def _object(
        self, flat: Sequence[Part], nodes: Sequence[Mapping[str, Any]], closed: bool
    ) -> Plain:
        place = flat[0].pointer
        bounds = merging.counts(nodes, "minProperties", "maxProperties", place)
        required = list(dict.fromkeys(name for node in nodes for name in node.get("required", ())))
        names = dict.fromkeys(name for node in nodes for name in node.get("properties", {}))
        self._step(flat[0], len(names) * (len(flat) - 1))
        listed = [part.child("additionalProperties") for part in flat
                  if part.has("additionalProperties")]  # fmt: skip
        patterns = self._patterns(flat, listed)
        others: Plain | None = None
        if listed:
            others = self._inner(listed, "additionalProperties")
        elif not names and not patterns and not closed:
            others = {}
        # A grammar can enforce required properties only if they are named.
        names |= dict.fromkeys(
            name for name in required if others is not None or is_named(flat, name)
        )
        properties: Plain = {}
        for name in names:
            inner = self._property(flat, name, name in required, others is not None)
            if inner is not None:
                properties[name] = inner
        named = merging.named_others(self._names(flat), properties, patterns, others, place)
        properties, patterns, others = named
        return merging.object_body(properties, patterns, others, required, bounds, place)

    def _property(self, flat: Sequence[Part], name: str, needed: bool, open: bool) -> Plain | None:
        """Return the schema of one property; None, or Conflict if `needed`, if it is forbidden."""
        parts: list[Part] = []
        for part in flat:
            own = list(named(part, name))
            if not own and part.has("additionalProperties"):
                own = [part.child("additionalProperties")]
                if own[0].node is False:
                    conflict = Conflict(part.pointer, f"does not allow the property {name!r}")
                    raise conflict if needed else conflict.fault("additionalProperties")
            parts += own
        if not needed:
            inner = self._inner(parts, "properties")
            if inner is None and open:
                raise SchemaFault(
                    flat[0].pointer,
                    "properties",
                    f"forbids {name!r} and allows any other name",
                    "List the properties that are allowed, with additionalProperties false.",
                )
            return inner
        return self._schema(tuple(parts))

    def _patterns(self, flat: Sequence[Part], listed: Sequence[Part]) -> Plain:
        patterns: Plain = {}
        found = dict.fromkeys(
            name for p in flat if p.has("patternProperties") for name in p.node["patternProperties"]
        )
        for name in found:
            parts = []
            for part in flat:
                if part.has("patternProperties") and name in part.node["patternProperties"]:
                    parts.append(part.child("patternProperties", name))
                elif part.has("additionalProperties"):
                    parts.append(part.child("additionalProperties"))
            inner = self._inner(parts, "patternProperties")
            if inner is not None:
                patterns[name] = inner
        return patterns

    def _names(self, flat: Sequence[Part]) -> Plain:
        """Return the merged propertyNames; {} if there are none."""
        parts = [part.child("propertyNames") for part in flat if part.has("propertyNames")]
        if not parts:
            return {}
        named = self._inner([*parts, Part("(text)", {"type": "string"})], "propertyNames")
        return named or {"type": "string", "enum": []}


def _deref(plain: Plain, definitions: Plain) -> Plain:
    name = str(plain.get("$ref", "")).removeprefix("#/$defs/")
    return definitions.get(name, {}) if name else plain


def _without_default(plain: Plain) -> Plain:
    return {key: value for key, value in plain.items() if key != "default"}
