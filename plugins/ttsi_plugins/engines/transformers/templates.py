"""A model's chat template: the date that it prints, and what it does with the turns of a chat.

Templates differ in what they take. Some have no system turn and raise an error for one, or leave it
out and say nothing; some want a message's content as a list of parts. The template is tried once,
when the model is loaded, and every prompt is searched for its turns. Without that, a run whose
model never saw its instruction would end without an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from ttsi import JSON, EngineError, Message, Tool, UsageError
from ttsi_plugins.engines._messages import first_line

from .prefixes import common

Turn = Literal["template", "folded"]
Content = Literal["text", "parts"]

_CURE = (
    "Use an instruct model whose chat template writes all turns, or correct chat_template in the "
    "model's tokenizer files."
)
_PARTS = {
    "system": "the instruction",
    "user": "the input",
    "assistant": "an answer",
    "tool": "a tool's result",
}
# With line breaks: a template that prints a list of parts as it is would escape them.
_TRIAL = (Message("system", "the trial's\ninstruction"), Message("user", "the trial's\ninput"))
_RESULT = (Message("assistant", "the trial's\ncall"), Message("tool", "the trial's\nresult"))
_THINKING = "enable_thinking"
# An answer whose first character begins no call.
_SAYING: dict[str, Any] = {"role": "assistant", "content": "\ue000"}
_DATE_CALL = re.compile(r"""strftime_now\(\s*(?:format\s*=\s*)?(["'])(.*?)\1""")
# transformers accepts no callable as a template's variable, so the function is a Jinja macro.
# Jinja's trim_blocks removes the line break at its end.
_DATE_MACRO = (
    "{% macro strftime_now(format) %}{{ ttsi_dates[format] if format in ttsi_dates else "
    "raise_exception('the form of its date is not written out in the template') }}{% endmacro %}\n"
)


def day(given: JSON) -> date:
    """Return the date of `model.date`; null is today in UTC. Raises UsageError for other values."""
    if given is None:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(given)
    except (TypeError, ValueError):
        raise UsageError(
            f"model.date is {given!r}, which is no date.",
            where="model.date",
            cure='Write "YYYY-MM-DD", such as "2025-01-31", or null for the day of the run.',
        ) from None


class Template:
    """The chat template of `tokenizer`, printing `today` wherever it prints a date.

    `system_turn` is "folded" where the template has none: the instruction then stands before the
    first user turn's text, a blank line between them. `content` is "parts" where the template takes
    a message's content as a list of parts only. Raises EngineError for a template with which
    neither helps. `tool_turn` is "folded" where the template has no turn for a tool's result, or
    not one that can follow a call as text: results are then a user turn, in <tool_response> tags.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, today: date, variables: JSON = None
    ) -> None:
        self._tokenizer = tokenizer
        self._variables = variables if isinstance(variables, dict) else {}
        self._where = f"tokenizer {tokenizer.name_or_path}"
        # A tokenizer may have a template of its own for chats with tools.
        own = [self._own_text(tools) for tools in (None, [])]
        midnight = datetime.combine(today, time())
        formats = {found[2] for text in own for found in _DATE_CALL.finditer(text)}
        self._dates = {each: midnight.strftime(each) for each in formats}
        self._text, self._tools_text = (
            _DATE_MACRO + text if "strftime_now" in text else text for text in own
        )
        self.system_turn: Turn = "template"
        self.content: Content = "text"
        self.tool_turn: Turn = "template"
        self._choose()

    def describe(self) -> dict[str, JSON]:
        """Return what a run records about the template."""
        return {
            "system_turn": self.system_turn,
            "content": self.content,
            "tool_turn": self.tool_turn,
        }

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        thinking: bool | None = None,
    ) -> str:
        """Return the chat up to the opening of the assistant's turn.

        `thinking` is the template's variable enable_thinking; None leaves it undefined. Raises
        EngineError if the template refuses the chat, or leaves out a turn or a tool.
        """
        text = self._write(messages, tools, thinking=thinking)
        bare = self._write(messages, thinking=thinking) if tools else ""
        unseen = [t.name for t in tools if text.count(t.name) <= bare.count(t.name)]
        if unseen:
            raise EngineError(
                f"The model's chat template writes no tools: it leaves out {unseen[0]}.",
                where=self._where,
                cure='Set "prompt": "paper" for the benchmark.',
            )
        lacking = _lacking(messages, text)
        if lacking is not None:
            at = f"turn {messages.index(lacking) + 1} of {len(messages)}, role {lacking.role}"
            raise EngineError(
                f"The model's chat template leaves out {_PARTS[lacking.role]}.",
                where=f"{self._where}, {at}",
                cure=_CURE,
            )
        return text

    def called(self, messages: Sequence[Message], tools: Sequence[Tool], calls: JSON) -> str:
        """Return the assistant's turn that makes `calls`, from its text to the end of the chat.

        Raises EngineError if the template refuses them or writes no calls.
        """
        # An answer begins where this one and a text begin to differ.
        plain = self._write(messages, tools, [_SAYING], opened=False)
        refused: EngineError | None = None
        for as_text in (False, True):
            turn = _calling(calls, as_text)
            try:
                whole = self._write(messages, tools, [turn], opened=False)
            except EngineError as error:
                refused = error
                continue
            said = whole[common(whole, plain) :]
            made = [call["function"] for call in turn["tool_calls"]]
            # Printed without `tojson`, a mapping is Python's text of it.
            printed = any(
                isinstance(f["arguments"], dict) and f["arguments"] and repr(f["arguments"]) in said
                for f in made
            )
            if not printed and all(function["name"] in said for function in made):
                return said
        raise refused or EngineError(
            "The model's chat template writes no calls.",
            where=self._where,
            cure='Set "prompt": "paper" for the benchmark.',
        )

    def _own_text(self, tools: list[dict[str, Any]] | None) -> str:
        try:
            return str(self._tokenizer.get_chat_template(tools=tools))
        except ValueError as error:
            # The tokenizer has several named templates, but no default.
            raise EngineError(first_line(error), where=self._where, cure=_CURE) from error

    def _choose(self) -> None:
        """Set the first `content` and `system_turn` with which all of the trial is rendered.

        Then do the same for `tool_turn`.
        """
        ways: list[tuple[Content, Turn]] = [
            ("text", "template"),
            ("parts", "template"),
            ("text", "folded"),
            ("parts", "folded"),
        ]
        for self.content, self.system_turn in ways:
            try:
                self.render(_TRIAL)
            except EngineError:
                continue
            break
        else:
            # None works. Raise the error of plain text, which is the clearest.
            self.content, self.system_turn = "text", "folded"
            self.render(_TRIAL)
        try:
            self.render((*_TRIAL, *_RESULT))
        except EngineError:
            self.tool_turn = "folded"

    def _write(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        more: Sequence[dict[str, Any]] = (),
        *,
        opened: bool = True,
        thinking: bool | None = None,
    ) -> str:
        """Return the chat with `more` turns, and with `opened` the assistant's turn begun."""
        turns = _with_results(messages) if self.tool_turn == "folded" else messages
        turns = _folded(turns) if self.system_turn == "folded" else turns
        chat: list[dict[str, Any]] = [
            {
                "role": turn.role,
                "content": turn.content
                if self.content == "text"
                else [{"type": "text", "text": turn.content}],
            }
            for turn in turns
        ]
        chat += more
        try:
            text = self._tokenizer.apply_chat_template(
                chat,
                chat_template=self._tools_text if tools else self._text,
                tokenize=False,
                add_generation_prompt=opened,
                tools=[_function(tool) for tool in tools] or None,
                ttsi_dates=self._dates,
                **{**self._variables, **({} if thinking is None else {_THINKING: thinking})},
            )
        except Exception as error:  # a template is foreign code: it raises what it likes
            raise EngineError(
                f"The model's chat template refuses the prompt: {first_line(error)}",
                where=f"{self._where}, roles {', '.join(turn.role for turn in turns)}",
                cure=_CURE,
            ) from error
        return str(text)


def _function(tool: Tool) -> dict[str, Any]:
    """Return a tool as chat templates take it."""
    about = {"name": tool.name, "description": tool.description}
    return {"type": "function", "function": {**about, "parameters": dict(tool.parameters)}}


def _calling(calls: Any, as_text: bool) -> dict[str, Any]:
    """Return an assistant's turn with calls, whose arguments some templates want as JSON text."""
    made = [
        {
            "id": f"call{at:05}",
            "type": "function",
            "function": {
                "name": call["name"],
                "arguments": json.dumps(call["arguments"]) if as_text else call["arguments"],
            },
        }
        for at, call in enumerate(calls)
    ]
    return {"role": "assistant", "content": "", "tool_calls": made}


def _with_results(messages: Sequence[Message]) -> list[Message]:
    """Return `messages` with tool turns as user turns; neighbours are one turn."""
    turns: list[Message] = []
    joins = False
    for message in messages:
        result = message.role == "tool"
        if result:
            message = Message("user", f"<tool_response>\n{message.content}\n</tool_response>")
        if turns and turns[-1].role == message.role == "user" and (result or joins):
            message = replace(message, content=f"{turns.pop().content}\n{message.content}")
        turns.append(message)
        joins = result
    return turns


def _folded(messages: Sequence[Message]) -> list[Message]:
    """Return `messages` with the system turns' text before the first user turn's text."""
    instructions = [m.content for m in messages if m.role == "system" and m.content]
    turns = [message for message in messages if message.role != "system"]
    first = next((at for at, turn in enumerate(turns) if turn.role == "user"), None)
    if not instructions or first is None:
        return turns or list(messages)
    turns[first] = replace(turns[first], content="\n\n".join([*instructions, turns[first].content]))
    return turns


def _lacking(messages: Sequence[Message], text: str) -> Message | None:
    """Return the first message that `text` shows less often than `messages` hold it, or None."""
    shown = [_shown(message) for message in messages]
    for message, content in zip(messages, shown, strict=True):
        # `_shown` has stripped the contents, since templates trim them.
        if content and text.count(content) < sum(other.count(content) for other in shown):
            return message
    return None


def _shown(message: Message) -> str:
    """Return what a template must show of a message; it may omit thoughts of earlier answers."""
    content = message.content
    if message.role == "assistant":
        content = re.split(r"</think>|\[/THINK\]", content)[-1]
    return content.strip()
