"""How answers are read on real tasks: thoughts, numbers, files of answers (rule 1).

The cases are read from the shared folder, so that no benchmark row is stored here.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from answering import CASES, read, samples, shared, verdict

from ttsi.answers.calls import Switches
from ttsi.answers.calls.match import score_calls
from ttsi.answers.calls.parse import parse_calls
from ttsi.answers.calls.predicted import of_text
from ttsi.answers.calls.values import Reason, ToolCall, answer_with, calls_in
from ttsi.cli.main import main
from ttsi.types import AnswerStatus, Sample, Tool


def test_every_shared_case_has_the_right_verdict() -> None:
    cases = json.loads(shared("answers.json"))
    assert len(cases) >= 17
    for case in cases:
        score = verdict(samples(case["benchmark"])[case["id"]], case["text"])
        assert score.correct == case["right"], (case["text"], case["note"], score)


# ---------------------------------------------------------------- thoughts

WRAPPED = [
    "<think>{}</think>",
    "<thinking>{}</thinking>",
    "<THINK>{}</THINK>",
    "<Thought>{}</Thought>",
    "<reasoning>{}</reasoning>",
    "<reflection>{}</reflection>",
    "<scratchpad>{}</scratchpad>",
    "<seed:think>{}</seed:think>",
    "[THINK]{}[/THINK]",
    "<|START_THINKING|>{}<|END_THINKING|>",
    "<|begin_of_thought|>{}<|end_of_thought|>",
    "◁think▷{}◁/think▷",
    "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>",
    "<|channel|>analysis<|message|>{}<|channel|>final<|message|>",
    "<|channel>thought\n{}<channel|>",
    "Here is my thought process: {}\nHere is my response:",
]
OPENINGS = [text.partition("{}")[0] for text in WRAPPED]
LONE_CLOSINGS = [text.partition("{}")[2] for text in WRAPPED[:12]]

IDEAS = [
    "\nOne call will do.\n",
    "\nFirst CALLS; no, OTHER.\n",
    "\nI must write OPENER and close it.\n",
    '\nPerhaps {"name": "TOOL", "arguments": {"a": "it\'s\n',
    "\nTOOL(a=1) or [TOOL(a=1)]? Or []?\n",
    "\nAction: TOOL\nAction Input: {}\n",
    "\nThe 5\" pipe isn't here: [1, {2\n",
]


def gold(sample: Sample) -> str:
    return json.dumps([call.as_json() for call in calls_in(sample.reference)])


def idea(text: str, sample: Sample) -> str:
    other = json.dumps(
        [call.as_json() | {"arguments": {"x": 1}} for call in calls_in(sample.reference)]
    )
    for word, meant in (
        ("CALLS", gold(sample)),
        ("OTHER", other),
        ("TOOL", sample.task.tool_names[0]),
        ("OPENER", "<tool_call>"),
    ):
        text = text.replace(word, meant)
    return text


THINKERS = ["sealtool/1", "sealtool/3", "bfcl/parallel/0", "bfcl/irrelevance/4"]


@pytest.mark.parametrize("thought", IDEAS)
@pytest.mark.parametrize("wrapped", WRAPPED)
def test_what_is_thought_is_not_said(wrapped: str, thought: str) -> None:
    for id in THINKERS:
        sample = samples(id.split("/")[0])[id]
        before, _, closed = wrapped.partition("{}")
        inside = idea(thought, sample)
        for answer in (gold(sample), f"Sure:\n```json\n{gold(sample)}\n```"):
            assert verdict(sample, before + inside + closed + "\n\n" + answer).correct, id
        refused = verdict(sample, before + inside + closed + "\n\nNone of the tools can do that.")
        assert refused.correct == (not calls_in(sample.reference))


@pytest.mark.parametrize("thought", IDEAS)
@pytest.mark.parametrize("closing", LONE_CLOSINGS)
def test_a_thought_may_begin_in_the_prompt(closing: str, thought: str) -> None:
    for id in THINKERS:
        sample = samples(id.split("/")[0])[id]
        assert verdict(sample, idea(thought, sample) + closing + "\n\n" + gold(sample)).correct, id


@pytest.mark.parametrize("opening", OPENINGS)
def test_a_thought_that_is_not_closed_is_no_answer(opening: str) -> None:
    for id in THINKERS:
        sample = samples(id.split("/")[0])[id]
        for said in (gold(sample), "No tool is needed.", ""):
            assert verdict(sample, opening + said).reason is Reason.UNPARSABLE
        after = f"{gold(sample)}\n{opening} or is it"
        assert verdict(sample, after).reason is Reason.UNPARSABLE


HTML = Tool(
    "publish",
    "",
    {"type": "object", "properties": {"html": {"type": "string"}}, "required": ["html"]},
)


@pytest.mark.parametrize(
    "html", ["<b></think>", "a</think>b", "<think>", "</think>\n", "<think>x</think>", "[/THINK]"]
)
def test_the_mark_of_a_thought_in_an_argument_is_text(html: str) -> None:
    call = ToolCall("publish", {"html": html})
    written = json.dumps(call.as_json())
    for text in (
        written,
        f"<tool_call>{written}</tool_call>",
        f"Sure: [{written}] Done.",
        f"publish(html={html!r})",
        f"<think>Well</think>{written}",
        f"Well</think>\n{written}",
        json.dumps([call.as_json(), call.as_json()]),
        f"<function=publish>{json.dumps(call.arguments)}</function>",
    ):
        status, calls = read(text)
        assert status is AnswerStatus.OK
        assert calls[-1] == call
        assert len(calls) == text.count(written) or len(calls) == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "publish", "arguments": {"html": "<b></think>", oops}}',
        '{"name": "publish", "arguments": {"html": "<b></think> and it was cut off he',
        'publish(html="</think>", oops)',
        '<tool_call>{"name": "publish", "arguments": {"html": "a</think>b"}, </tool_call>',
    ],
)
def test_the_mark_of_a_thought_does_not_hide_a_broken_call(text: str) -> None:
    assert read(text) == (AnswerStatus.UNPARSABLE, [])


# ---------------------------------------------------------------- numbers that are text

LITERALS = [
    "1.10",
    "1e3",
    "1E3",
    "250.00",
    "5020",
    "5.0",
    "-0",
    "0.10",
    "12345678901234567890",
    "12345678901234567890.0",
    "100000000000000000000000.50",
    "-1.50",
]
DESK = Tool(
    "f",
    "",
    {
        "type": "object",
        "properties": {
            "code": {"type": "string"},
            "codes": {"type": "array", "items": {"type": "string"}},
            "box": {"type": "object", "properties": {"code": {"type": "string"}}},
            "n": {"type": "number"},
        },
    },
)


def scores(reference: ToolCall, text: str) -> bool:
    return score_calls([DESK], [reference], of_text(text, ("f",)), Switches()).correct


@pytest.mark.parametrize("number", LITERALS)
def test_a_number_for_a_string_keeps_its_text(number: str) -> None:
    wanted = ToolCall(
        "f",
        {"code": number, "codes": ["x", number], "box": {"code": number}, "n": json.loads(number)},
    )
    listed, boxed = f'["x", {number}]', f'{{"code": {number}}}'
    inside = f'{{"code": {number}, "codes": {listed}, "box": {boxed}, "n": {number}}}'
    for text in (
        f'[{{"name": "f", "arguments": {inside}}}]',
        json.dumps({"name": "f", "arguments": inside}),
        f"f(code={number}, codes=['x', {number}], box={{'code': {number}}}, n={number})",
        f"<function=f><parameter=code>{number}</parameter><parameter=codes>"
        f'["x", {number}]</parameter><parameter=box>{{"code": {number}}}</parameter>'
        f"<parameter=n>{number}</parameter></function>",
    ):
        assert scores(wanted, text), text
    other = ToolCall("f", wanted.arguments | {"code": number + "0"})
    assert not scores(other, f'[{{"name": "f", "arguments": {inside}}}]')


def test_numbers_that_keep_their_text_are_numbers() -> None:
    import copy
    import pickle

    text = '{"name": "f", "arguments": {"x": [1.10, 1e3, +7, 5.0, 5]}}'
    (call,) = parse_calls(text).calls
    assert call.arguments["x"] == [1.1, 1000.0, 7, 5.0, 5]
    assert [hash(n) for n in call.arguments["x"]] == [hash(n) for n in (1.1, 1000.0, 7, 5.0, 5)]
    assert json.dumps(call.as_json()) == (
        '{"name": "f", "arguments": {"x": [1.1, 1000.0, 7, 5.0, 5]}}'
    )
    for again in (copy.deepcopy(call), pickle.loads(pickle.dumps(call))):
        assert [n.literal for n in again.arguments["x"][:3]] == ["1.10", "1e3", "+7"]


def test_the_shared_rows_of_numbers_have_the_right_verdicts() -> None:
    rows = {row["id"]: row for row in json.loads(shared("number-text-rows.json"))}
    right = {}
    for line in shared("number-text-predictions.jsonl").splitlines():
        answer = json.loads(line)
        row = rows[answer["id"]]
        tools = [Tool(t["name"], "", t["parameters"]) for t in row["tools"]]
        reference = [ToolCall(c["name"], c["arguments"]) for c in row["reference"]]
        said = of_text(answer["text"], [tool.name for tool in tools])
        right[answer["id"]] = score_calls(tools, reference, said, Switches()).correct
    # The last one says 1.10 where 1.1 is wanted.
    assert right == {f"desk/{at}": at < 4 for at in range(5)}


# ---------------------------------------------------------------- files of answers


def scored(name: str, benchmark: str, capsys: pytest.CaptureFixture[str], *more: str) -> Any:
    arguments = ["score", str(CASES / name), "--benchmark", benchmark, "--subset", "--json"]
    assert main([*arguments, *more]) == 0
    return json.loads(capsys.readouterr().out)


def test_one_malformed_answer_of_a_file_is_unparsable(capsys: pytest.CaptureFixture[str]) -> None:
    results = scored("07-api-calls-one-malformed.jsonl", "sealtool", capsys)
    assert (results["samples"], results["correct"]) == (3, 2)
    assert results["reasons"] == {"unparsable": 1}


def test_names_that_an_api_rewrote_count_in_bfcl(capsys: pytest.CaptureFixture[str]) -> None:
    file = "17-dots-as-underscores.jsonl"
    assert scored(file, "bfcl", capsys)["correct"] == 3
    strict = scored(file, "bfcl", capsys, "--scorer-option", "rewritten_names=false")
    assert strict["reasons"] == {"wrong_name": 3}


def test_a_rewritten_name_counts_only_where_it_means_one_tool() -> None:
    tools = [
        Tool(name, "", {"type": "object"}) for name in ("a.b", "a-c", "x.y", "x_y", "p.q", "p q")
    ]
    switches = Switches(rewritten_names=True)

    def right(wanted: str, said: str) -> bool:
        answer = answer_with([ToolCall(said, {})])
        return score_calls(tools, [ToolCall(wanted, {})], answer, switches).correct

    assert right("a.b", "a_b")
    assert right("a.b", "a.b")
    assert right("x_y", "x_y")
    assert not right("x.y", "x_y")
    assert not right("p.q", "p_q")
    assert not right("a-c", "a_c")


# ---------------------------------------------------------------- attempts of many habits

CALL = ToolCall("f", {"a": 1})
HABITS = [
    '<|channel|>commentary to=f <|constrain|>json<|message|>{"a":1}',
    '<｜DSML｜function_calls>\n<｜DSML｜invoke name="f">{"a": 1}</｜DSML｜invoke>\n'
    "</｜DSML｜function_calls>",
    json.dumps('{"name": "f", "arguments": {"a": 1}}'),
    json.dumps('[{"name": "f", "arguments": {"a": 1}}]'),
    '{"functions.f": {"a": 1}}',
    '{"name": "functions.f", "arguments": {"a": 1}}',
    '`f`\n```json\n{"a": 1}\n```',
    '**f**\n{"a": 1}',
    "f\n(a=1)",
    '<tool_call name="f">{"a": 1}</tool_call>',
    '<function_call name="f">{"a": 1}</function_call>',
    '1. Action: f\nAction Input: {"a": 1}',
    '- Action: f\nAction Input: {"a": 1}',
    '> Action: f\n> Action Input: {"a": 1}',
    'Action 1: f\nAction Input 1: {"a": 1}',
    'Tool: f\nArguments: {"a": 1}',
    '**Function:** `f`\n**Parameters:**\n```json\n{"a": 1}\n```',
]
UNREADABLE = [
    r"{\"name\": \"f\", \"arguments\": {\"a\": 1}}",
    '{\n// the call\n"name": "f", "arguments": {"a": 1}}',
    '{/* the call */ "f": {"a": 1}}',
    "Action: f[Oslo]",
    "f.run(a=1)",
    'f.invoke({"a": 1})',
    '{"tool_calls": ["f"]}',
    '[["f", {"a": 1}]]',
    '{"tool_calls": [["functions.f", {"a": 1}]]}',
    r"f\(a=1\)",
]
MENTIONS = [
    "The tool f does not help here.",
    "`f` needs a city (which you did not give).",
    "I have `f`\nand (maybe) more.",
    "Tool: f\nThis does not help.",
    "f\n(which needs a city)",
    'The tools are ["f", "g"], `f`\n\nneeds "a city".',
    "1. Action: none\n2. f: searches",
    'He wrote "{\\"city\\": \\"Oslo\\"}" to me.',
    '{"// f": 1}',
    "Send it to=Oslo.",
]


@pytest.mark.parametrize("text", HABITS)
def test_a_call_in_a_habit_of_models_is_read(text: str) -> None:
    assert read(text) == (AnswerStatus.OK, [CALL])


@pytest.mark.parametrize("text", UNREADABLE)
def test_an_attempt_in_a_habit_of_models_is_never_no_call(text: str) -> None:
    assert read(text)[0] is AnswerStatus.UNPARSABLE


@pytest.mark.parametrize("text", MENTIONS)
def test_a_name_in_prose_is_no_call(text: str) -> None:
    assert read(text)[0] is AnswerStatus.DECLINED


def test_a_name_is_read_in_other_spellings() -> None:
    spelt = r"draw\_circle(a=1)"
    assert read(spelt, "draw_circle") == (AnswerStatus.OK, [ToolCall("draw_circle", {"a": 1})])
    assert read('{"name": "functions.f"}') == (AnswerStatus.OK, [ToolCall("f", {})])


@pytest.mark.parametrize(
    "thought",
    [
        "<thinking>hm</think>",
        "<think>f(b=2)</reasoning>",
        "<think><reflection>hm</reflection> f(b=2)</thinking>",
        "<THINK>hm</Thought>",
    ],
)
def test_a_thought_closes_with_another_word_of_its_family(thought: str) -> None:
    assert read(f"{thought} f(a=1)") == (AnswerStatus.OK, [CALL])


def test_what_closes_an_inner_thought_does_not_close_the_outer() -> None:
    text = "<think>hm <reflection>no</reflection> f(a=1)"
    assert read(text)[0] is AnswerStatus.UNPARSABLE
