"""Plugins that are each wrong in one way: the check for that fault finds it, and no other does.

`WRONG` says which check finds it, of which kind, and what its message must contain. The modules
wrong_* fill it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ttsi.protocols import Engine
from ttsi.types import Estimate, Prompt, Task


class Wrong(NamedTuple):
    check: str
    kind: str
    plugin: type
    message: str
    also: tuple[str, ...] = ()


WRONG: list[Wrong] = []


def fails(
    check: str, message: str, kind: str = "estimators", also: tuple[str, ...] = ()
) -> Callable[[type], type]:
    """Mark the class below as failing only this check of its kind, with this message (a regex).

    `also`: other checks that the same fault breaks.
    """

    def listed(plugin: type) -> type:
        WRONG.append(Wrong(check, kind, plugin, message, also))
        return plugin

    return listed


class Sound:
    """An estimator that keeps its contract: confidence is the likelihood of the first tool."""

    needs: Any = frozenset({"loglikelihood"})

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> Any:
        names = [task.tool_names[:1] for task in tasks]
        scored = engine.loglikelihoods([Prompt(task.messages) for task in tasks], names)
        return [self.judge(task, some[0].logprob) for task, some in zip(tasks, scored, strict=True)]

    def judge(self, task: Task, logprob: float) -> Estimate:
        confidence = math.exp(logprob)
        return Estimate(confidence, confidence < 0.5, {task.tool_names[0]: logprob})
