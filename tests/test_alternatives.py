"""References that several calls match: they accept what one of their plain references accepts."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi.answers.calls import Switches
from ttsi.answers.calls.match import score_calls
from ttsi.answers.calls.values import AnyOf, Reason, ToolCall, answer_with, calls_in
from ttsi.types import Answer, Sample, Score, Task, Tool

TOOLS = [
    Tool(
        name,
        "a tool",
        {
            "type": "object",
            "properties": {
                "a": {"type": "integer"},
                "b": {"type": "string"},
                "d": {"type": "integer", "default": 1},
            },
            "required": ["a"],
        },
    )
    for name in ("f", "g")
]
TOOLS.append(
    Tool(
        "h",
        "a tool of two shapes",
        {
            "type": "object",
            "properties": {"a": {"type": ["integer", "string"]}},
            "anyOf": [
                {
                    "properties": {"b": {"type": "string"}, "d": {"const": 1, "default": 1}},
                    "required": ["b"],
                },
                {"properties": {"b": {"type": "integer"}, "d": {"type": "string", "default": "x"}}},
            ],
        },
    )
)
VALUES: st.SearchStrategy[Any] = st.sampled_from([1, 1.0, "1", "x", "X ", 2, True, None, [1]])


@st.composite
def any_ofs(draw: st.DrawFn) -> AnyOf:
    names = draw(st.lists(st.sampled_from("abd"), unique=True))
    allowed = {name: tuple(draw(st.lists(VALUES, min_size=1, max_size=2))) for name in names}
    optional = tuple(name for name in names if draw(st.booleans()))
    shown = {name: values[0] for name, values in allowed.items() if name not in optional}
    return AnyOf(draw(st.sampled_from("fgh")), shown, allowed, optional)


CALLS = st.builds(
    ToolCall, st.sampled_from("fgh"), st.dictionaries(st.sampled_from("abd"), VALUES, max_size=3)
)
SWITCHES = st.builds(
    Switches,
    fill_defaults=st.booleans(),
    coerce=st.booleans(),
    trim=st.booleans(),
    ordered=st.booleans(),
    fold_text=st.booleans(),
)
ABSENT = object()


def plain(call: ToolCall) -> list[ToolCall]:
    """Return every plain call that a reference call allows."""
    if not isinstance(call, AnyOf):
        return [call]
    choices = [
        [(name, value) for value in (*values, *([ABSENT] if name in call.optional else []))]
        for name, values in call.allowed.items()
    ]
    return [
        ToolCall(call.name, {name: value for name, value in chosen if value is not ABSENT})
        for chosen in product(*choices)
    ]


def score(reference: Any, calls: Any, switches: Switches | None = None) -> Score:
    return score_calls(TOOLS, tuple(reference), answer_with(calls), switches or Switches())


@given(
    reference=st.lists(any_ofs() | CALLS, min_size=1, max_size=3),
    calls=st.lists(CALLS, min_size=1, max_size=3),
    switches=SWITCHES,
)
def test_right_is_what_some_plain_reference_calls_right(
    reference: list[ToolCall], calls: list[ToolCall], switches: Switches
) -> None:
    each = product(*map(plain, reference))
    assert score(reference, calls, switches).correct == any(
        score(some, calls, switches).correct for some in each
    )


@given(data=st.data(), reference=st.lists(any_ofs(), min_size=1, max_size=3), switches=SWITCHES)
def test_all_that_is_allowed_is_right(
    data: st.DataObject, reference: list[AnyOf], switches: Switches
) -> None:
    calls = [data.draw(st.sampled_from(plain(call))) for call in reference]
    assert score(reference, calls, switches).correct
    shuffled = data.draw(st.permutations(calls))
    assert score(reference, shuffled, replace(switches, ordered=False)).correct
    assert score(reference, reference, switches).correct


TEA = AnyOf("f", {"a": 1}, {"a": (1, 2), "b": ("tea", "green tea")}, ("b",))


@pytest.mark.parametrize(
    ("call", "reason", "detail"),
    [
        (ToolCall("f", {"a": 3}), Reason.WRONG_VALUE, "argument 'a': expected 1, got 3"),
        (ToolCall("f", {"b": "tea"}), Reason.MISSING_ARGUMENT, "argument 'a' is missing"),
        (
            ToolCall("f", {"a": 2, "b": "milk"}),
            Reason.WRONG_VALUE,
            "argument 'b': expected 'tea', got 'milk'",
        ),
        (
            ToolCall("f", {"a": 2, "c": 1}),
            Reason.EXTRA_ARGUMENT,
            "argument 'c' is not expected: 1",
        ),
        (ToolCall("g", {"a": 2}), Reason.WRONG_NAME, "expected 'f', got 'g'"),
    ],
)
def test_the_reason_is_told_of_the_nearest_alternative(
    call: ToolCall, reason: Reason, detail: str
) -> None:
    assert score([TEA], [call]) == Score(False, reason, detail)
    right = ToolCall("f", {"a": 2})
    assert score([TEA, TEA], [call, right]) == Score(False, reason, detail)


def test_calls_are_paired_so_that_all_fit_if_they_can() -> None:
    wide, narrow = AnyOf("f", {"a": 1}, {"a": (1, 2)}), AnyOf("f", {"a": 1}, {"a": (1,)})
    one, two = ToolCall("f", {"a": 1}), ToolCall("f", {"a": 2})
    for reference in ([wide, narrow], [narrow, wide]):
        assert score(reference, [one, two]).correct
        assert score(reference, [two, one]).correct
        assert not score(reference, [two, two]).correct


def test_text_is_folded_only_where_asked() -> None:
    reference = [ToolCall("f", {"a": 1, "b": "It's 4.30 p.m., St_Paul-Str. ^*/"})]
    call = [ToolCall("f", {"a": 1, "b": 'it"s430pmstpaulstr'})]
    assert not score(reference, call).correct
    assert score(reference, call, Switches(fold_text=True)).correct
    other = [ToolCall("f", {"a": 1, "b": 'it"s430pmstpaulstr!'})]
    assert not score(reference, other, Switches(fold_text=True)).correct
    number = [ToolCall("f", {"a": "1.5", "b": "x"})]
    assert not score(number, [ToolCall("f", {"a": 15, "b": "x"})], Switches(fold_text=True)).correct


def test_a_samples_digest_has_the_alternatives_in_it() -> None:
    task = Task("t/0", tuple(TOOLS), "instruction", "input")
    samples = [
        Sample(task, answer_with([call]))
        for call in (
            ToolCall(TEA.name, TEA.arguments),
            TEA,
            replace(TEA, optional=()),
            replace(TEA, allowed={"a": (1, 3), "b": ("tea", "green tea")}),
        )
    ]
    assert len({sample.digest for sample in samples}) == len(samples)
    assert all(pickle.loads(pickle.dumps(sample)) == sample for sample in samples)
    assert TEA.as_json() == {"name": "f", "arguments": {"a": 1}}


def test_an_answer_holds_alternatives_as_json() -> None:
    answer = answer_with([TEA, ToolCall("g", {"a": 1})])
    assert calls_in(answer) == (TEA, ToolCall("g", {"a": 1}))
    assert Answer.of(json.loads(json.dumps(answer.value))) == answer
