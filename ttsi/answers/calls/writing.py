"""Write tool calls as text: for training, for scoring candidates, and for constrained decoding.

A small model answers best in the wrapper that it knows. So besides the plain `<tool_call>` wrapper,
a call can be written in the wrapper of the model's unadapted answer (`Wrapper.of`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Self

from ttsi.answers.calls.parse import parse_calls
from ttsi.answers.calls.values import ToolCall
from ttsi.parameters.embedding import embedded
from ttsi.types import JSON, Tool


def call_json(call: ToolCall) -> str:
    return json.dumps(call.as_json(), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Wrapper:
    """The text around the JSON of calls: `before` + a list (or one bare object) + `after`."""

    before: str
    after: str
    listed: bool

    @classmethod
    def of(cls, answer: str, tools: Iterable[str]) -> Self | None:
        """Return the wrapper of an answer whose calls are one JSON object or one list of them.

        `tools` are the names of the offered tools; no call becomes part of the wrapper. None if
        there are no calls, several blocks, or another notation. Thoughts are not part of the
        wrapper.
        """
        parsed = parse_calls(answer, tools)
        if not parsed.calls or parsed.span is None or not parsed.plain:
            return None
        start, end = parsed.span
        listed = answer[start] == "["
        # The text after the calls may be prose about this task, so only a closing mark is kept.
        after = answer[end:].lstrip("\n").split("\n", 1)[0]
        closing = answer[end : answer.find(after, end) + len(after)] if after else ""
        before = answer[parsed.answer : start]
        return cls(
            before.lstrip() if parsed.answer else before,
            closing if len(after) <= 16 else "",
            listed,
        )

    def write(self, calls: Sequence[ToolCall]) -> str:
        bodies = [call_json(call) for call in calls]
        if not calls and not self.listed:
            return "[]"
        if self.listed:
            return self.before + "[" + ", ".join(bodies) + "]" + self.after
        return "\n".join(self.before + body + self.after for body in bodies)

    def starts(self, calls: Sequence[ToolCall]) -> list[int]:
        """Return where each call's JSON begins in what `write` gives."""
        begin = len(self.before) + self.listed
        between = 2 if self.listed else len(self.after) + 1 + len(self.before)
        lengths = [len(call_json(call)) + between for call in calls[:-1]]
        return list(accumulate(lengths, initial=begin)) if calls else []

    @property
    def opening(self) -> str:
        """The text up to the first call's name, where candidates are scored."""
        return self.before + ("[" if self.listed else "") + '{"name": "'


TOOL_CALL = Wrapper("<tool_call>\n", "\n</tool_call>", listed=False)


def calls_schema(
    tools: Sequence[Tool], *, least: int = 1, most: int | None = None
) -> dict[str, JSON]:
    """Return a JSON Schema of lists of calls that are valid for `tools`, in plain form.

    Recursive arguments add `$defs`, which belong at the root of a document.
    """
    definitions: dict[str, Any] = {}
    choices = []
    for place, tool in enumerate(tools):
        arguments, own = embedded(tool.schema, f"{place}.")
        definitions |= own
        properties = {"name": {"type": "string", "enum": [tool.name]}, "arguments": arguments}
        choices.append(
            {
                "type": "object",
                "properties": properties,
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    schema: dict[str, Any] = {"type": "array", "items": {"anyOf": choices}, "minItems": least}
    if most is not None:
        schema["maxItems"] = most
    return {**schema, "$defs": definitions} if definitions else schema
