"""Calls in normal form, which is equal for calls that score alike.

A normal form consists of tagged tuples: lists keep their order, objects do not, and a boolean is
not a number. 1 and 1.0 are the same number, as in JSON's data model; a float of 2**53 or more,
which may have lost digits, equals only floats.

A reference `API_call_k` to an earlier call is replaced by that call's normal form, independent of
its position in the list. So references to equal calls are interchangeable. A reference to the call
itself, to a later one or to none remains text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import TypeAlias

from ttsi.answers.calls import Switches
from ttsi.answers.calls.marks import rewritten
from ttsi.answers.calls.normalise import EXACT_BELOW, normalised, tidy
from ttsi.answers.calls.values import ToolCall
from ttsi.digests import bytes_digest
from ttsi.parameters.fitting import ANY, Schema
from ttsi.types import JSON, Tool

_REFERENCE = re.compile(r"(?<!\w)API_call_(0|[1-9][0-9]{0,5})(?!\w)")
_FOLD = str.maketrans("'", '"', " ,./-_*^")

Key: TypeAlias = tuple[object, ...]


@dataclass(frozen=True)
class Form:
    """A call in normal form: `key` is equal for equal calls, `keys` for equal arguments.

    `branch` is the plain schema of the arguments, one of several if the tool has alternatives.
    """

    name: str
    arguments: Mapping[str, JSON]
    keys: Mapping[str, Key]
    branch: Schema = field(default_factory=dict, repr=False)

    @cached_property
    def key(self) -> str:
        whole = (self.name, *sorted(self.keys.items(), key=itemgetter(0)))
        # repr() is distinct for distinct forms and escapes what UTF-8 cannot hold.
        return bytes_digest(repr(whole).encode())


class Former:
    """Converts calls of these tools to normal form."""

    def __init__(self, tools: Sequence[Tool], switches: Switches) -> None:
        self._tools = {tool.name: tool for tool in reversed(tools)}
        self._switches = switches
        self._names = _rewritten_names(self._tools) if switches.rewritten_names else {}

    def forms(self, calls: Sequence[ToolCall]) -> list[Form]:
        """Return the forms of the calls in one list; later calls may refer to earlier ones."""
        forms: list[Form] = []
        earlier: list[str] = []
        for call in calls:
            form = self.form(call.name, call.arguments, earlier)
            forms.append(form)
            if self._switches.renumber_references:
                earlier.append(form.key)
        return forms

    def form(
        self,
        name: str,
        given: Mapping[str, JSON],
        earlier: Sequence[str] = (),
        *,
        branch: Schema | None = None,
    ) -> Form:
        """Return the form of one call; `earlier` are the keys of calls to which it may refer.

        `branch` is the alternative of the tool's schema to use, if it is known.
        """
        name = tidy(name) if self._switches.trim else name
        name = self._names.get(name, name)
        schema = self._tools[name].schema if name in self._tools else ANY
        arguments, branch = normalised(dict(given), schema, self._switches, branch)
        compared = _folded(arguments) if self._switches.fold_text else arguments
        keys = {argument: _key(value, earlier) for argument, value in compared.items()}
        return Form(name, arguments, keys, branch)


def refers_back(value: JSON, earlier: int) -> bool:
    """Whether a value is a reference to one of so many earlier calls."""
    found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return found is not None and int(found[1]) < earlier


def _rewritten_names(tools: Collection[str]) -> dict[str, str]:
    """Map rewritten names to their tools, without names that are tools or mean two tools."""
    known: dict[str, list[str]] = {}
    for name in tools:
        known.setdefault(rewritten(name), []).append(name)
    return {
        written: names[0]
        for written, names in known.items()
        if len(names) == 1 and written not in tools
    }


def _folded(value: JSON) -> JSON:
    """Return the value with its strings as `fold_text` compares them; object keys stay."""
    if isinstance(value, str):
        return value.translate(_FOLD).lower()
    if isinstance(value, dict):
        return {name: _folded(item) for name, item in value.items()}
    return [_folded(item) for item in value] if isinstance(value, list | tuple) else value


def _key(value: JSON, earlier: Sequence[str]) -> Key:
    """Return a value as tagged tuples, equal for equal values; `earlier` as in `form`."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, float):
        if not abs(value) < EXACT_BELOW:
            return ("float", value)
        return ("number", int(value) if value.is_integer() else value)
    if isinstance(value, int):
        return ("number", value)
    if isinstance(value, str):
        return _text_key(value, earlier)
    if isinstance(value, dict):
        items = [(name, _key(item, earlier)) for name, item in value.items()]
        return ("object", *sorted(items, key=itemgetter(0)))
    if isinstance(value, list | tuple):
        return ("list", *(_key(item, earlier) for item in value))
    if value is None:
        return ("null",)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _text_key(text: str, earlier: Sequence[str]) -> Key:
    parts: list[object] = ["text"]
    end = 0
    for found in _REFERENCE.finditer(text) if earlier else ():
        if int(found[1]) < len(earlier):
            parts += [text[end : found.start()], ("call", earlier[int(found[1])])]
            end = found.end()
    return (*parts, text[end:])
