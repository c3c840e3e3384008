"""Calls in files of predictions: as texts, lists, and messages of OpenAI's API."""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.answers.calls.parse import calls_of, parse_calls
from ttsi.answers.calls.values import answer_with, calls_in
from ttsi.answers.form import content_of
from ttsi.answers.json_lines import is_sound
from ttsi.types import JSON, UNPARSABLE, Answer, AnswerStatus


def of_text(text: str, tools: Sequence[str]) -> Answer:
    """Parse the calls that a model wrote."""
    parsed = parse_calls(text, tools)
    return answer_with(parsed.calls) if parsed.status is AnswerStatus.OK else Answer(parsed.status)


def of_calls(given: JSON, tools: Sequence[str]) -> Answer:
    """Read a list of calls; an empty list means no call."""
    calls = calls_of(given, tools) if isinstance(given, list) and is_sound(given) else None
    return UNPARSABLE if calls is None else answer_with(calls)


def of_message(message: JSON, tools: Sequence[str]) -> Answer:
    """Read a message's calls and those in its content; without either it is unparsable."""
    if not isinstance(message, dict):
        return UNPARSABLE
    said, listed = content_of(message), message.get("tool_calls")
    if message.get("function_call") is not None:
        if listed:
            return UNPARSABLE
        listed = [message["function_call"]]
    if said is None and listed:
        said = ""
    if not isinstance(said, str):
        return UNPARSABLE
    read = of_text(said, tools)
    if not listed:
        return read
    calls = of_calls(listed, tools)
    if AnswerStatus.UNPARSABLE in (calls.status, read.status):
        return UNPARSABLE
    return answer_with((*calls_in(read), *calls_in(calls)))
