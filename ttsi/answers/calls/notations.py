"""Calls in notations that are not an object of name and arguments.

| notation | example |
|---|---|
| Python | `f(a=1, b=["x"])`, `[f(a=1), g()]`: keyword arguments whose values are literals |
| name and object | `f[ARGS]{"a": 1}`, `f{"a": 1}`, `<f>{"a": 1}` |
| XML | `<function=f>{"a": 1}</function>`, `<function=f><parameter=a>1</parameter></function>` |
| pairs in a tag | `<tool_call>f<arg_key>a</arg_key><arg_value>1</arg_value></tool_call>` |

Positional arguments in Python are not read, because JSON Schema does not order parameters. A value
in XML is text. If the text is also a JSON number, list, object or word, both are kept, so that the
tool's schema decides between 1 and "1".
"""

from __future__ import annotations

import re

from ttsi.answers.calls.marks import NAME, PYTHON_CALL
from ttsi.answers.calls.shapes import Shapes
from ttsi.answers.calls.values import ToolCall
from ttsi.answers.literals import Broken, Reader
from ttsi.answers.numbers import Untyped
from ttsi.types import JSON

_KEYWORD = re.compile(rf"\s*({NAME})\s*=(?!=)\s*")
_DSML = "｜DSML｜"
"""The text with which DeepSeek's element names begin."""
_PARAMETER = re.compile(
    rf"\s*<(?:{_DSML})?parameter(?:=([^<>]{{1,200}})|\s+name=[\"']([^\"'<>]{{1,200}})[\"']"
    r"(?:\s+string=[\"']\w{1,9}[\"'])?)\s*>"
)
_PAIR = re.compile(r"\s*<arg_key>([^<>]{1,200})</arg_key>\s*<arg_value>")
_XML_END = re.compile(rf"\s*</(?:{_DSML})?(?:function|invoke|tool|tool_call|function_call)>")
_PAIRS_END = re.compile(r"\s*</tool_call>")
_WHOLE_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORDS = {"true", "True", "false", "False", "null", "None"}


class Notations:
    """Reads calls at given positions of one text; returns where a call ends, and the call.

    If the call is None, it could not be read, and the position is where reading failed.
    """

    def __init__(self, reader: Reader, shapes: Shapes) -> None:
        self.text = reader.text
        self._reader = reader
        self._shapes = shapes

    def offered(self, name: str) -> str:
        return self._shapes.offered(name)

    def is_offered(self, name: str) -> bool:
        return self._shapes.is_offered(name)

    def python(self, name: str, at: int) -> tuple[int, ToolCall | None]:
        """Read the call of `name` whose arguments begin at `at`, after the parenthesis."""
        arguments: dict[str, JSON] = {}
        while True:
            at = self._reader.skip_space(at)
            if self.text[at : at + 1] == ")":
                return at + 1, ToolCall(self.offered(name), arguments)
            keyword = _KEYWORD.match(self.text, at)
            value = self._reader.read_python(keyword.end()) if keyword else None
            if keyword is None or value is None or keyword[1] in arguments:
                return keyword.end() if keyword else at, None
            arguments[keyword[1]] = value.value
            at = self._reader.skip_space(value.end)
            if self.text[at : at + 1] == ",":
                at += 1
            elif self.text[at : at + 1] != ")":
                return at, None

    def python_list(self, at: int) -> tuple[int, list[ToolCall] | None, bool]:
        """Read the calls of a list after its bracket, and whether any is of an offered tool."""
        calls: list[ToolCall] = []
        offered = False
        while True:
            at = self._reader.skip_space(at)
            if self.text[at : at + 1] == "]":
                return at + 1, calls, offered
            begun = PYTHON_CALL.match(self.text, at)
            if begun is None:
                return at, None, offered
            offered = offered or self.is_offered(begun[1])
            at, call = self.python(begun[1], begun.end())
            if call is None:
                return at, None, offered
            calls.append(call)
            at = self._reader.skip_space(at)
            if self.text[at : at + 1] == ",":
                at += 1
            elif self.text[at : at + 1] != "]":
                return at, None, offered

    def json_arguments(self, name: str, at: int) -> tuple[int, ToolCall | None]:
        """Read the call of `name` whose arguments are the object at `at`."""
        if self.text[at : at + 1] != "{":
            return at, None
        outcome = self._reader.read(at)
        if isinstance(outcome, Broken):
            return outcome.at, None
        call = ToolCall(self.offered(name), outcome.value) if outcome.sound else None
        return outcome.end, call

    def xml(self, name: str, at: int) -> tuple[int, ToolCall | None]:
        """Read the call of `name` in the element whose content begins at `at`."""
        inside = self._reader.skip_space(at)
        if self.text[inside : inside + 1] == "{":
            return self.json_arguments(name, inside)
        prefix = _DSML if self.text.startswith(f"<{_DSML}", inside) else ""
        at, arguments = self._elements(_PARAMETER, f"</{prefix}parameter>", at)
        end = _XML_END.match(self.text, at)
        if arguments is None or end is None:
            return at, None
        return end.end(), ToolCall(self.offered(name), arguments)

    def pairs(self, name: str, at: int) -> tuple[int, ToolCall | None]:
        """Read the call of `name` whose arguments are pairs of key and value from `at` on."""
        at, arguments = self._elements(_PAIR, "</arg_value>", at)
        end = _PAIRS_END.match(self.text, at)
        if arguments is None or end is None:
            return at, None
        return end.end(), ToolCall(self.offered(name), arguments)

    def _elements(
        self, opening: re.Pattern[str], close: str, at: int
    ) -> tuple[int, dict[str, JSON] | None]:
        arguments: dict[str, JSON] = {}
        while opened := opening.match(self.text, at):
            key = next(part for part in opened.groups() if part).strip()
            end = self.text.find(close, opened.end())
            if end < 0 or key in arguments:
                return len(self.text) if end < 0 else end, None
            raw = self.text[opened.end() : end]
            self._reader.visited += end - at
            arguments[key] = self._untyped(raw.removeprefix("\n").removesuffix("\n"))
            at = end + len(close)
        return at, arguments

    def _untyped(self, raw: str) -> JSON:
        """Return the text, together with the value that it may also be."""
        text = raw.strip()
        if text[:1] in ("[", "{"):
            inner = Reader(raw)
            read = inner.read_all()
            self._shapes.visited += inner.visited
            return Untyped(raw, read.value) if read else raw
        if text in _WORDS or _WHOLE_NUMBER.fullmatch(text):
            value = Reader(text).read_python(0)
            return Untyped(raw, value.value) if value and value.end == len(text) else raw
        return raw
