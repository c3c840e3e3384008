"""How a training output is written."""

from __future__ import annotations

from typing import Literal, TypeAlias

from ttsi import Answer, Completion, Task, form_of

Target: TypeAlias = Literal["tool_call", "as_answered", "list"]

TARGET_HELP = (
    "How the training output is written: in the form's own wrapper, of calls the <tool_call> tags "
    "of the paper, or in the wrapper in which the model answered this task unadapted."
)
LIST = '[{"name": "f", "arguments": {}}]'
"""An answer whose wrapper is a bare JSON list."""


def write_target(target: Target, task: Task, answer: Answer, base: Completion | None) -> str:
    """Return the output to train on; `base` is the model's answer to `task`."""
    if target == "list":
        return form_of(task).write(task, answer, LIST)
    like = base.text if target == "as_answered" and base is not None else None
    return form_of(task).write(task, answer, like)
