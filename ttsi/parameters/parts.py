"""Subschemas located in their document, and the choices among them; used by plain.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any, TypeAlias

from ttsi._common.pointers import pointer, unescaped
from ttsi.parameters.keywords import are_names
from ttsi.parameters.merging import SchemaFault, constrains, matches


@dataclass(frozen=True, slots=True)
class Part:
    """A subschema and its place in the document; the keywords in `without` are already handled."""

    pointer: str
    node: Any = field(compare=False)
    without: frozenset[str] = frozenset()

    def has(self, keyword: str) -> bool:
        return keyword in self.node and keyword not in self.without

    def less(self, keyword: str) -> Part:
        return replace(self, without=self.without | {keyword})

    def child(self, *steps: str | int) -> Part:
        node = self.node
        for step in steps:
            node = node[step]
        return Part(self.pointer + pointer(*steps), node)


NULL = Part("(null)", {"type": "null"})
Parts: TypeAlias = tuple[Part, ...]


def _lacking(name: str) -> Part:
    """Return a part that forbids this property."""
    return Part(f"(without {name})", {"properties": {name: False}})


@dataclass(frozen=True, slots=True)
class Choice:
    """Alternatives that replace a part; with `exclusive`, exactly one of them holds."""

    part: Part
    keyword: str
    branches: list[Parts]
    exclusive: bool = False


def choice_of(part: Part) -> Choice | None:
    """Return the first choice among alternatives in a part, or None."""
    if part.has("nullable") and part.node["nullable"]:
        return Choice(part, "nullable", [(part.less("nullable"),), (NULL,)])
    for keyword in ("anyOf", "oneOf"):
        if not part.has(keyword):
            continue
        rest = part.less(keyword)
        branches = [part.child(keyword, at) for at in range(len(part.node[keyword]))]
        needed = [_required_alone(branch.node) for branch in branches]
        if keyword == "oneOf" and all(needed):
            return Choice(part, keyword, [(rest, *each) for each in _one_of_required(branches)])
        whole: list[Parts] = [(rest, branch) for branch in branches]
        return Choice(part, keyword, whole, exclusive=keyword == "oneOf")
    return None


def _required_alone(node: Any) -> bool:
    """Whether a branch only requires properties and restricts nothing else."""
    required = node.get("required") if isinstance(node, Mapping) else None
    return bool(required) and are_names(required) and not constrains(node, but="required")


def _one_of_required(branches: Sequence[Part]) -> list[Parts]:
    """Return the branches of a oneOf of required properties as branches that exclude each other.

    Each lacks, for every other branch, one property that the other requires.
    """
    found: list[Parts] = []
    for branch in branches:
        own = set(branch.node["required"])
        others = [set(each.node["required"]) - own for each in branches if each is not branch]
        for names in product(*map(sorted, others)):
            lacking = (branch, *map(_lacking, dict.fromkeys(names)))
            if lacking not in found:
                found.append(lacking)
    return found


def named(part: Part, name: str) -> Iterator[Part]:
    """Yield the subschemas that a part has for this property, by its name and by patterns."""
    if part.has("properties") and name in part.node["properties"]:
        yield part.child("properties", name)
    if part.has("patternProperties"):
        for pattern in part.node["patternProperties"]:
            if matches(pattern, name, part.pointer):
                yield part.child("patternProperties", pattern)


def is_named(flat: Sequence[Part], name: str) -> bool:
    return any(True for part in flat for _ in named(part, name))


def item_of(part: Part, at: int) -> Iterator[Part]:
    """Yield the subschema that a part has for the item at this index."""
    if part.has("prefixItems") and at < len(part.node["prefixItems"]):
        yield part.child("prefixItems", at)
    elif part.has("items"):
        yield part.child("items")


def target_of(part: Part, document: Mapping[str, Any]) -> Part:
    """Return the part that `$ref` refers to. Raises SchemaFault."""
    fault = partial(SchemaFault, part.pointer, "$ref")
    reference = part.node["$ref"]
    if reference != "#" and not reference.startswith("#/"):
        raise fault(f"{reference!r} leads out of the schema", "Put what it refers to under $defs.")
    target = Part("#", document)
    for step in reference.split("/")[1:]:
        name: str | int = _unescaped(step)
        if isinstance(target.node, list | tuple) and str(name).isdecimal():
            name = int(name)
        try:
            target = target.child(name)
        except (LookupError, TypeError):
            raise fault(f"{reference!r} leads nowhere", "Mend the reference.") from None
    return target


def _unescaped(step: str) -> str:
    from urllib.parse import unquote

    return unescaped(unquote(step))
