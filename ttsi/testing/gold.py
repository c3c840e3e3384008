"""Whether a task leads to its reference, which no stage may see."""

from __future__ import annotations

import gc
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from ttsi.answers.calls.values import ToolCall
from ttsi.types import Answer, Sample, Task

_MOST_OBJECTS = 10_000


def reaches(task: Task, reference: Answer, *hidden: object) -> bool:
    """Return whether the reference, its parts, or one of `hidden` can be reached from the task."""
    own = {id(reference), *map(id, _reachable(reference.value))}
    secret = set(map(id, hidden))
    return any(
        isinstance(found, Sample | Answer | ToolCall)
        or id(found) in secret
        or (isinstance(found, dict | list) and found and id(found) in own)
        for found in _reachable(task)
    )


def _reachable(start: Any) -> list[Any]:
    """Return the objects reachable from `start`, except through classes, modules and functions."""
    beyond = (type, ModuleType, FunctionType, BuiltinFunctionType)
    seen: dict[int, Any] = {}
    waiting: list[Any] = [start]
    while waiting and len(seen) < _MOST_OBJECTS:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, beyond):
            continue
        seen[id(each)] = each
        waiting += gc.get_referents(each)
    return list(seen.values())
