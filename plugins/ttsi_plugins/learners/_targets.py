"""How a training output is written."""

from __future__ import annotations

from typing import Literal, TypeAlias

from ttsi import Answer, AnswerStatus, Completion, Engine, Task, form_of, written_calls

Target: TypeAlias = Literal["tool_call", "as_answered", "list"]

TARGET_HELP = (
    "How the training output is written: in the form's own wrapper, of calls the <tool_call> tags "
    "of the paper, or natively as the model's chat template writes them; or in the wrapper in "
    "which the model answered this task unadapted."
)
LIST = '[{"name": "f", "arguments": {}}]'
"""An answer whose wrapper is a bare JSON list."""


def write_target(
    target: Target, task: Task, answer: Answer, base: Completion | None, engine: Engine
) -> str:
    """Return the output to train on; `base` is the model's answer to `task`."""
    form = form_of(task)
    if target == "list":
        return form.write(task, answer, LIST)
    if target == "as_answered" and base is not None:
        return form.write(task, answer, base.text)
    if task.bare is not None and answer.status is AnswerStatus.OK and answer.value:
        return written_calls(engine, task.prompt(), answer.value)
    return form.write(task, answer)
