"""What an answer is taken to say, on real tasks: thoughts, notations, hedges, refusals (rule 1).

The cases of the shared folder are read from there: no row of a benchmark is kept here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ttsi import registry
from ttsi.cli import main
from ttsi.scoring import Switches
from ttsi.scoring.match import score_calls
from ttsi.scoring.parse import parse_calls
from ttsi.types import Completion, ParseStatus, Reason, Sample, Score, Tool, ToolCall

CASES = Path(os.environ["TTSI_DATA_DIR"]).parent / "cases"


def shared(name: str) -> str:
    return (CASES / name).read_text(encoding="utf-8")


@cache
def samples(benchmark: str) -> dict[str, Sample]:
    made: Any = registry.load("benchmarks", benchmark)()
    return {sample.id: sample for sample in made.samples()}


@cache
def scorer(benchmark: str) -> Any:
    made: Any = registry.load("scorers", "exact")
    return made(**registry.scoring_preset(benchmark, "exact"))


def verdict(sample: Sample, text: str) -> Score:
    parsed = parse_calls(text, sample.task.tool_names)
    answer = Completion(text, parsed.calls, parsed.status)
    score: Score = scorer(sample.id.split("/")[0]).score(sample.task, sample.reference, answer)
    return score


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
    return json.dumps([call.as_json() for call in sample.reference])


def idea(text: str, sample: Sample) -> str:
    other = json.dumps([call.as_json() | {"arguments": {"x": 1}} for call in sample.reference])
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
        assert refused.correct == (not sample.reference)


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


def read(text: str, *names: str) -> tuple[ParseStatus, list[ToolCall]]:
    parsed = parse_calls(text, names or ("publish", "f", "g"))
    return parsed.status, list(parsed.calls)


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
        assert status is ParseStatus.OK
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
    assert read(text) == (ParseStatus.UNPARSABLE, [])


# ---------------------------------------------------------------- notations


def literal(value: Any) -> str:
    return repr(value)


def python_call(call: ToolCall) -> str:
    return f"{call.name}({', '.join(f'{k}={literal(v)}' for k, v in call.arguments.items())})"


def body(call: ToolCall) -> str:
    return json.dumps(call.as_json())


def arguments(call: ToolCall) -> str:
    return json.dumps(call.arguments)


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def each(form: str) -> Callable[[Sequence[ToolCall]], str]:
    """Call after call in one form."""

    def write(calls: Sequence[ToolCall]) -> str:
        return "\n".join(
            form.replace("NAME", call.name)
            .replace("BODY", body(call))
            .replace("OBJECT", arguments(call))
            .replace("PYTHON", python_call(call))
            for call in calls
        )

    return write


def python_list(calls: Sequence[ToolCall]) -> str:
    return f"[{', '.join(map(python_call, calls))}]"


def qwen_coder(calls: Sequence[ToolCall]) -> str:
    def one(call: ToolCall) -> str:
        parameters = "".join(
            f"<parameter={key}>\n{text_of(value)}\n</parameter>\n"
            for key, value in call.arguments.items()
        )
        return f"<tool_call>\n<function={call.name}>\n{parameters}</function>\n</tool_call>"

    return "\n".join(map(one, calls))


def invoke(calls: Sequence[ToolCall]) -> str:
    def one(call: ToolCall) -> str:
        parameters = "".join(
            f'<parameter name="{key}">{text_of(value)}</parameter>'
            for key, value in call.arguments.items()
        )
        return f'<invoke name="{call.name}">{parameters}</invoke>'

    return f"<function_calls>\n{''.join(map(one, calls))}\n</function_calls>"


def glm(calls: Sequence[ToolCall]) -> str:
    def one(call: ToolCall) -> str:
        pairs = "".join(
            f"<arg_key>{key}</arg_key>\n<arg_value>{text_of(value)}</arg_value>\n"
            for key, value in call.arguments.items()
        )
        return f"<tool_call>{call.name}\n{pairs}</tool_call>"

    return "\n".join(map(one, calls))


def keyed(calls: Sequence[ToolCall]) -> str:
    return json.dumps([{call.name: call.arguments} for call in calls])


def openai(calls: Sequence[ToolCall]) -> str:
    listed = [
        {"type": "function", "function": {"name": c.name, "arguments": json.dumps(c.arguments)}}
        for c in calls
    ]
    return json.dumps({"content": None, "tool_calls": listed})


def deepseek(calls: Sequence[ToolCall]) -> str:
    inside = "".join(
        f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{c.name}\n```json\n{arguments(c)}\n```"
        "<｜tool▁call▁end｜>"
        for c in calls
    )
    return f"<｜tool▁calls▁begin｜>{inside}<｜tool▁calls▁end｜>"


def kimi(calls: Sequence[ToolCall]) -> str:
    inside = "".join(
        f"<|tool_call_begin|>functions.{c.name}:{at}<|tool_call_argument_begin|>{arguments(c)}"
        "<|tool_call_end|>"
        for at, c in enumerate(calls)
    )
    return f"<|tool_calls_section_begin|>{inside}<|tool_calls_section_end|>"


NOTATIONS: dict[str, Callable[[Sequence[ToolCall]], str]] = {
    "json list": lambda calls: json.dumps([call.as_json() for call in calls]),
    "json rows": each("BODY"),
    "fences": each("```json\nBODY\n```"),
    "tags": each("<tool_call>\nBODY\n</tool_call>"),
    "mistral, old": lambda calls: "[TOOL_CALLS]" + json.dumps([c.as_json() for c in calls]),
    "mistral": each("[TOOL_CALLS]NAME[ARGS]OBJECT"),
    "mistral with ids": each("[TOOL_CALLS]NAME[CALL_ID]a1b2[ARGS]OBJECT"),
    "llama": lambda calls: "<|python_tag|>" + "; ".join(map(body, calls)),
    "llama's functions": each("<function=NAME>OBJECT</function>"),
    "liquid": lambda calls: f"<|tool_call_start|>{python_list(calls)}<|tool_call_end|>",
    "name and object": each("NAMEOBJECT"),
    "name over object": each("NAME\nOBJECT"),
    "element": each("<NAME>OBJECT</NAME>"),
    "keyed": keyed,
    "openai": openai,
    "cohere": lambda calls: (
        "<|START_ACTION|>"
        + json.dumps([{"tool_name": c.name, "parameters": dict(c.arguments)} for c in calls])
        + "<|END_ACTION|>"
    ),
    "python": each("PYTHON"),
    "python list": python_list,
    "python in a fence": lambda calls: f"```python\n{python_list(calls)}\n```",
    "gemini": each("```tool_code\nprint(default_api.PYTHON)\n```"),
    "react": each("Action: NAME\nAction Input: OBJECT"),
    "react in a fence": each("Thought: so.\nAction: `NAME`\nAction Input:\n```json\nOBJECT\n```"),
    "gpt-oss": each(
        "<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>OBJECT<|call|>"
    ),
    "qwen coder": qwen_coder,
    "invoke": invoke,
    "glm": glm,
    "deepseek": deepseek,
    "kimi": kimi,
}
CODE = ["sealtool", "bfcl"]
AS_TEXT = {"qwen coder", "invoke", "glm"}
"""Their values are text: one for a string that looks like a number, a list or a word is taken for
it, and `bfcl` gives no type back to a value that has another."""


def replayed(benchmark: str) -> list[Sample]:
    return list(samples(benchmark).values())[::13]


@pytest.mark.parametrize("name", NOTATIONS)
@pytest.mark.parametrize("benchmark", CODE)
def test_references_are_right_in_every_notation(benchmark: str, name: str) -> None:
    write = NOTATIONS[name]
    asked = [sample for sample in replayed(benchmark) if sample.reference]
    assert len(asked) > 20
    wrong = {
        sample.id: (score, write(sample.reference))
        for sample in asked
        if not (score := verdict(sample, write(sample.reference))).correct
    }
    if name in AS_TEXT:
        assert {score.reason for score, _ in wrong.values()} <= {Reason.WRONG_VALUE}
        assert len(wrong) < 0.06 * len(asked), wrong
    else:
        assert wrong == {}


@pytest.mark.parametrize("name", NOTATIONS)
def test_in_every_notation_two_calls_hedges_and_attempts_count(name: str) -> None:
    write = NOTATIONS[name]
    one = ToolCall("f", {"a": 1, "q": "x (y) [z], {w}: it's", "n": {"l": [1, [2, {"k": None}]]}})
    other = ToolCall("g", {"empty": [], "o": {}})
    assert read(write([one])) == (ParseStatus.OK, [one])
    assert read(write([one, other])) == (ParseStatus.OK, [one, other])
    thought = f"<think>Perhaps {write([other])}</think>\n"
    assert read(thought + write([one])) == (ParseStatus.OK, [one])
    hedge = f"{write([one])}\nOr else:\n{write([other])}"
    assert read(hedge) == (ParseStatus.OK, [one, other])
    mixed = f"{write([one])}\nOr else:\n{body(other)}"
    assert read(mixed) == (ParseStatus.OK, [one, other])
    declined = f"No filter ([]): so\n{write([one])}\n[]"
    assert read(declined) == (ParseStatus.OK, [one])


@pytest.mark.parametrize("name", NOTATIONS)
def test_in_every_notation_a_call_cut_short_is_never_a_refusal_nor_fewer_calls(name: str) -> None:
    write = NOTATIONS[name]
    calls = [ToolCall("f", {"a": 1, "q": "it is [here]"}), ToolCall("g", {"b": [1, 2]})]
    text = write(calls)
    begun = text.index("f", text.index("name") if '"name"' in text else 0)
    for cut in range(begun, len(text)):
        status, read_calls = read(text[:cut])
        assert status is not ParseStatus.NO_CALL or not _attempted(text[:cut]), text[:cut]
        assert read_calls in ([], calls[:1], calls), text[:cut]
        if read_calls == calls[:1]:
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
        assert read(whole) == (ParseStatus.UNPARSABLE, []), whole


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
    assert read(text) == (ParseStatus.NO_CALL, [])
    assert read(f"{text}\n{body(F1)}") == (ParseStatus.OK, [F1])
    declined = parse_calls(f"{text} []", ("f", "g"))
    assert (declined.status, declined.calls) == (ParseStatus.OK, ())


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
    assert read(text) == (ParseStatus.OK, [call])


def test_names_with_dots_and_hyphens_and_names_that_begin_others() -> None:
    names = ("a.b", "get-it", "get", "get_it", "b")
    for name in names:
        text = f"{name}(x=1)"
        assert read(text, *names) == (ParseStatus.OK, [ToolCall(name, {"x": 1})])
    assert read("a_b(x=1)", *names) == (ParseStatus.OK, [ToolCall("a_b", {"x": 1})])


def test_without_names_only_what_is_a_call_by_itself_is_read() -> None:
    assert parse_calls("f(a=1)").status is ParseStatus.NO_CALL
    assert parse_calls("<tool_call>f(a=1)</tool_call>").calls == (F1,)


def test_what_is_attempted_where_nothing_is_wanted_is_wrong() -> None:
    refused = [s for s in samples("bfcl").values() if not s.reference][::9]
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
    parsed = parse_calls(text, ("f",))
    answer = Completion(text, parsed.calls, parsed.status)
    return score_calls([DESK], [reference], answer, Switches()).correct


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
        parsed = parse_calls(answer["text"], [tool.name for tool in tools])
        said = Completion(answer["text"], parsed.calls, parsed.status)
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
        answer = Completion("", (ToolCall(said, {}),), ParseStatus.OK)
        return score_calls(tools, [ToolCall(wanted, {})], answer, switches).correct

    assert right("a.b", "a_b")
    assert right("a.b", "a.b")
    assert right("x_y", "x_y")
    assert not right("x.y", "x_y")
    assert not right("p.q", "p_q")
    assert not right("a-c", "a_c")
