"""JSON values as calls.

A call is an object with exactly one of the keys name, tool, api, function, tool_name: a string that
is not blank or, for function, an object with name and arguments, as in OpenAI's notation. It has at
most one of arguments, parameters, args: an object, also as a JSON string; null, a blank string or a
missing key mean no arguments. Other keys are ignored if there are arguments. If there are none,
only `id`, `type` and `index` are ignored, so that {"name": "f", "city": "Oslo"} is not read as f().

Calls are also {"f": {...}}, where `f` is an offered tool, and {"tool_calls": [...]}.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import chain

from ttsi.answers.calls.values import ToolCall
from ttsi.answers.literals import Reader
from ttsi.types import JSON

NAME_KEYS = ("name", "tool", "api", "function", "tool_name")
ARGUMENT_KEYS = ("arguments", "parameters", "args")
CALL_KEYS = frozenset({*NAME_KEYS, *ARGUMENT_KEYS})
_BOOKKEEPING = frozenset({"id", "type", "index"})
_LISTED = "tool_calls"
_NAMESPACE = re.compile(r"(?:functions|tools|default_api)\.")


class Shapes:
    """Reads values as calls of the offered tools `names`, or of any tool if `names` is empty.

    `visited` counts the characters read in arguments that are JSON strings.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.names = names
        self.visited = 0

    def offered(self, name: str) -> str:
        """Return the name without a namespace that models put before it, if it is offered without.

        Llama appends `.call`, which is removed as well.
        """
        bare = _NAMESPACE.sub("", name, count=1) if _NAMESPACE.match(name) else name
        if bare not in self.names and bare.removesuffix(".call") in self.names:
            return bare.removesuffix(".call")
        known = bare in self.names or not self.names
        return bare if name not in self.names and known else name

    def is_offered(self, name: str) -> bool:
        return self.offered(name) in self.names

    def calls(self, value: JSON) -> tuple[ToolCall, ...] | None:
        """Return the calls in a value: one call or a list of them. None if it is neither."""
        items = value if isinstance(value, list) else [value]
        calls = [self._calls(item) for item in items]
        return None if None in calls else tuple(chain.from_iterable(some for some in calls if some))

    def attempts(self, value: JSON) -> bool:
        """Whether a value that is not a call was meant as one."""
        layer = [value]
        while layer:
            if any(self._is_attempt(item) for item in layer):
                return True
            holders = (item.values() if isinstance(item, dict) else item for item in layer)
            layer = [item for item in chain.from_iterable(holders) if isinstance(item, dict | list)]
        return False

    def arguments(self, value: JSON) -> dict[str, JSON] | None:
        """Return the arguments in a value; None if it cannot be read as arguments."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return {}
        if isinstance(value, str):
            inner = Reader(value)
            read = inner.read_all()
            self.visited += inner.visited
            value = read.value if read else None
        return value if isinstance(value, dict) else None

    def _is_attempt(self, item: JSON) -> bool:
        if isinstance(item, list):
            # A name with its arguments: ["f", {}]
            name, given = item[:2] if len(item) > 1 else (None, None)
            return isinstance(name, str) and isinstance(given, dict) and self._names(name)
        if not isinstance(item, dict):
            return False
        named = [key for key in NAME_KEYS if key in item]
        if named and (not self.names or item.keys() <= {*named, *_BOOKKEEPING}):
            return True
        if named and any(key in item for key in ARGUMENT_KEYS):
            return True
        listed = item.get(_LISTED)
        values = (*item.values(), *(listed if isinstance(listed, list) else ()))
        words = (value for value in values if isinstance(value, str))
        return any(self._names(name) for name in (*item, *words))

    def _names(self, text: str) -> bool:
        """Whether the text is the name of an offered tool."""
        return self.is_offered(text.strip())

    def _calls(self, item: JSON) -> list[ToolCall] | None:
        if not isinstance(item, dict):
            return None
        call = self._call(item)
        if call is not None:
            return [call]
        if isinstance(item.get(_LISTED), list) and CALL_KEYS.isdisjoint(item):
            calls = [self._call(each) for each in item[_LISTED] if isinstance(each, dict)]
            known = [call for call in calls if call is not None]
            return known if len(known) == len(item[_LISTED]) else None
        if item and all(map(self.is_offered, item)):
            read = {name: self.arguments(value) for name, value in item.items()}
            known = [
                ToolCall(self.offered(name), given)
                for name, given in read.items()
                if given is not None
            ]
            return known if len(known) == len(read) else None
        return None

    def _call(self, item: dict[str, JSON]) -> ToolCall | None:
        names = [key for key in NAME_KEYS if key in item]
        given = [key for key in ARGUMENT_KEYS if key in item]
        if len(names) != 1 or len(given) > 1:
            return None
        name = item[names[0]]
        if isinstance(name, dict) and names == ["function"] and not given and "name" in name:
            return self._call(name)
        if not isinstance(name, str) or not name.strip():
            return None
        if not given and not item.keys() <= {*names, *_BOOKKEEPING}:
            return None
        arguments = self.arguments(item[given[0]]) if given else {}
        if arguments is None:
            return None
        # If the offered tools are unknown, `functions.` may be part of the tool's own name.
        return ToolCall(self.offered(name) if self.names else name, arguments)


def deeper_than(levels: int, value: JSON) -> bool:
    """Whether containers nest deeper than `levels`; without recursion."""
    layer = [value]
    for _ in range(levels):
        holders = [item.values() if isinstance(item, dict) else item for item in _holders(layer)]
        layer = [item for holder in holders for item in holder]
    return bool(_holders(layer))


def _holders(values: list[JSON]) -> list[JSON]:
    return [value for value in values if isinstance(value, dict | list)]
