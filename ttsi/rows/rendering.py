"""Render a task for the model, as in the paper's Figures 7-9 but with our own wording.

System turn: the instruction, the tools (one line of JSON each), the form of the answer. User turn:
the query, or the dialogue so far. The part that samples share comes first, so that they also share
its KV cache.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ttsi.types import JSON, Task, Tool

ANSWER_FORMAT = (
    "Answer with a JSON list of calls and nothing else: "
    '[{"name": "tool_name", "arguments": {"parameter": "value"}}]'
)

_TOOLS = "\n\nTools:\n"


def make_task(id: str, instruction: str, tools: Iterable[Tool], input: str) -> Task:
    """Return a rendered Task. Of several tools with one name only the first is kept."""
    unique: dict[str, Tool] = {}
    for tool in tools:
        unique.setdefault(tool.name, tool)
    offered = tuple(unique.values())
    return Task(id=id, tools=offered, instruction=system_turn(instruction, offered), input=input)


def system_turn(instruction: str, tools: Sequence[Tool]) -> str:
    lines = "\n".join(tool_line(tool) for tool in tools)
    return f"{instruction}{_TOOLS}{lines}\n\n{ANSWER_FORMAT}"


def asked_natively(task: Task) -> Task:
    """Return a rendered task as one whose tools the model's chat template writes.

    A line of a tool holds no line break, so what stands before the last heading is the instruction.
    A task in another form is returned as it is: chat templates write no other answers.
    """
    if task.form != "calls" or not task.tools or _TOOLS not in task.instruction:
        return task
    return replace(task, bare=task.instruction.rpartition(_TOOLS)[0])


def tool_line(tool: Tool) -> str:
    """Return compact JSON; it saves tokens by not stating that other arguments are forbidden."""
    parameters = dict(tool.parameters)
    if parameters.get("additionalProperties") is False:
        del parameters["additionalProperties"]
    shown: Mapping[str, JSON] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters,
    }
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
