"""Calls against the reference: right or wrong, and the first reason why not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ttsi.answers.calls import Switches
from ttsi.answers.calls.match import canonical_calls, score_calls
from ttsi.answers.calls.values import Reason, ToolCall, answer_with
from ttsi.answers.form import MAX_DETAIL
from ttsi.types import DECLINED, UNPARSABLE, Answer, Score, Tool

TOOL = Tool(
    "f",
    "a tool with a parameter of each type",
    {
        "type": "object",
        "properties": {
            "i": {"type": "integer"},
            "n": {"type": "number"},
            "b": {"type": "boolean"},
            "s": {"type": "string"},
            "l": {"type": "array", "items": {"type": "number"}},
            "o": {"type": "object"},
            "any": {},
            "d": {"type": "integer", "default": 7},
        },
    },
)


def call(name: str = "f", **arguments: Any) -> ToolCall:
    return ToolCall(name, arguments)


def score(
    reference: list[ToolCall], calls: list[ToolCall], switches: Switches | None = None
) -> Score:
    return score_calls([TOOL], reference, answer_with(calls), switches or Switches())


EQUAL = [
    ({"i": 3}, {"i": 3.0}),
    ({"i": 3}, {"i": "3"}),
    ({"i": 1000}, {"i": 1e3}),
    ({"n": 40.7}, {"n": "40.7"}),
    ({"n": 1}, {"n": 1.0}),
    ({"n": 0.0}, {"n": -0.0}),
    ({"n": 1e3}, {"n": 1000}),
    ({"b": True}, {"b": "True"}),
    ({"s": "5"}, {"s": 5}),
    ({"s": "Oslo"}, {"s": " Oslo\n"}),
    ({"s": "caf\u00e9"}, {"s": "cafe\u0301"}),
    ({"l": [1, 2]}, {"l": [1.0, "2"]}),
    ({"l": "[1, 2]"}, {"l": [1, 2]}),
    ({"o": {"a": 1, "b": [2]}}, {"o": {"b": [2.0], "a": 1}}),
    ({"o": "{'a': 1}"}, {"o": {"a": 1}}),
    ({"any": 1}, {"any": 1.0}),
    ({}, {"d": 7}),
    ({"d": 7}, {}),
    ({"d": "7"}, {"d": None}),
    ({}, {"s": None}),
]

UNEQUAL = [
    ({"i": 1}, {"i": 1.9}),
    ({"i": 1}, {"i": "1.9"}),
    ({"i": 1}, {"i": True}),
    ({"i": 3}, {"i": -3}),
    ({"i": 7}, {"i": "007"}),
    ({"i": 2**53}, {"i": 2**53 + 1}),
    ({"i": 2**53}, {"i": 2.0**53}),
    ({"n": 3.5}, {"n": 35}),
    ({"n": 3.14}, {"n": 3}),
    ({"n": 1}, {"n": True}),
    ({"b": True}, {"b": 1}),
    ({"b": False}, {"b": 0}),
    ({"b": True}, {"b": "yes"}),
    ({"s": "-5"}, {"s": "5"}),
    ({"s": "3.5"}, {"s": "35"}),
    ({"s": "Oslo"}, {"s": "oslo"}),
    ({"s": "O'Neil"}, {"s": 'O"Neil'}),
    ({"s": "a b"}, {"s": "a_b"}),
    ({"s": "A"}, {"s": "Ａ"}),
    ({"s": "007"}, {"s": 7}),
    ({"s": "5"}, {"s": 5.0}),
    ({"s": "true"}, {"s": True}),
    ({"s": ""}, {}),
    ({"s": "None"}, {"s": None}),
    ({"s": "null"}, {}),
    ({"l": [1, 2]}, {"l": [2, 1]}),
    ({"l": [1]}, {"l": [1, 1]}),
    ({"l": []}, {}),
    ({"l": [1]}, {"l": 1}),
    ({"o": {"a": True}}, {"o": {"a": 1}}),
    ({"o": {"a": {"b": True}}}, {"o": {"a": {"b": 1}}}),
    ({"o": {"a": [1]}}, {"o": {"a": {"0": 1}}}),
    ({"o": {}}, {"o": []}),
    ({"o": {"a": None}}, {"o": {}}),
    ({"any": "1"}, {"any": 1}),
    ({"any": True}, {"any": 1}),
    ({"any": True}, {"any": "true"}),
    ({"any": None}, {"any": "None"}),
    ({"any": 2**53 + 1}, {"any": float(2**53 + 2)}),
    ({"any": 0.1}, {"any": 0.1 + 1e-17 + 1e-16}),
    ({}, {"d": 8}),
    ({"x": None}, {}),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert score([ToolCall("f", one)], [ToolCall("f", other)]) == Score(True)
    assert score([ToolCall("f", other)], [ToolCall("f", one)]) == Score(True)


@pytest.mark.parametrize(("one", "other"), UNEQUAL)
def test_unequal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert not score([ToolCall("f", one)], [ToolCall("f", other)]).correct
    assert not score([ToolCall("f", other)], [ToolCall("f", one)]).correct


A, B = call(i=1), call(i=2)

REASONS: dict[str, tuple[list[ToolCall], list[ToolCall], Reason, str]] = {
    "no call": ([A], [], Reason.NO_CALL, "expected calls: 1, got none"),
    "one too many": ([A], [A, B], Reason.WRONG_COUNT, "expected calls: 1, got: 2"),
    "one twice": ([A], [A, A], Reason.WRONG_COUNT, "expected calls: 1, got: 2"),
    "one too few": ([A, B], [A], Reason.WRONG_COUNT, "expected calls: 2, got: 1"),
    "none expected": ([], [A], Reason.WRONG_COUNT, "expected calls: 0, got: 1"),
    "one twice for two": ([A, B], [A, A], Reason.WRONG_VALUE, "argument 'i': expected 2, got 1"),
    "name": ([A], [call("g", i=1)], Reason.WRONG_NAME, "expected 'f', got 'g'"),
    "name in another case": ([A], [call("F", i=1)], Reason.WRONG_NAME, "expected 'f', got 'F'"),
    "name among several": (
        [call("f", i=1), call("g"), call("h")],
        [call("h"), call("f", i=2), call("f", i=3)],
        Reason.WRONG_NAME,
        "expected 'g', got 'f'",
    ),
    "missing before extra": (
        [call(i=1, s="x")],
        [call(i=1, t="x")],
        Reason.MISSING_ARGUMENT,
        "argument 's' is missing",
    ),
    "missing before value": (
        [call(i=1, s="x")],
        [call(i=2)],
        Reason.MISSING_ARGUMENT,
        "argument 's' is missing",
    ),
    "extra before value": (
        [call(i=1)],
        [call(i=2, x=0)],
        Reason.EXTRA_ARGUMENT,
        "argument 'x' is not expected: 0",
    ),
    "value": (
        [call(i=2023)],
        [call(i="2024x")],
        Reason.WRONG_VALUE,
        "argument 'i': expected 2023, got '2024x'",
    ),
    "closest pair": (
        [call(i=1, n=1, s="a"), call(i=2, n=2, s="b")],
        [call(i=9, n=9, s="b"), call(i=2, n=2, s="c")],
        Reason.WRONG_VALUE,
        "argument 's': expected 'b', got 'c'",
    ),
}


@pytest.mark.parametrize(("reference", "calls", "reason", "detail"), REASONS.values(), ids=REASONS)
def test_first_reason(
    reference: list[ToolCall], calls: list[ToolCall], reason: Reason, detail: str
) -> None:
    assert score(reference, calls) == Score(False, reason, detail)


def test_statuses() -> None:
    def of(reference: list[ToolCall], said: Answer) -> str | None:
        return score_calls([TOOL], reference, said, Switches()).reason

    assert score([], []) == Score(True)
    assert score_calls([TOOL], [], DECLINED, Switches()).correct
    assert of([A], DECLINED) is Reason.NO_CALL
    assert of([A], answer_with([])) is Reason.NO_CALL
    assert of([A], UNPARSABLE) is Reason.UNPARSABLE
    assert of([], UNPARSABLE) is Reason.UNPARSABLE


def test_details_are_short_and_can_be_encoded() -> None:
    wrong = score([call(s="x")], [call(s="\ud800" + "y" * 10_000)])
    assert len(wrong.detail) == MAX_DETAIL
    assert wrong.detail.encode().endswith(b"...")


def test_parallel_calls_in_any_order_unless_ordered() -> None:
    ordered = replace(Switches(), ordered=True)
    assert score([A, B], [B, A]) == Score(True)
    assert score([A, B], [A, B], ordered) == Score(True)
    assert score([A, B], [B, A], ordered).reason is Reason.WRONG_VALUE
    assert score([A, call("g")], [call("g"), A], ordered).reason is Reason.WRONG_NAME


def test_a_call_that_fits_two_references_takes_nothing_from_the_other() -> None:
    """With references {1 or default} and {1}, a greedy matcher fails in one of the two orders."""
    reference = [call(d=7), call(i=1)]
    assert score(reference, [call(), call(i=1, d=7)]) == Score(True)
    assert score(reference, [call(i=1, d=7), call()]) == Score(True)


def test_names() -> None:
    dotted = [call("a.b.c")]
    assert score(dotted, [call(" a.b.c ")]) == Score(True)
    assert score(dotted, [call("c")]).reason is Reason.WRONG_NAME
    strict = replace(Switches(), trim=False)
    assert score(dotted, [call(" a.b.c ")], strict).reason is Reason.WRONG_NAME


def test_an_unknown_tool_is_compared_strictly() -> None:
    assert score([call("other", x="1")], [call("other", x="1")]) == Score(True)
    assert score([call("other", x="1")], [call("other", x=1)]).reason is Reason.WRONG_VALUE


def test_what_is_no_json_value_is_an_error_and_not_equal_to_null() -> None:
    with pytest.raises(TypeError, match="set is no JSON value"):
        score([call(any={1})], [call(any=None)])


def test_a_thousand_parallel_calls() -> None:
    calls = [call(i=i) for i in range(1000)]
    assert score(calls, calls[::-1]) == Score(True)
    wrong = [*calls[1:], call(i=-1)]
    assert score(calls, wrong).detail == "argument 'i': expected 0, got -1"
    assert not score(calls, [call(i=-i - 1) for i in range(1000)]).correct


# ---------------------------------------------------------------- references to earlier calls

FIND = call("find", q="x")
READ = call("read", q="y")


def uses(*references: str) -> ToolCall:
    return call("use", **{f"r{i}": reference for i, reference in enumerate(references)})


def test_references_are_equal_up_to_renumbering() -> None:
    reference = [FIND, READ, uses("API_call_0", "API_call_1")]
    assert score(reference, [READ, FIND, uses("API_call_1", "API_call_0")]) == Score(True)
    swapped = score(reference, [FIND, READ, uses("API_call_1", "API_call_0")])
    assert swapped.reason is Reason.WRONG_VALUE
    same_text = score(reference, [READ, FIND, uses("API_call_0", "API_call_1")])
    assert same_text.detail == "argument 'r0': 'API_call_0' refers to another call"


def test_references_through_references() -> None:
    chain = [FIND, uses("API_call_0"), uses("API_call_1")]
    assert score([READ, *_shifted(chain)], [*chain, READ]) == Score(True)
    assert not score(chain, [FIND, uses("API_call_0"), uses("API_call_0")]).correct


def _shifted(calls: list[ToolCall]) -> list[ToolCall]:
    """Return the same calls after one more call."""
    return [
        ToolCall(
            c.name,
            {
                k: f"API_call_{int(v.rpartition('_')[2]) + 1}" if v.startswith("API_call_") else v
                for k, v in c.arguments.items()
            },
        )
        for c in calls
    ]


def test_references_within_text_and_lists() -> None:
    reference = [FIND, READ, call("use", a="see API_call_1!", b=["API_call_0"])]
    assert score(
        reference, [READ, FIND, call("use", a="see API_call_0!", b=["API_call_1"])]
    ) == Score(True)


@pytest.mark.parametrize(
    "text", ["API_call_1", "API_call_9", "API_call_00", "xAPI_call_0", "API_call_0x"]
)
def test_what_refers_to_no_earlier_call_is_text(text: str) -> None:
    reference = [FIND, uses(text)]
    assert score(reference, [FIND, uses(text)]) == Score(True)
    assert not score(reference, [FIND, uses("API_call_0")]).correct


def test_a_value_cannot_pose_as_a_reference() -> None:
    digest = canonical_calls([], [FIND])
    for posing in (digest, f"('call', '{digest}')", f"API_call_{digest}"):
        assert not score([FIND, uses("API_call_0")], [FIND, uses(posing)]).correct


def test_references_as_plain_text() -> None:
    plain = replace(Switches(), renumber_references=False)
    reference = [FIND, READ, uses("API_call_0")]
    assert score(reference, [FIND, READ, uses("API_call_0")], plain) == Score(True)
    assert not score(reference, [READ, FIND, uses("API_call_1")], plain).correct


def test_long_chains_of_references_cost_no_more_than_their_length() -> None:
    chain = [FIND, *(uses(f"API_call_{i}", f"API_call_{i}") for i in range(999))]
    assert score(chain, chain) == Score(True)


# ---------------------------------------------------------------- votes


def test_canonical_calls_are_equal_for_calls_that_score_alike() -> None:
    def of(*calls: ToolCall) -> str:
        return canonical_calls([TOOL], calls)

    assert of(A, B) == of(call(i="2"), call(i=1.0, d=7))
    assert of(A, A) != of(A, B)
    assert of(A) != of(A, A)
    assert of(FIND, READ, uses("API_call_0")) == of(READ, FIND, uses("API_call_1"))
    ordered = replace(Switches(), ordered=True)
    assert canonical_calls([TOOL], [A, B], ordered) != canonical_calls([TOOL], [B, A], ordered)
