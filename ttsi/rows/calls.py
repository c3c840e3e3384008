"""The calls in a row's reference and in its assistant turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ttsi._common.suggest import did_you_mean
from ttsi.answers.calls.validation import argument_faults
from ttsi.answers.calls.values import AnyOf, ToolCall
from ttsi.errors import UsageError
from ttsi.rows.keys import filled, keyed
from ttsi.rows.lines import json_of
from ttsi.types import JSON, Tool

SHAPE = '{"name": "...", "arguments": {...}}'
_KEEP = 'Correct the row; "strict": false keeps such rows, which no valid answer can match.'


def calls_of(given: JSON, noun: str, where: str) -> list[ToolCall]:
    """Read a list of calls, each in one of the three notations. Raises UsageError."""
    if not isinstance(given, list):
        cure = f"Write a list of calls: [{SHAPE}], or [] where none is to be made."
        raise UsageError(f"{noun} is no list of calls.", where=where, cure=cure)
    return [_call(each, where) for each in given]


def check(calls: Sequence[ToolCall], tools: Sequence[Tool], where: str) -> None:
    """Raise UsageError for the first call that is not valid for the tools."""
    names = [tool.name for tool in tools]
    for call in calls:
        if call.name not in names:
            what = f"The reference calls {call.name!r}, which is not offered."
            cure = f"{did_you_mean(call.name, names, noun='tools')} {_KEEP}"
            raise UsageError(what, where=where, cure=cure)
        for alike in _alternatives(call):
            for fault in argument_faults(tools, alike):
                what = f"The reference's arguments of {call.name!r} are not valid: {fault}."
                raise UsageError(what, where=where, cure=_KEEP)


def _alternatives(call: ToolCall) -> Iterator[ToolCall]:
    """Yield the call, and one call for each alternative value."""
    yield call
    for name, values in call.allowed.items() if isinstance(call, AnyOf) else ():
        for value in values:
            yield ToolCall(call.name, {**call.arguments, name: value})


def _call(given: JSON, where: str) -> ToolCall:
    if isinstance(given, dict) and "function" in given:
        given = keyed(given, ("id", "type", "index", "function"), "A call", where)["function"]
    if isinstance(given, dict) and "allowed" in given:
        return _any_of(given, where)
    call = keyed(given, ("name", "arguments"), "A call", where)
    return ToolCall(filled(call.get("name"), "A call's name", where), _arguments(call, where))


def _any_of(given: JSON, where: str) -> AnyOf:
    """Read a reference with alternatives.

    `allowed` lists the right values of arguments; those in `optional` may be left out. `arguments`
    has one right value each.
    """
    call = keyed(given, ("name", "arguments", "allowed", "optional"), "A call", where)
    name, fixed = filled(call.get("name"), "A call's name", where), _arguments(call, where)
    allowed, optional = call["allowed"], call.get("optional", [])
    if not isinstance(allowed, dict) or not all(
        v and isinstance(v, list) for v in allowed.values()
    ):
        what = f"The reference's call of {name!r} does not allow lists of values."
        cure = 'Write the right values of each argument: "allowed": {"city": ["Rome", "Roma"]}'
        raise UsageError(what, where=where, cure=cure)
    twice = sorted(fixed.keys() & allowed.keys())
    if twice:
        what = f'The argument {twice[0]!r} stands under "arguments" and "allowed".'
        raise UsageError(what, where=where, cure="Keep one of the two.")
    values = {key: (value,) for key, value in fixed.items()}
    values |= {key: tuple(given) for key, given in allowed.items()}
    if not isinstance(optional, list) or not all(key in values for key in map(str, optional)):
        what = f'"optional" of the call of {name!r} is no list of arguments that it has values for.'
        cure = 'Such as "optional": ["unit"], with the right values under "allowed".'
        raise UsageError(what, where=where, cure=cure)
    shown = {key: given[0] for key, given in values.items() if key not in optional}
    return AnyOf(name, shown, values, tuple(optional))


def _arguments(call: Mapping[str, JSON], where: str) -> Mapping[str, JSON]:
    """Read arguments: an object, or an object as JSON text as in OpenAI's notation."""
    given = call.get("arguments")
    if given is None:
        return {}
    cure = f"Write a call as {SHAPE}"
    if isinstance(given, str):
        given = json_of(given, f"{where}, arguments", cure) if given.strip() else {}
    if not isinstance(given, dict):
        what = f"The arguments of {call.get('name')!r:.80} are no object, nor one as a JSON text."
        raise UsageError(what, where=where, cure=cure)
    return given
