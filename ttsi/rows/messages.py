"""Convert a conversation in OpenAI's notation to turns that every chat template can render.

Calls are written as text in the assistant's turn. Consecutive turns of the user or the assistant
are joined, since some templates refuse them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from ttsi.answers.calls.writing import TOOL_CALL
from ttsi.errors import UsageError
from ttsi.rows.calls import calls_of
from ttsi.rows.keys import filled, keyed
from ttsi.types import JSON, Message, Role

ROLES = ("system", "developer", "user", "assistant", "tool")
_KEYS = ("role", "content", "tool_calls", "tool_call_id", "name")
_EMPTY = ("refusal", "annotations", "audio", "function_call", "reasoning_content")
"""Other keys of OpenAI messages; they are ignored if empty."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation that waits for an answer.

    `said` is what the user said last. `turns` are the turns after the system turn; empty if there
    is only one user turn.
    """

    system: str | None
    said: str
    turns: tuple[Message, ...]


def conversation(given: JSON, where: str) -> Conversation:
    """Read a conversation. Raises UsageError unless it is one that waits for an answer."""
    if not isinstance(given, list) or not given:
        cure = '"messages": [{"role": "user", "content": "..."}]'
        raise UsageError('"messages" is no list, or an empty one.', where=where, cure=cure)
    read = [_read(each, f"{where}, message {at}") for at, each in enumerate(given, start=1)]
    system = read.pop(0)[1] if read[0][0] == "system" else None
    roles = [role for role, _ in read]
    if "system" in roles:
        cure = "Put what they say into one, at the beginning."
        raise UsageError("A system message is not the first message.", where=where, cure=cure)
    if "user" not in roles:
        cure = 'Add what the user said: {"role": "user", "content": "..."}'
        raise UsageError("The conversation has no message of a user.", where=where, cure=cure)
    if roles[-1] == "assistant":
        cure = 'Take it out: what the assistant should say now is the row\'s "reference".'
        raise UsageError("The conversation ends with the assistant.", where=where, cure=cure)
    turns = _turns(read)
    said = [turn.content for turn in turns if turn.role == "user"]
    return Conversation(system, said[-1], tuple(turns) if len(turns) > 1 else ())


def _read(given: JSON, where: str) -> tuple[str, str]:
    """Return the role and the text of a message."""
    known = {*_KEYS, *_EMPTY} if isinstance(given, dict) else _KEYS
    message = keyed(given, sorted(known), "A message", where)
    role = message.get("role")
    if role not in ROLES:
        cure = f"The roles are: {', '.join(ROLES)}."
        raise UsageError(f"A message has the role {role!r:.80}.", where=where, cure=cure)
    for key in _EMPTY:
        if message.get(key):
            what = f'A message has something under "{key}", which is not supported.'
            raise UsageError(what, where=where, cure="Put it into the content, or take it out.")
    text = text_of(message.get("content"), where)
    if role == "assistant":
        return role, _answered(message, text, where)
    if message.get("tool_calls"):
        raise UsageError("Only the assistant makes calls.", where=where, cure='Correct its "role".')
    if role == "tool":
        return role, text
    return "system" if role == "developer" else role, filled(text, "The content", where)


def _answered(message: Mapping[str, JSON], text: str, where: str) -> str:
    """Return the assistant's text and its calls, in the form in which models write them."""
    listed = message.get("tool_calls")
    calls = [] if listed is None else calls_of(listed, '"tool_calls"', where)
    parts = [text.strip()] if text.strip() else []
    parts += [TOOL_CALL.write(calls)] if calls else []
    return filled("\n".join(parts), "The content", where)


def text_of(given: JSON, where: str) -> str:
    """Return a text, the joined texts of a list of parts, or ""."""
    if given is None or isinstance(given, str):
        return given or ""
    for part in given if isinstance(given, list) else [None]:
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            kind = part.get("type") if isinstance(part, dict) else None
            what = f"The content is neither a text nor parts of text: {kind or given!r:.80}."
            cure = 'Write it as a string, or as [{"type": "text", "text": "..."}].'
            raise UsageError(what, where=where, cure=cure)
    return "".join(part["text"] for part in given)


def _turns(read: Iterable[tuple[str, str]]) -> list[Message]:
    turns: list[Message] = []
    for role, text in read:
        if turns and turns[-1].role == role != "tool":
            text = f"{turns.pop().content}\n{text}"
        turns.append(Message(cast(Role, role), text))
    return turns
