"""Compare calls with the reference.

Equality of normal forms is an equivalence relation, so that comparing multisets of normal forms
gives a maximum matching of parallel calls in linear time. A reference with alternatives is settled
first on the form that is closest to the answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter

from ttsi.answers.calls import Switches
from ttsi.answers.calls.alternatives import settle
from ttsi.answers.calls.normal_forms import Form, Former
from ttsi.answers.calls.values import Reason, ToolCall, calls_in
from ttsi.answers.form import bounded
from ttsi.types import Answer, AnswerStatus, Score, Tool

_PAIRED = 32
"""At most this many unmatched calls per side are compared when a message needs the closest pair."""

FORGIVING = Switches()


def score_calls(
    tools: Sequence[Tool], reference: Sequence[ToolCall], answer: Answer, switches: Switches
) -> Score:
    """Score calls against the reference.

    If they differ, the reason is the first that applies, in this order: unparsable, no_call,
    wrong_count, wrong_name, missing_argument, extra_argument, wrong_value.
    """
    if answer.status is AnswerStatus.UNPARSABLE:
        return Score(False, Reason.UNPARSABLE, "what looks like a call cannot be read")
    calls = calls_in(answer)
    if not calls and not reference:
        return Score(True)
    if not calls:
        return Score(False, Reason.NO_CALL, f"expected calls: {len(reference)}, got none")
    if len(calls) != len(reference):
        detail = f"expected calls: {len(reference)}, got: {len(calls)}"
        return Score(False, Reason.WRONG_COUNT, detail)
    former = Former(tools, switches)
    got = former.forms(calls)
    settled = settle(former, reference, got, ordered=switches.ordered)
    expected = former.forms(settled)
    in_order = list if switches.ordered else sorted
    if in_order(form.key for form in expected) == in_order(form.key for form in got):
        return Score(True)
    if switches.ordered:
        return _diagnose([(e, g) for e, g in zip(expected, got, strict=True) if e.key != g.key])
    return _diagnose(_unmatched_pairs(expected, got))


def canonical_calls(
    tools: Sequence[Tool], calls: Sequence[ToolCall], switches: Switches = FORGIVING
) -> str:
    """Return a text that is equal for calls that score alike; votes are counted by it."""
    keys = [form.key for form in Former(tools, switches).forms(calls)]
    return " ".join(keys if switches.ordered else sorted(keys))


def call_parts(tools: Sequence[Tool], calls: Sequence[ToolCall]) -> dict[tuple[str, ...], str]:
    """Return each call and each of its arguments, by the tool's name and a number.

    Calls of one tool are numbered in an order of their arguments, so that the order in which they
    were written does not matter.
    """
    parts: dict[tuple[str, ...], str] = {}
    seen: Counter[str] = Counter()
    forms = Former(tools, FORGIVING).forms(calls)
    for form in sorted(forms, key=lambda form: repr(sorted(form.keys.items(), key=itemgetter(0)))):
        place = (form.name, str(seen[form.name]))
        seen[form.name] += 1
        parts[place] = ""
        parts |= {(*place, argument): repr(key) for argument, key in form.keys.items()}
    return parts


def _unmatched_pairs(expected: Sequence[Form], got: Sequence[Form]) -> list[tuple[Form, Form]]:
    """Return pairs of unmatched calls of the same name, or else one pair of different names."""
    missing, surplus = _minus(expected, got), _minus(got, expected)
    absent = Counter(e.name for e in missing) - Counter(g.name for g in surplus)
    uncalled = Counter(g.name for g in surplus) - Counter(e.name for e in missing)
    if absent:
        e = next(e for e in missing if e.name in absent)
        return [(e, next(g for g in surplus if g.name in uncalled))]
    return [(e, g) for e in missing[:_PAIRED] for g in surplus[:_PAIRED] if e.name == g.name]


def _minus(forms: Sequence[Form], others: Sequence[Form]) -> list[Form]:
    """Return the forms that remain after removing `others`, sorted by name."""
    left = Counter(form.key for form in others)
    rest = []
    for form in forms:
        if left[form.key]:
            left[form.key] -= 1
        else:
            rest.append(form)
    return sorted(rest, key=lambda form: form.name)


def _diagnose(pairs: Sequence[tuple[Form, Form]]) -> Score:
    """Return the first reason why these calls do not match, with details of the closest pair."""
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


def _differing(expected: Form, got: Form) -> list[str]:
    names = {**expected.keys, **got.keys}
    return [name for name in names if expected.keys.get(name) != got.keys.get(name)]


def _wrong(reason: Reason, detail: str) -> Score:
    # repr() has escaped control characters and lone surrogates.
    return Score(False, reason, bounded(detail))
