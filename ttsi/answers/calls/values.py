"""Calls as values: how they are made, and how an answer stores them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ttsi.types import JSON, Answer, AnswerStatus


@dataclass(frozen=True, slots=True)
class ToolCall:
    name: str
    arguments: Mapping[str, JSON]

    def as_json(self) -> dict[str, JSON]:
        return {"name": self.name, "arguments": dict(self.arguments)}


@dataclass(frozen=True, slots=True)
class AnyOf(ToolCall):
    """A reference that several calls match; `arguments` are those of one of them.

    `allowed` lists the right values of each argument, including those in `arguments`. Arguments
    named in `optional` may also be left out.
    """

    allowed: Mapping[str, tuple[JSON, ...]]
    optional: tuple[str, ...] = ()


def answer_with(calls: Iterable[ToolCall]) -> Answer:
    """Return the answer that makes these calls."""
    return Answer.of([_value(call) for call in calls])


def calls_in(answer: Answer) -> tuple[ToolCall, ...]:
    """Return the calls of an answer; none unless its status is ok."""
    if answer.status is not AnswerStatus.OK:
        return ()
    return tuple(_call(value) for value in answer.value)


def _value(call: ToolCall) -> dict[str, JSON]:
    if not isinstance(call, AnyOf):
        return call.as_json()
    allowed = {name: list(values) for name, values in call.allowed.items()}
    return call.as_json() | {"allowed": allowed, "optional": list(call.optional)}


def _call(value: Mapping[str, JSON]) -> ToolCall:
    if "allowed" in value:
        allowed = {name: tuple(values) for name, values in value["allowed"].items()}
        return AnyOf(value["name"], value["arguments"], allowed, tuple(value["optional"]))
    return ToolCall(value["name"], value["arguments"])


class Reason(StrEnum):
    """Why calls are wrong: the first reason found."""

    UNPARSABLE = "unparsable"
    NO_CALL = "no_call"
    WRONG_COUNT = "wrong_count"
    WRONG_NAME = "wrong_name"
    MISSING_ARGUMENT = "missing_argument"
    EXTRA_ARGUMENT = "extra_argument"
    WRONG_VALUE = "wrong_value"
