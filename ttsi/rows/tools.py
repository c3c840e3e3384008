"""The tools that a row offers, or that a file's rows share."""

from __future__ import annotations

import json

from ttsi.errors import PluginError, UsageError
from ttsi.rows.keys import filled, keyed
from ttsi.types import JSON, Tool

SHAPE = '{"name": "...", "description": "...", "parameters": {a JSON Schema}}'
_KEYS = ("name", "description", "parameters", "strict")


class Toolbox:
    """Reads lists of tools. Equal tools are one object, so that parameters are checked once."""

    def __init__(self) -> None:
        self._known: dict[str, Tool] = {}

    def tools(self, given: JSON, where: str) -> tuple[Tool, ...]:
        """Read a list of tools. Raises UsageError, or PluginError for unusable parameters."""
        if not isinstance(given, list):
            what = '"tools" is no list.'
            raise UsageError(what, where=where, cure=f"Write a list of tools: [{SHAPE}]")
        tools = tuple(self._tool(each, where) for each in given)
        names: set[str] = set()
        for tool in tools:
            if tool.name in names:
                what = f"The tool {tool.name!r} is offered twice."
                cure = "Keep one of the two, or rename one: a call could mean either."
                raise UsageError(what, where=where, cure=cure)
            names.add(tool.name)
        return tools

    def _tool(self, given: JSON, where: str) -> Tool:
        text = json.dumps(given, sort_keys=True)
        if text not in self._known:
            self._known[text] = _usable(_tool(given, where), where)
        return self._known[text]


def _tool(given: JSON, where: str) -> Tool:
    if isinstance(given, dict) and "function" in given:
        outer = keyed(given, ("type", "function"), "A tool", where)
        given = outer["function"]
        if outer.get("type", "function") != "function":
            what = f"A tool has the type {outer['type']!r:.80}."
            raise UsageError(what, where=where, cure='Only tools of the type "function" are known.')
    tool = keyed(given, _KEYS, "A tool", where)
    name = filled(tool.get("name"), "A tool's name", where)
    description, parameters = tool.get("description"), tool.get("parameters")
    description = "" if description is None else description
    parameters = {} if parameters is None else parameters
    if not isinstance(description, str) or not isinstance(parameters, dict):
        what = f"The tool {name!r} has a description that is no text, or parameters that are none."
        raise UsageError(what, where=where, cure=f"Write {SHAPE}")
    return Tool(name, description, parameters or {"type": "object", "properties": {}})


def _usable(tool: Tool, where: str) -> Tool:
    try:
        _ = tool.schema
    except PluginError as error:
        place = f"{where}, {error.where}"
        raise PluginError(error.what, where=place, cure=error.cure) from error
    return tool
