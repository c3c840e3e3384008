"""Calls in every notation, unreadable attempts, and prose without calls (rule 1)."""

from __future__ import annotations

import json
import pickle

import pytest
from answering import read, samples, verdict
from notations import NOTATIONS, body

from ttsi.answers.calls import Switches
from ttsi.answers.calls.match import score_calls
from ttsi.answers.calls.parse import parse_calls
from ttsi.answers.calls.predicted import of_text
from ttsi.answers.calls.values import ToolCall, answer_with, calls_in
from ttsi.answers.numbers import Untyped
from ttsi.types import JSON, AnswerStatus, Sample, Tool

CODE = ["sealtool", "bfcl"]


def replayed(benchmark: str) -> list[Sample]:
    return list(samples(benchmark).values())[::13]


@pytest.mark.parametrize("name", NOTATIONS)
@pytest.mark.parametrize("benchmark", CODE)
def test_references_are_right_in_every_notation(benchmark: str, name: str) -> None:
    write = NOTATIONS[name]
    asked = [sample for sample in replayed(benchmark) if calls_in(sample.reference)]
    assert len(asked) > 20
    wrong = {
        sample.id: (score, write(calls_in(sample.reference)))
        for sample in asked
        if not (score := verdict(sample, write(calls_in(sample.reference)))).correct
    }
    assert wrong == {}


def seen(text: str) -> tuple[AnswerStatus, list[ToolCall]]:
    """Return status and calls, with values without a type converted to what they look like."""
    status, calls = read(text)
    return status, [
        ToolCall(
            call.name,
            {k: v.value if isinstance(v, Untyped) else v for k, v in call.arguments.items()},
        )
        for call in calls
    ]


@pytest.mark.parametrize("name", NOTATIONS)
def test_in_every_notation_two_calls_hedges_and_attempts_count(name: str) -> None:
    write = NOTATIONS[name]
    one = ToolCall("f", {"a": 1, "q": "x (y) [z], {w}: it's", "n": {"l": [1, [2, {"k": None}]]}})
    other = ToolCall("g", {"empty": [], "o": {}})
    assert seen(write([one])) == (AnswerStatus.OK, [one])
    assert seen(write([one, other])) == (AnswerStatus.OK, [one, other])
    thought = f"<think>Perhaps {write([other])}</think>\n"
    assert seen(thought + write([one])) == (AnswerStatus.OK, [one])
    hedge = f"{write([one])}\nOr else:\n{write([other])}"
    assert seen(hedge) == (AnswerStatus.OK, [one, other])
    mixed = f"{write([one])}\nOr else:\n{body(other)}"
    assert seen(mixed) == (AnswerStatus.OK, [one, other])
    declined = f"No filter ([]): so\n{write([one])}\n[]"
    assert seen(declined) == (AnswerStatus.OK, [one])


@pytest.mark.parametrize("name", NOTATIONS)
def test_in_every_notation_a_call_cut_short_is_never_a_refusal_nor_fewer_calls(name: str) -> None:
    write = NOTATIONS[name]
    calls = [ToolCall("f", {"a": 1, "q": "it is [here]"}), ToolCall("g", {"b": [1, 2]})]
    text = write(calls)
    begun = text.index("f", text.index("name") if '"name"' in text else 0)
    for cut in range(begun, len(text)):
        status, calls_seen = seen(text[:cut])
        assert status is not AnswerStatus.DECLINED or not _attempted(text[:cut]), text[:cut]
        assert calls_seen in ([], calls[:1], calls), text[:cut]
        if calls_seen == calls[:1]:
            # Only what stands by itself is whole without what follows.
            assert text[:cut].count("g") <= text[: text.index("1")].count("g") + 40


def _attempted(text: str) -> bool:
    return any(f"f{then}" in text for then in ("(", "{", "[ARGS]", ">", '": {'))


MALFORMED = [
    "f(1)",
    'f("Oslo")',
    "f(a=1, 2)",
    "f(a=g(b=2))",
    "f(a=b)",
    "f(a=1",
    "f(a=1, a=2)",
    "f(a=1 + 1)",
    "f(a=[1, 2)",
    "f(**{'a': 1})",
    "f(a: 1)",
    "[f(a=1), oops]",
    "[f(a=1), g(]",
    "f.call(a=1)",
    "f[ARGS]",
    "f[ARGS]{",
    "f{a: 1}",
    'f: {"a": 1}',
    "f{",
    "<f>",
    "<f><a>1</a></f>",
    "<function=f>",
    "<function=f><parameter=a>1</parameter>",
    "<function=f><parameter=a>1",
    '<function=f>{"a": </function>',
    '<invoke name="f"><parameter name="a">1</parameter>',
    "Action: f",
    "Action: f\nAction Input: Oslo",
    'Action: f\nAction Input: {"a": ',
    '{"f": 3}',
    '{"f": [1]}',
    '[{"f": {"a": 1}}, {"h": {}}]',
    '{"action": "f", "action_input": {"a": 1}}',
    '{"call": {"f": {"a": 1}}}',
    '{f: {"a": 1}}',
    "<tool_call>f</tool>",
    "<tool_call>h",
    "[TOOL_CALLS]f",
    "[TOOL_CALLS]f[ARGS]",
    "<|python_tag|>import os",
    "<|tool_call>call:f{a:1}<tool_call|>",
    "<|channel|>commentary to=functions.f <|constrain|>json",
    "functions.f(1)",
]


@pytest.mark.parametrize("text", MALFORMED)
def test_an_attempt_that_cannot_be_read_is_never_a_refusal_nor_dropped(text: str) -> None:
    good = '{"name": "g"}'
    for whole in (
        text,
        f"Sure: {text}" if not text.startswith("Action") else f"Sure:\n{text}",
        f"{good}\n{text}",
        f"{text}\nor\n{good}",
        f"[]\n{text}",
        f"<think>{good}</think>\n{text}",
    ):
        assert read(whole) == (AnswerStatus.UNPARSABLE, []), whole


F1 = ToolCall("f", {"a": 1})
PROSE = [
    "I cannot use f (it is closed).",
    "f is not what you want, nor is g.",
    "The tool `f` takes a city, **g** nothing.",
    'The tools are "f" and "g": none fits.',
    "None of [f, g] fits.",
    'Of ["f", "g"] neither fits.',
    "of(a=1) and f2(a=1) and g-f(a=1) are other functions, sqrt(4) too.",
    "Is a < f > b? See </f>.",
    "h(a=1) [h(a=1)] {'h': {'a': 1}}",
    '{"name": "Oslo", "population": 700000}',
    '{"user": {"name": "Bob", "tags": ["x"]}}',
    "Action: none\nI cannot help.",
    "Action: Final Answer\nAction Input: It rains.",
    "Reaction: f",
    "A thought: I think, therefore [I am] {here}.",
    "f  (see: a = 1)",
    "`f`(closed) and **g** (closed)",
]


@pytest.mark.parametrize("text", PROSE)
def test_prose_that_names_tools_is_no_call(text: str) -> None:
    assert read(text) == (AnswerStatus.DECLINED, [])
    assert read(f"{text}\n{body(F1)}") == (AnswerStatus.OK, [F1])
    declined = parse_calls(f"{text} []", ("f", "g"))
    assert (declined.status, declined.calls) == (AnswerStatus.OK, ())


SPOKEN = {
    "f (a=1)": F1,
    "f ()": ToolCall("f", {}),
    "`f`(a=1)": F1,
    "**f**(a=1)": F1,
    "f(a=1,)": F1,
    "f(\n    a=1,\n)": F1,
    "result = await f(a=1)": F1,
    "tools.f(a=1)": F1,
    "functions.f(a=1)": F1,
    "f(a=(1, 2), b=(1,), c=(1), d=())": ToolCall("f", {"a": [1, 2], "b": [1], "c": 1, "d": []}),
    "f(a=-1.5, b=True, c=None, d='x', e={'k': [1]})": ToolCall(
        "f", {"a": -1.5, "b": True, "c": None, "d": "x", "e": {"k": [1]}}
    ),
    "[f(annual_income=[])]": ToolCall("f", {"annual_income": []}),
    'f\n{"a": 1}': F1,
    'I will call f\n{"name": "f", "arguments": {"a": 1}}': F1,
    'I will call f: {"name": "f", "arguments": {"a": 1}}': F1,
    '{"f": "{\\"a\\": 1}"}': F1,
    "other.f(a=1)": ToolCall("other.f", {"a": 1}),
    "<tool_call>h(a=1)</tool_call>": ToolCall("h", {"a": 1}),
    "<function=h>{}</function>": ToolCall("h", {}),
    "<tool_call>f\n</tool_call>": ToolCall("f", {}),
}


@pytest.mark.parametrize(("text", "call"), SPOKEN.items())
def test_what_is_spoken_is_read(text: str, call: ToolCall) -> None:
    assert read(text) == (AnswerStatus.OK, [call])


def test_names_with_dots_and_hyphens_and_names_that_begin_others() -> None:
    names = ("a.b", "get-it", "get", "get_it", "b")
    for name in names:
        text = f"{name}(x=1)"
        assert read(text, *names) == (AnswerStatus.OK, [ToolCall(name, {"x": 1})])
    assert read("a_b(x=1)", *names) == (AnswerStatus.OK, [ToolCall("a_b", {"x": 1})])


def test_without_names_only_what_is_a_call_by_itself_is_read() -> None:
    assert parse_calls("f(a=1)").status is AnswerStatus.DECLINED
    assert parse_calls("<tool_call>f(a=1)</tool_call>").calls == (F1,)


def test_what_is_attempted_where_nothing_is_wanted_is_wrong() -> None:
    refused = [s for s in samples("bfcl").values() if not calls_in(s.reference)][::9]
    assert len(refused) > 20
    for sample in refused:
        call = ToolCall(sample.task.tool_names[0], {"x": 5})
        for name, write in NOTATIONS.items():
            assert not verdict(sample, write([call])).correct, (sample.id, name)
        for text in MALFORMED:
            named = text.replace("f", call.name) if text in ("f(1)", "f{", 'f: {"a": 1}') else ""
            assert not named or not verdict(sample, named).correct
        for text in ("[]", "", "I cannot.", f"{call.name} (which I have) does not do that."):
            assert verdict(sample, text).correct, (sample.id, text)


# ---------------------------------------------------------------- rows inside a tag

RIGHT = ToolCall("f", {"a": 1})
ROWS = [
    "<function_calls>\nf(a=1)\nbogus(b=2)\n</function_calls>",
    '[TOOL_CALLS]f[ARGS]{"a":1}bogus[ARGS]{"b":2}',
    '<tool_call>f{"a":1}\nbogus{"b":2}</tool_call>',
    "<|tool_call_start|>f(a=1), bogus(b=2)<|tool_call_end|>",
    '<tool_call>{"name":"f","arguments":{"a":1}}\nbogus(b=2)</tool_call>',
    '<tool_call>{"name":"f","arguments":{"a":1}}\n<function=bogus>{"b":2}</function></tool_call>',
    '<tool_call>f(a=1); {"name":"bogus","arguments":{"b":2}}</tool_call>',
]


@pytest.mark.parametrize("text", ROWS)
def test_every_call_of_a_row_in_a_tag_counts(text: str) -> None:
    assert read(text) == (AnswerStatus.OK, [RIGHT, ToolCall("bogus", {"b": 2})])
    broken = text.replace("bogus(b=2)", "bogus(2)").replace('{"b":2}', '{"b":')
    assert read(broken)[0] is AnswerStatus.UNPARSABLE, broken


# ---------------------------------------------------------------- values without a type

TYPES = {
    "s": ["2022", "[1, 2, 3]", "true", "None", "1.10", '{"a": 1}', "null"],
    "i": [7],
    "b": [True],
    "l": [[1, 2]],
    "o": [{"k": "v"}],
    "free": ["12"],
}
UNTYPED_TOOL = Tool(
    "f",
    "",
    {
        "type": "object",
        "properties": {
            "s": {"type": "string"},
            "i": {"type": "integer"},
            "b": {"type": "boolean"},
            "l": {"type": "array", "items": {"type": "integer"}},
            "o": {"type": "object"},
            "free": {},
            "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
    },
)


@pytest.mark.parametrize("coerce", [True, False])
@pytest.mark.parametrize("name", ["qwen coder", "invoke", "glm"])
@pytest.mark.parametrize(("key", "value"), [(k, v) for k, all in TYPES.items() for v in all])
def test_a_value_without_a_type_has_the_type_that_the_schema_declares(
    name: str, key: str, value: JSON, coerce: bool
) -> None:
    right = ToolCall("f", {key: value})
    answer = of_text(NOTATIONS[name]([right]), ["f"])
    switches = Switches(coerce=coerce)
    assert score_calls([UNTYPED_TOOL], [right], answer, switches).correct
    other = [ToolCall("f", {key: "1" if isinstance(value, str) else "x"})]
    assert not score_calls([UNTYPED_TOOL], other, answer, switches).correct


def test_a_value_without_a_type_is_the_text_in_records_and_null_is_left_out() -> None:
    text = "<function=f><parameter=either>null</parameter><parameter=s>2022</parameter></function>"
    (call,) = parse_calls(text, ["f"]).calls
    assert json.dumps(call.as_json()["arguments"]) == '{"either": "null", "s": "2022"}'
    assert pickle.loads(pickle.dumps(call)).arguments["either"].value is None
    answer = answer_with([call])
    for right in ({"s": "2022"}, {"s": "2022", "either": None}):
        reference = [ToolCall("f", right)]
        assert score_calls([UNTYPED_TOOL], reference, answer, Switches()).correct
