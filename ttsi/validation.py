"""Is a call valid for the tools on offer?"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.types import Tool, ToolCall


def argument_faults(tools: Sequence[Tool], call: ToolCall) -> list[str]:
    """What is wrong with `call`: a tool not offered, an argument unknown, missing or ill-typed."""
    from jsonschema import Draft202012Validator

    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        return [f"{call.name!r} is not an offered tool"]
    checker = Draft202012Validator(dict(tool.schema))
    return [error.message for error in checker.iter_errors(dict(call.arguments))]
