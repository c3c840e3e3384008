"""How a training output is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from ttsi.answers.calls.writing import TOOL_CALL, Wrapper
from ttsi.types import Completion, ToolCall

Target: TypeAlias = Literal["tool_call", "as_answered", "list"]

TARGET_HELP = (
    "How the training output is written: in <tool_call> tags as the paper, or in the wrapper in "
    "which the model answered this task unadapted."
)
LIST = Wrapper("", "", listed=True)


def write_target(
    target: Target,
    calls: Sequence[ToolCall],
    base: Completion | None,
    tools: Iterable[str] = (),
) -> str:
    """The output that is trained on. `tools`: the names of those on offer when `base` was made."""
    if target == "list":
        return LIST.write(calls)
    wrapper = TOOL_CALL
    if target == "as_answered" and base is not None:
        wrapper = Wrapper.of(base.text, tools) or TOOL_CALL
    return wrapper.write(calls)
