"""Text to calls: what is read or refused, and its status."""

from __future__ import annotations

import json

import pytest

from ttsi.answers.calls.parse import calls_of, parse_calls
from ttsi.answers.calls.values import ToolCall
from ttsi.answers.literals import MAX_DEPTH
from ttsi.answers.numbers import MAX_DIGITS
from ttsi.types import AnswerStatus

F = ToolCall("f", {})
G = ToolCall("g", {})
F1 = ToolCall("f", {"a": 1})

READ = {
    "list": ('[{"name": "f", "arguments": {"a": 1}}]', [F1]),
    "object": ('{"name": "f", "arguments": {"a": 1}}', [F1]),
    "no calls": ("[]", []),
    "no calls, in prose": ("None of the tools fits, so: [ ].", []),
    "two calls": ('[{"name": "f"}, {"name": "g"}]', [F, G]),
    "leading and trailing prose": ('Sure! {"name": "f"} Anything else?', [F]),
    "brackets in the prose before": ('See [this] {or that} [1]: {"name": "f"}', [F]),
    "apostrophe in the prose before": ('[ \'tis so: {"name": "f"}', [F]),
    "fence": ('Here:\n```json\n[{"name": "f"}]\n```\nDone.', [F]),
    "fence without language": ('```\n{"name": "f"}\n```', [F]),
    "two fences": ('```json\n[{"name": "f"}]\n```\n```json\n[{"name": "g"}]\n```', [F, G]),
    "two bare objects": ('{"name": "f"}\n{"name": "g"}', [F, G]),
    "objects with a semicolon": ('{"name": "f"}; {"name": "g"}', [F, G]),
    "a call further on": ('{"name": "f"} Or rather: {"name": "g"}', [F, G]),
    "a tag further on": ('{"name": "f"}\nSo:\n<tool_call>{"name": "g"}</tool_call>', [F, G]),
    "no calls, then a call": ('No filter is set ([]), so: {"name": "f"}', [F]),
    "a call, then no calls": ('{"name": "f"} Filters: [].', [F]),
    "no calls in a tag, then a call": ('<tool_call>[]</tool_call>{"name": "f"}', [F]),
    "calls inside a message": ('{"content": null, "tool_calls": [{"name": "f"}]}', [F]),
    "tag": ('<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>', [F1]),
    "two tags": (
        '<tool_call>{"name": "f"}</tool_call>\n<tool_call>{"name": "g"}</tool_call>',
        [F, G],
    ),
    "list in a tag": ('<tool_call>[{"name": "f"}, {"name": "g"}]</tool_call>', [F, G]),
    "empty list in a tag": ("<tool_call>[]</tool_call>", []),
    "objects in a row in a tag": ('<tool_call>{"name": "f"}\n{"name": "g"}</tool_call>', [F, G]),
    "objects with commas in a tag": ('<tool_call>{"name": "f"}, {"name": "g"}</tool_call>', [F, G]),
    "fence in a tag": ('<tool_call>\n```json\n{"name": "f"}\n```\n</tool_call>', [F]),
    "tag in a fence": ('```json\n<tool_call>\n{"name": "f"}\n</tool_call>\n```', [F]),
    "tag not closed": ('<tool_call>{"name": "f"}', [F]),
    "prose after a tag": ('<tool_call>{"name": "f"}</tool_call> That is {all}.', [F]),
    "opening given to the model": ('{"name": "f"}</tool_call><tool_call>{"name": "g"}', [F, G]),
    "tag in a string": (
        '[{"name": "f", "args": {"q": "<tool_call>{"}}]',
        [ToolCall("f", {"q": "<tool_call>{"})],
    ),
    "tool and parameters": ('{"tool": "f", "parameters": {"a": 1}}', [F1]),
    "api and args": ('{"api": "f", "args": {"a": 1}}', [F1]),
    "function as a name": ('{"function": "f", "arguments": {"a": 1}}', [F1]),
    "OpenAI": (
        '{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\\"a\\": 1}"}}',
        [F1],
    ),
    "arguments in a JSON string": ('{"name": "f", "arguments": "{\\"a\\": 1}"}', [F1]),
    "arguments missing": ('{"name": "f"}', [F]),
    "arguments missing beside an id": ('{"name": "f", "id": "c1", "type": "function"}', [F]),
    "arguments null": ('{"name": "f", "arguments": null}', [F]),
    "arguments blank": ('{"name": "f", "arguments": " "}', [F]),
    "keys beside arguments": ('{"thought": "hm", "name": "f", "arguments": {"a": 1}}', [F1]),
    "arguments first": ('{"arguments": {"a": 1}, "name": "f"}', [F1]),
    "dotted name": ('{"name": "a.b.c"}', [ToolCall("a.b.c", {})]),
    "trailing comma": ('[{"name": "f", "arguments": {"a": 1,},},]', [F1]),
    "data, then a call": ('{"city": "Oslo"} so {"name": "f"}', [F]),
    "Cohere": ('[{"tool_call_id": "0", "tool_name": "f", "parameters": {"a": 1}}]', [F1]),
}

UNPARSABLE = {
    "list cut short": '[{"name": "f", "arguments": {}}, {"name": "g", "argum',
    "object cut short": '{"name": "f", "arguments": {"a": ',
    "string cut short": '{"name": "f", "arguments": {"a": "Os',
    "tag cut short": '<tool_call>{"name": "f", "arg',
    "tag and nothing": "<tool_call>",
    "tag and prose": "<tool_call> I cannot say.",
    "second tag cut short": '<tool_call>{"name": "f"}</tool_call><tool_call>{"name": "g", ',
    "second object in a tag cut short": '<tool_call>{"name": "f"}{"name": "g", ',
    "tag with what is no call": '<tool_call>{"city": "Oslo"}</tool_call>',
    "good call in a broken list": '[{"name": "f"}, oops, {"name": "g"}]',
    "good call in a mixed list": '[{"name": "f"}, 3]',
    "list of lists": '[[{"name": "f"}]]',
    "calls inside another object": '{"answers": [{"name": "f"}]}',
    "template echoed, then a call": '{"name": <name>, "arguments": <object>}\n{"name": "f"}',
    "bad call, then a call": '{"name": 5} or rather {"name": "f"}',
    "call, then a bad call": '{"name": "f"}\n{"name": "g", "arguments": 3}',
    "bad call among calls in tags": '<tool_call>{"name": "f"}</tool_call><tool_call>{}</tool_call>',
    "bad call inside a message": '{"tool_calls": [{"name": "f"}, 3]}',
    "cut before the first key": "[{",
    "cut in the first key": '[{"na',
    "name is no string": '{"name": 5}',
    "name is blank": '{"name": " ", "arguments": {}}',
    "arguments are a list": '{"name": "f", "arguments": [1]}',
    "arguments are a number": '{"name": "f", "arguments": 3}',
    "arguments are broken in their string": '{"name": "f", "arguments": "{\\"a\\": "}',
    "arguments are prose": '{"name": "f", "arguments": "a is 1"}',
    "arguments beside the name": '{"name": "f", "city": "Oslo"}',
    "two names": '{"name": "f", "tool": "g", "arguments": {}}',
    "two arguments": '{"name": "f", "arguments": {}, "parameters": {"a": 1}}',
    "same argument twice": '{"name": "f", "arguments": {"a": 1, "a": 2}}',
    "same argument twice, alike": '{"name": "f", "arguments": {"a": 1, "a": 1}}',
    "same argument twice, escaped": '{"name": "f", "arguments": {"a": 1, "\\u0061": 2}}',
    "same argument twice in a string": '{"name": "f", "arguments": "{\\"a\\": 1, \\"a\\": 2}"}',
    "same key twice": '{"name": "f", "name": "g", "arguments": {}}',
    "unquoted keys": '{name: "f", arguments: {}}',
    "unescaped apostrophe": "{'name': 'f', 'arguments': {'q': 'it's'}}",
    "leading zero": '{"name": "f", "arguments": {"id": 007}}',
    "code for a value": '{"name": "f", "arguments": {"a": __import__("os").getcwd()}}',
    "arithmetic": '{"name": "f", "arguments": {"a": 1 + 1}}',
    "escape cut short": '{"name": "f", "arguments": {"a": "\\u12"}}',
    "escape beyond Unicode": '{"name": "f", "arguments": {"a": "\\UFFFFFFFF"}}',
    "comma missing": '{"name": "f" "arguments": {}}',
    "closed by the wrong bracket": '[{"name": "f"]}',
}

NO_CALL = {
    "nothing": "",
    "prose": "I cannot help with that.",
    "prose with brackets": "None [of these] {really} fits (see [1], [2]).",
    "empty object": "{}",
    "list of an empty object": "[{}]",
    "data": '{"answer": 42, "unit": ["m"]}',
    "a name without brackets": 'The parameter "name": is missing.',
    "list of words": '["f", "g"]',
    "quotes": "\"\"\"'''",
}


@pytest.mark.parametrize(("text", "calls"), READ.values(), ids=READ)
def test_reads(text: str, calls: list[ToolCall]) -> None:
    parsed = parse_calls(text)
    assert (parsed.status, list(parsed.calls)) == (AnswerStatus.OK, calls)


@pytest.mark.parametrize("text", UNPARSABLE.values(), ids=UNPARSABLE)
def test_unparsable(text: str) -> None:
    parsed = parse_calls(text)
    assert (parsed.status, parsed.calls, parsed.span) == (AnswerStatus.UNPARSABLE, (), None)


@pytest.mark.parametrize("text", NO_CALL.values(), ids=NO_CALL)
def test_no_call(text: str) -> None:
    parsed = parse_calls(text)
    assert (parsed.status, parsed.calls, parsed.span) == (AnswerStatus.DECLINED, (), None)


VALUES = {
    "python words": ("{'x': True, 'y': False, 'z': None}", {"x": True, "y": False, "z": None}),
    "python apostrophe": ("""{'x': "it's", 'y': 'it\\'s'}""", {"x": "it's", "y": "it's"}),
    "quotes in quotes": ("""{'x': 'say "hi"'}""", {"x": 'say "hi"'}),
    "mixed quotes": ("""{"x": 'a', 'y': "b"}""", {"x": "a", "y": "b"}),
    "brackets and commas in strings": (
        '{"x": "a, b=[c}", "y": "a={1}"}',
        {"x": "a, b=[c}", "y": "a={1}"},
    ),
    "json escapes": ('{"x": "\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9"}', {"x": '"\\/\b\f\n\r\té'}),
    "python escapes": ("{'x': '\\x41\\U0001F600'}", {"x": "A\U0001f600"}),
    "unknown escape keeps its backslash": ('{"x": "\\d+"}', {"x": "\\d+"}),
    "raw line break": ('{"x": "a\nb"}', {"x": "a\nb"}),
    "surrogate pair": ('{"x": "\\ud83d\\ude00"}', {"x": "\U0001f600"}),
    "lone surrogates": (
        '{"x": "a\\ud800b", "y": "\\udc00", "z": "\\ud800"}',
        {"x": "a\ufffdb", "y": "\ufffd", "z": "\ufffd"},
    ),
    "raw lone surrogate": ('{"x": "\ud800"}', {"x": "\ufffd"}),
    "words as strings": (
        '{"x": "None", "y": "null", "z": ""}',
        {"x": "None", "y": "null", "z": ""},
    ),
    "leading zeros in a string": ('{"x": "007"}', {"x": "007"}),
    "nested": ('{"x": [[], {}, [{"y": [1, [2]]}]]}', {"x": [[], {}, [{"y": [1, [2]]}]]}),
    "beyond 2**53": ('{"x": 9007199254740993}', {"x": 2**53 + 1}),
    "longest number": ('{"x": ' + "9" * MAX_DIGITS + "}", {"x": 10**MAX_DIGITS - 1}),
    "not NFC": ('{"x": "e\u0301"}', {"x": "e\u0301"}),
}


@pytest.mark.parametrize(("arguments", "value"), VALUES.values(), ids=VALUES)
def test_values(arguments: str, value: dict[str, object]) -> None:
    (call,) = parse_calls('{"name": "f", "arguments": ' + arguments + "}").calls
    assert call.arguments == value
    json.dumps(call.as_json(), ensure_ascii=False).encode()


NUMBERS = {
    "1": 1,
    "-5": -5,
    "+3": 3,
    "1.0": 1.0,
    "1e3": 1000.0,
    ".5": 0.5,
    "5.": 5.0,
    "-0": 0,
    "3.14": 3.14,
    "1E-2": 0.01,
    "0": 0,
    "0.0": 0.0,
}


@pytest.mark.parametrize(("literal", "number"), NUMBERS.items())
def test_numbers_keep_sign_and_type(literal: str, number: float) -> None:
    (call,) = parse_calls('{"name": "f", "arguments": {"x": ' + literal + "}}").calls
    assert call.arguments["x"] == number
    assert isinstance(call.arguments["x"], type(number))
    assert json.dumps(call.arguments["x"]) == json.dumps(number)


NO_NUMBERS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "-1e999",
    "9" * (MAX_DIGITS + 1),
    "0." + "1" * MAX_DIGITS,
    "007",
    "-01",
    "1_000",
    "0x10",
    "1.2.3",
    "1-2",
    "--1",
    "1e",
    "12abc",
    "٣",
]


@pytest.mark.parametrize("literal", NO_NUMBERS, ids=lambda literal: literal[:12])
def test_numbers_that_are_none(literal: str) -> None:
    text = '{"name": "f", "arguments": {"x": ' + literal + "}}"
    assert parse_calls(text).status is AnswerStatus.UNPARSABLE


def test_deepest_nesting_is_read_and_one_more_is_not() -> None:
    def nested(levels: int) -> str:
        lists = levels - 2  # the call and its arguments are two
        return '{"name": "f", "arguments": {"x": ' + "[" * lists + "]" * lists + "}}"

    assert parse_calls(nested(MAX_DEPTH)).status is AnswerStatus.OK
    assert parse_calls(nested(MAX_DEPTH + 1)).status is AnswerStatus.UNPARSABLE


def test_no_call_is_found_inside_what_is_too_deep() -> None:
    for levels in range(MAX_DEPTH, MAX_DEPTH + 80):
        text = "[" * levels + '{"name": "f"}' + "]" * levels
        assert parse_calls(text).status is AnswerStatus.UNPARSABLE, levels


SPANS = {
    "bare": ("", '[{"name": "f"}]', ""),
    "prose": ("So: ", '{"name": "f"}', " there."),
    "fence": ("```json\n", '[{"name": "f"}]', "\n```"),
    "tag": ("<tool_call>\n", '{"name": "f"}', "\n</tool_call>"),
    "fence in a tag": ("<tool_call>\n```json\n", '{"name": "f"}', "\n```\n</tool_call>"),
    "two blocks": (
        "<tool_call>",
        '{"name": "f"}</tool_call>\n<tool_call>{"name": "g"}',
        "</tool_call> Done.",
    ),
    "values in a row": ("<tool_call> ", '{"name": "f"}, {"name": "g"}', " </tool_call>"),
    "no calls": ("None: ", "[]", "."),
}


@pytest.mark.parametrize(("before", "body", "after"), SPANS.values(), ids=SPANS)
def test_span_is_the_json_without_its_wrapper(before: str, body: str, after: str) -> None:
    parsed = parse_calls(before + body + after)
    assert parsed.status is AnswerStatus.OK
    assert parsed.span == (len(before), len(before) + len(body))


def test_a_thousand_calls() -> None:
    calls = [{"name": "f", "arguments": {"i": i}} for i in range(1000)]
    assert [call.as_json() for call in parse_calls(json.dumps(calls)).calls] == calls


def test_calls_of_values() -> None:
    assert calls_of([]) == ()
    assert calls_of({"tool": "f", "parameters": {"a": 1}}) == (F1,)
    assert calls_of([{"name": "f"}, {"name": "g"}]) == (F, G)
    for no_calls in (None, 3, "f", [3], {"a": 1}, [{"name": "f"}, None], {"name": "f", "args": 1}):
        assert calls_of(no_calls) is None


def test_calls_of_values_nested_too_deep() -> None:
    deep: object = []
    for _ in range(MAX_DEPTH - 3):
        deep = [deep]
    assert calls_of({"name": "f", "arguments": {"x": deep}}) is not None
    assert calls_of({"name": "f", "arguments": {"x": [deep]}}) is None
