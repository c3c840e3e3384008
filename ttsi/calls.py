"""Tool calls as text: written for training, opened for scoring, constrained in decoding.

A small model keeps the wrapper it knows. So besides the plain `<tool_call>` wrapper a call can be
written in the wrapper in which the model answered unadapted (`Wrapper.of`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from ttsi.scoring.parse import parse_calls
from ttsi.types import JSON, Tool, ToolCall


def call_json(call: ToolCall) -> str:
    return json.dumps(call.as_json(), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Wrapper:
    """What stands around the JSON of calls: `before` + a list (or one bare object) + `after`."""

    before: str
    after: str
    listed: bool

    @classmethod
    def of(cls, answer: str) -> Self | None:
        """The wrapper of an answer whose calls are one JSON object or one list of them.

        None where there were none, several blocks, or calls in another notation. Thoughts are not
        part of it.
        """
        parsed = parse_calls(answer)
        if not parsed.calls or parsed.span is None or not parsed.plain:
            return None
        start, end = parsed.span
        listed = answer[start] == "["
        # What follows the calls may be prose about this very task: only a closing mark is kept.
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
        if self.listed:
            return self.before + "[" + ", ".join(bodies) + "]" + self.after
        return "\n".join(self.before + body + self.after for body in bodies)

    @property
    def opening(self) -> str:
        """The text up to the first call's name: where candidates are scored."""
        return self.before + ("[" if self.listed else "") + '{"name": "'


TOOL_CALL = Wrapper("<tool_call>\n", "\n</tool_call>", listed=False)


def calls_schema(
    tools: Sequence[Tool], *, least: int = 1, most: int | None = None
) -> dict[str, JSON]:
    """JSON Schema of a list of calls that are valid for `tools`."""
    choices = [
        {
            "type": "object",
            "properties": {"name": {"const": tool.name}, "arguments": _closed(tool.parameters)},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    schema: dict[str, Any] = {"type": "array", "items": {"anyOf": choices}, "minItems": least}
    if most is not None:
        schema["maxItems"] = most
    return schema


def _closed(parameters: Any) -> dict[str, JSON]:
    """The parameters' schema without prose, allowing no other argument."""
    properties = {name: _bare(schema) for name, schema in parameters.get("properties", {}).items()}
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in parameters.get("required", []) if name in properties],
        "additionalProperties": False,
    }


_PROSE = {"description", "title", "examples", "default", "$comment"}


def _bare(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    bare: dict[str, Any] = {key: value for key, value in schema.items() if key not in _PROSE}
    if isinstance(bare.get("properties"), dict):
        bare["properties"] = {name: _bare(sub) for name, sub in bare["properties"].items()}
    if isinstance(bare.get("items"), dict):
        bare["items"] = _bare(bare["items"])
    return bare
