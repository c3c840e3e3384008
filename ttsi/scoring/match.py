"""Calls against the reference (DESIGN section 8, rules 5 to 8).

Being equal in normal form is an equivalence relation, so comparing multisets of normal forms *is* a
maximum matching of parallel calls, in linear time. A normal form is made of tagged tuples: lists
keep their order, objects do not, and a boolean is no number. 1 and 1.0 are the same number, as in
JSON's data model; a float of 2**53 or more, which may have lost digits, equals floats only.

A reference `API_call_k` to an earlier call stands for that call's normal form, wherever the call is
in the list; so references to calls that are equal themselves are interchangeable. A reference to
the call itself, a later one or none stays text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TypeAlias

from ttsi.digests import bytes_digest
from ttsi.scoring import Switches
from ttsi.scoring.normalise import EXACT_BELOW, normalise_arguments, tidy
from ttsi.types import JSON, Completion, ParseStatus, Reason, Score, Tool, ToolCall

MAX_DETAIL = 200
_PAIRED = 32
"""Of so many unmatched calls a side the closest pair is sought, to be told to people."""

_REFERENCE = re.compile(r"(?<!\w)API_call_(0|[1-9][0-9]{0,5})(?!\w)")

FORGIVING = Switches()

Key: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Form:
    """A call in normal form: `key` is equal for equal calls, `keys` for equal arguments.

    `earlier` are the keys of the calls before it, to which it may refer.
    """

    name: str
    arguments: Mapping[str, JSON]
    keys: Mapping[str, Key]
    key: str

    @classmethod
    def of(cls, name: str, arguments: Mapping[str, JSON], earlier: Sequence[str]) -> _Form:
        keys = {argument: _key(value, earlier) for argument, value in arguments.items()}
        whole = (name, *sorted(keys.items(), key=itemgetter(0)))
        # repr() tells apart all that differs here and escapes what UTF-8 cannot hold.
        return cls(name, arguments, keys, bytes_digest(repr(whole).encode()))


def score_calls(
    tools: Sequence[Tool], reference: Sequence[ToolCall], completion: Completion, switches: Switches
) -> Score:
    """Right if the calls are those of the reference; else the first reason of

    unparsable, no_call, wrong_count, wrong_name, missing_argument, extra_argument, wrong_value.
    """
    if completion.status is ParseStatus.UNPARSABLE:
        return Score(False, Reason.UNPARSABLE, "what looks like a call cannot be read")
    calls = completion.calls if completion.status is ParseStatus.OK else ()
    if not calls and not reference:
        return Score(True)
    if not calls:
        return Score(False, Reason.NO_CALL, f"expected calls: {len(reference)}, got none")
    if len(calls) != len(reference):
        detail = f"expected calls: {len(reference)}, got: {len(calls)}"
        return Score(False, Reason.WRONG_COUNT, detail)
    expected = _forms(tools, reference, switches)
    got = _forms(tools, calls, switches)
    in_order = list if switches.ordered else sorted
    if in_order(form.key for form in expected) == in_order(form.key for form in got):
        return Score(True)
    if switches.ordered:
        return _diagnose([(e, g) for e, g in zip(expected, got, strict=True) if e.key != g.key])
    return _diagnose(_unmatched_pairs(expected, got))


def canonical_calls(
    tools: Sequence[Tool], calls: Sequence[ToolCall], switches: Switches = FORGIVING
) -> str:
    """A text that is equal for calls that score alike: what votes are counted by."""
    keys = [form.key for form in _forms(tools, calls, switches)]
    return " ".join(keys if switches.ordered else sorted(keys))


def _forms(tools: Sequence[Tool], calls: Sequence[ToolCall], switches: Switches) -> list[_Form]:
    schemas = {tool.name: tool.parameters for tool in reversed(tools)}
    forms: list[_Form] = []
    earlier: list[str] = []
    for call in calls:
        name = tidy(call.name) if switches.trim else call.name
        arguments = normalise_arguments(call.arguments, schemas.get(name, {}), switches)
        form = _Form.of(name, arguments, earlier)
        forms.append(form)
        if switches.renumber_references:
            earlier.append(form.key)
    return forms


def _key(value: JSON, earlier: Sequence[str]) -> Key:
    """A value as tagged tuples, equal for equal values. `earlier`: the keys of earlier calls."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, float):
        if not abs(value) < EXACT_BELOW:
            return ("float", value)
        return ("number", int(value) if value.is_integer() else value)
    if isinstance(value, int):
        return ("number", value)
    if isinstance(value, str):
        return _text_key(value, earlier)
    if isinstance(value, dict):
        items = [(name, _key(item, earlier)) for name, item in value.items()]
        return ("object", *sorted(items, key=itemgetter(0)))
    if isinstance(value, list | tuple):
        return ("list", *(_key(item, earlier) for item in value))
    if value is None:
        return ("null",)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _text_key(text: str, earlier: Sequence[str]) -> Key:
    parts: list[object] = ["text"]
    end = 0
    for found in _REFERENCE.finditer(text) if earlier else ():
        if int(found[1]) < len(earlier):
            parts += [text[end : found.start()], ("call", earlier[int(found[1])])]
            end = found.end()
    return (*parts, text[end:])


def _unmatched_pairs(expected: Sequence[_Form], got: Sequence[_Form]) -> list[tuple[_Form, _Form]]:
    """Pairs of calls that no maximum matching matches: of one name, or else one pair of unlike."""
    missing, surplus = _minus(expected, got), _minus(got, expected)
    absent = Counter(e.name for e in missing) - Counter(g.name for g in surplus)
    uncalled = Counter(g.name for g in surplus) - Counter(e.name for e in missing)
    if absent:
        e = next(e for e in missing if e.name in absent)
        return [(e, next(g for g in surplus if g.name in uncalled))]
    return [(e, g) for e in missing[:_PAIRED] for g in surplus[:_PAIRED] if e.name == g.name]


def _minus(forms: Sequence[_Form], others: Sequence[_Form]) -> list[_Form]:
    """The forms that are left when `others` are taken away, by name: so calls of one name meet."""
    left = Counter(form.key for form in others)
    rest = []
    for form in forms:
        if left[form.key]:
            left[form.key] -= 1
        else:
            rest.append(form)
    return sorted(rest, key=lambda form: form.name)


def _diagnose(pairs: Sequence[tuple[_Form, _Form]]) -> Score:
    """The first reason why these calls do not match, told of the closest pair."""
    for expected, got in pairs:
        if expected.name != got.name:
            return _wrong(Reason.WRONG_NAME, f"expected {expected.name!r}, got {got.name!r}")
    expected, got = min(pairs, key=lambda pair: len(_differing(*pair)))
    differing = _differing(expected, got)
    for key in differing:
        if key not in got.keys:
            return _wrong(Reason.MISSING_ARGUMENT, f"argument {key!r} is missing")
    for key in differing:
        if key not in expected.keys:
            detail = f"argument {key!r} is not expected: {got.arguments[key]!r}"
            return _wrong(Reason.EXTRA_ARGUMENT, detail)
    key = differing[0]
    wanted, given = repr(expected.arguments[key]), repr(got.arguments[key])
    if wanted == given:
        return _wrong(Reason.WRONG_VALUE, f"argument {key!r}: {given} refers to another call")
    return _wrong(Reason.WRONG_VALUE, f"argument {key!r}: expected {wanted}, got {given}")


def _differing(expected: _Form, got: _Form) -> list[str]:
    names = {**expected.keys, **got.keys}
    return [name for name in names if expected.keys.get(name) != got.keys.get(name)]


def _wrong(reason: Reason, detail: str) -> Score:
    # repr() has escaped what no terminal or UTF-8 file could take.
    short = detail if len(detail) <= MAX_DETAIL else detail[: MAX_DETAIL - 3] + "..."
    return Score(False, reason, short)
