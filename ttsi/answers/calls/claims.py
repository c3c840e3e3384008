"""The claims of calls: each argument, as a value that the request has to bear out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from ttsi._common.pointers import pointer, tokens_of
from ttsi.answers.calls import Switches
from ttsi.answers.calls.normal_forms import Form, Former, refers_back
from ttsi.answers.calls.values import ToolCall
from ttsi.answers.calls.writing import Wrapper
from ttsi.answers.stated import Request
from ttsi.parameters.fitting import same
from ttsi.protocols import Claim
from ttsi.types import JSON, Task

_AS_GIVEN = Switches(fill_defaults=False, rewritten_names=True)


def claims_of(task: Task, calls: Sequence[ToolCall], wrapper: Wrapper) -> tuple[Claim, ...]:
    """Return the claims of calls that are written in `wrapper`, in the order of their arguments.

    No claim is what the request need not say: null or the declared default for a parameter that may
    be left out, and a reference to an earlier call.
    """
    request = Request("\n".join(turn.content for turn in task.said))
    written = wrapper.write(calls)
    former = Former(task.tools, _AS_GIVEN)
    made = []
    for place, (call, start) in enumerate(zip(calls, wrapper.starts(calls), strict=True)):
        form = former.form(call.name, call.arguments)
        for name, span in _spans(call, start):
            value, optional = form.arguments[name], _is_optional(form, name)
            if refers_back(value, place) or (optional and _says_nothing(form, name)):
                continue
            where = pointer(place, "arguments", name)
            stated = request.states(value, name)
            made.append(Claim(where, written, span, optional, stated))
    return tuple(made)


def without(calls: Sequence[ToolCall], claims: Iterable[Claim]) -> list[ToolCall]:
    """Return the calls without the arguments that make these claims."""
    left: list[dict[str, JSON]] = [dict(call.arguments) for call in calls]
    for claim in claims:
        place, _, name = tokens_of(claim.where)
        del left[int(place)][name]
    return [ToolCall(call.name, kept) for call, kept in zip(calls, left, strict=True)]


def _spans(call: ToolCall, start: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each argument's name, and where its value is in a call that is written at `start`.

    The blank before a value belongs to it, as in most tokens; the mark that closes it does not,
    because models write it in one token with what follows.
    """
    at = start + len(json.dumps(ToolCall(call.name, {}).as_json(), ensure_ascii=False)) - 2
    for name, value in call.arguments.items():
        at += len(json.dumps(name, ensure_ascii=False)) + 1
        end = at + 1 + len(json.dumps(value, ensure_ascii=False))
        yield name, (at, end - isinstance(value, str | list | dict))
        at = end + 2


def _is_optional(form: Form, name: str) -> bool:
    """Whether the call is valid without an argument, which no parameter of an unknown tool is."""
    branch = form.branch
    known = "type" in branch and "minProperties" not in branch
    return known and name not in branch.get("required", ())


def _says_nothing(form: Form, name: str) -> bool:
    value, schema = form.arguments[name], form.branch.get("properties", {}).get(name, {})
    return value is None or ("default" in schema and same(value, schema["default"]))
