"""The messages and tools of a request: what clients send, made into what rows of a file hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ttsi.errors import TtsiError
from ttsi.rows.messages import Conversation, conversation, text_of
from ttsi.rows.tools import Toolbox
from ttsi.serving.refusals import Refusal, bad
from ttsi.serving.served import Limits
from ttsi.types import Tool

_KEPT = ("role", "content", "tool_calls", "tool_call_id", "name")
_SYSTEM = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Heard:
    """A conversation, and its messages in the form that rows of the benchmark `file` have."""

    conversation: Conversation
    messages: tuple[Mapping[str, Any], ...]


def heard(given: Any, limits: Limits) -> Heard:
    """Read `messages`. Raises Refusal.

    System messages may stand anywhere, and are joined; an assistant's turn without a word is left
    out, as are keys that say nothing to a model of texts.
    """
    if not isinstance(given, list) or not given:
        raise bad("messages", "messages is a list of at least one message.")
    if len(given) > limits.messages:
        raise bad("messages", f"messages are {limits.messages} at most.")
    try:
        messages = _in_order([_cleaned(each, at) for at, each in enumerate(given)])
        return Heard(conversation(messages, "messages"), tuple(messages))
    except TtsiError as error:
        raise refused(error, "messages") from None


def offered(given: Any, limits: Limits) -> tuple[Tool, ...]:
    """Read `tools`, with parameters that scoring and the grammar can use. Raises Refusal."""
    if given is None:
        return ()
    if not isinstance(given, list):
        raise bad("tools", "tools is a list.")
    if len(given) > limits.tools:
        raise bad("tools", f"tools are {limits.tools} at most.")
    check_size(given, limits, "tools")
    try:
        tools = Toolbox().tools([_tool(each) for each in given], "tools")
    except TtsiError as error:
        raise refused(error, "tools") from None
    check_size([tool.schema for tool in tools], limits, "tools")
    if any(len(tool.name) > limits.tool_name for tool in tools):
        raise bad("tools", f"A tool's name has {limits.tool_name} characters at most.")
    return tools


def check_size(given: Any, limits: Limits, param: str) -> None:
    """Raise Refusal for schemas and answers that would take too long to check."""
    if len(json.dumps(given)) > limits.schema_bytes:
        most = f"{limits.schema_bytes} characters of JSON at most, with references spelt out"
        raise bad(param, f"{param} take {most}.")


def refused(error: TtsiError, param: str) -> Refusal:
    """Return the refusal that says what an error of reading says."""
    place = error.where.removeprefix(param).lstrip(", ")
    told = f"{place}: {error.what}" if place else error.what
    return bad(param, f"{told} {error.cure}".strip())


def _cleaned(message: Any, at: int) -> dict[str, Any]:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise bad("messages", f"message {at + 1} is no object with a role.")
    kept = {key: value for key in _KEPT if (value := message.get(key)) is not None}
    calls = kept.get("tool_calls")
    if isinstance(calls, list):
        kept["tool_calls"] = [_call(each) for each in calls]
    return kept


def _call(given: Any) -> Any:
    """Return a call with the keys that say what is called."""
    if not isinstance(given, dict) or not isinstance(given.get("function"), dict):
        return given
    function = {key: given["function"].get(key) for key in ("name", "arguments")}
    return {key: given[key] for key in ("id", "type") if key in given} | {"function": function}


def _tool(given: Any) -> Any:
    """Return a tool with the keys that describe it."""
    if not isinstance(given, dict) or not isinstance(given.get("function"), dict):
        return given
    about = {key: given["function"].get(key) for key in ("name", "description", "parameters")}
    return {"type": given.get("type", "function"), "function": about}


def _in_order(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages with one system message at most, at the beginning."""
    told, others = [], []
    for at, message in enumerate(messages, start=1):
        if message["role"] in _SYSTEM:
            told.append(text_of(message.get("content"), f"messages, message {at}").strip())
        elif message["role"] != "assistant" or message.get("tool_calls") or _says(message):
            others.append(message)
    system = "\n\n".join(filter(None, told))
    return [{"role": "system", "content": system}, *others] if system else others


def _says(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    if isinstance(content, str):
        return bool(content.strip())
    return content is not None and content != []
