"""Is a call valid for the tools on offer, and are these tools that calls can be held to?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ttsi.types import Sample, Tool, ToolCall


def argument_faults(tools: Sequence[Tool], call: ToolCall) -> list[str]:
    """What is wrong with `call`: a tool not offered, an argument unknown, missing or ill-typed."""
    from jsonschema import Draft202012Validator

    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        return [f"{call.name!r} is not an offered tool"]
    checker = Draft202012Validator(dict(tool.schema))
    return [error.message for error in checker.iter_errors(dict(call.arguments))]


def with_sound_tools(samples: Iterable[Sample]) -> list[Sample]:
    """The samples, once it is sure that all their tools' parameters can be used.

    Raises PluginError for the first that cannot.
    """
    checked = list(samples)
    for tool in {id(tool): tool for sample in checked for tool in sample.task.tools}.values():
        _ = tool.schema
    return checked
