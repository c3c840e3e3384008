"""Render a task for the model, as in the paper's Figures 7-9 but with our own wording.

System turn: the instruction, the tools (one line of JSON each), the form of the answer, or what the
user's own template makes of these. User turn: the query, or the dialogue so far. The part that
samples share comes first, so that they also share its KV cache.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, TypeAlias

from ttsi._common.places import check_places, filled
from ttsi.digests import draw_seed
from ttsi.types import JSON, Task, Tool

ANSWER_FORMAT = (
    "Answer with a JSON list of calls and nothing else: "
    '[{"name": "tool_name", "arguments": {"parameter": "value"}}]'
)

CALLS_OR_WORDS = (
    "To call tools, answer with a JSON list of calls and nothing else. Each call is an object with "
    'two keys: "name", the name of a tool, and "arguments", an object whose keys are the names '
    "that the tool's own parameters have."
)
"""How to write calls where an answer may be a text. It shows no call to be copied."""

_TOOLS = "\n\nTools:\n"
_LISTED = f"{{instruction}}{_TOOLS}{{tools}}"
PLACES = ("instruction", "tools", "format")
TEMPLATE = f"{_LISTED}\n\n{{format}}"
"""The system turn of a task that is answered by calling tools."""

Writer: TypeAlias = Literal["paper", "native"]
"""Who writes the tools into the prompt: ttsi into the instruction, or the model's template."""

Order: TypeAlias = Literal["given", "shuffled"]
"""In which order tools are offered: the data's, or one that tells nothing of the answer."""


def make_task(id: str, instruction: str, tools: Iterable[Tool], input: str) -> Task:
    """Return a rendered Task. Of several tools with one name only the first is kept."""
    unique: dict[str, Tool] = {}
    for tool in tools:
        unique.setdefault(tool.name, tool)
    offered = tuple(unique.values())
    return Task(id=id, tools=offered, instruction=system_turn(instruction, offered), input=input)


def system_turn(
    instruction: str, tools: Sequence[Tool], form: str = "calls", how: str = ANSWER_FORMAT
) -> str:
    """Return the instruction, the tools, and in the form `calls` `how` to write an answer."""
    template = TEMPLATE if form == "calls" else _LISTED
    return filled(template, {"instruction": instruction, **_of_tools(tools, form, how)})


def _of_tools(tools: Sequence[Tool], form: str, how: str = ANSWER_FORMAT) -> dict[str, str]:
    told = {"tools": "\n".join(map(tool_line, tools))}
    return told | {"format": how} if form == "calls" else told


@dataclass(frozen=True)
class Wording:
    """How a benchmark's tasks are worded: by whom, in whose words, and in which order of tools.

    `instruction` is a template of the system turn, with the places {instruction} (the benchmark's
    own), {tools} and, of tasks that are answered by calls, {format} (how to write them). A template
    to which the model's own chat template adds tools, or of a task without any, has the first only.
    """

    prompt: Writer = "paper"
    instruction: str | None = None
    tool_order: Order = "given"

    def template(self, task: Task) -> str:
        """Return the template of the system turn of `task`, in ttsi's words if there are no own."""
        if self.instruction is not None:
            return self.instruction
        if not self._lists_tools(task):
            return "{instruction}"
        return TEMPLATE if task.form == "calls" else _LISTED

    def of(self, task: Task) -> Task:
        """Return a rendered task in this wording. Raises UsageError if it does not fit."""
        task = shuffled(task) if self.tool_order == "shuffled" else task
        own = _own_words(task)
        lists = self._lists_tools(task)
        if self.instruction is None:
            return replace(task, bare=own) if task.tools and not lists else task
        places = {"instruction": own, **(_of_tools(task.tools, task.form) if lists else {})}
        why = "the model's chat template writes it" if task.tools else "the task has no tools"
        if lists:
            why = "the task is not answered by calls"
        check_places(
            self.instruction,
            "benchmark.instruction",
            PLACES,
            needed=("tools",) if lists else (),
            unknown={name: why for name in ("tools", "format") if name not in places},
        )
        turn = filled(self.instruction, places)
        if task.tools and not lists:
            return replace(task, bare=turn, instruction=system_turn(turn, task.tools))
        return replace(task, instruction=turn)

    def _lists_tools(self, task: Task) -> bool:
        native = self.prompt == "native" and task.form == "calls"
        return bool(task.tools) and not native


def shuffled(task: Task) -> Task:
    """Return a rendered task with its tools in an order that is a function of their names alone.

    So tasks that offer the same tools still share the beginning of their prompts.
    """
    tools = sorted(task.tools, key=lambda tool: tool.name)
    Random(draw_seed(0, "\n".join(tool.name for tool in tools), "tool order")).shuffle(tools)
    turn = system_turn(_own_words(task), tools, task.form) if tools else task.instruction
    return replace(task, tools=tuple(tools), instruction=turn)


def _own_words(task: Task) -> str:
    """Return the instruction of a rendered task without what ttsi has added.

    A line of a tool holds no line break, so what stands before the last heading is the instruction.
    """
    return task.instruction.rpartition(_TOOLS)[0] if task.tools else task.instruction


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
