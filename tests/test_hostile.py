"""Hostile text: always a status, never executed, never more than linear time.

Time is counted in characters that the reader looks at (`Scan.visited`), not by a clock.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi.answers.calls import Switches
from ttsi.answers.calls.match import score_calls
from ttsi.answers.calls.parse import Parsed, Scan, parse_calls
from ttsi.answers.calls.predicted import of_text
from ttsi.answers.calls.values import ToolCall, answer_with, calls_in
from ttsi.types import AnswerStatus, Tool

VISITS = 8
"""How often a character may be looked at."""

NAMES = ("f", "get_weather", "math.hypot")
CALL = '{"name": "f", "arguments": {"a": 1}}'
TAGGED = f"<tool_call>{CALL}</tool_call>"

FAMILIES: dict[str, Callable[[int], str]] = {
    "[": lambda n: "[" * n,
    "{": lambda n: "{" * n,
    "]": lambda n: "]" * n,
    "[}": lambda n: "[}" * n,
    "[[]]": lambda n: "[" * n + "]" * n,
    "double quotes": lambda n: '"' * n,
    "single quotes": lambda n: "'" * n,
    "opened double quotes": lambda n: '["' * n,
    "opened single quotes": lambda n: "['" * n,
    "both quotes": lambda n: "[\"['" * n,
    "backslashes": lambda n: '["' + "\\" * n,
    "escaped quotes": lambda n: '["' + '\\"' * n,
    "escaped quotes, opened again": lambda n: '["\\' * n,
    "half escapes": lambda n: '{"name": "' + "\\u12" * n + '"}',
    "lone surrogates": lambda n: '{"name": "' + "\\ud800" * n + '"}',
    "raw surrogates": lambda n: '{"name": "' + "\ud800" * n + '"}',
    "white space": lambda n: "[" + " " * n + "x",
    "white space in a tag": lambda n: "<tool_call>" + " \n" * n,
    "white space after a key": lambda n: ('{"name"' + " " * 50) * (n // 50 + 1),
    "digits": lambda n: "[" + "1" * n,
    "digits and a letter": lambda n: "[" + "1" * n + "x",
    "digits everywhere": lambda n: "[" + "1" * n + "." + "1" * n + "e" + "1" * n + "x]",
    "numbers": lambda n: "[" + "1," * n,
    "leading zeros": lambda n: "[0" * n,
    "long word": lambda n: "[" + "x" * n,
    "long key": lambda n: '{"' + "k" * n,
    "keys": lambda n: '{"a"' * n,
    "call keys": lambda n: '{"name":' * n,
    "call keys and strings": lambda n: '{"name":"f",' * n,
    "call keys and lists": lambda n: '{"name":[' * n,
    "opened names": lambda n: '{"name":"' * n,
    "templates": lambda n: '{"name": <' * n,
    "broken calls": lambda n: '{"name": x}' * n,
    "broken calls with quotes": lambda n: '{"name": x "}' * n,
    "bad calls": lambda n: '{"name": 1}' * n,
    "data": lambda n: '{"a": 1}' * n,
    "lists of lists of calls": lambda n: f"[[{CALL}]]" * n,
    "wide list of calls": lambda n: "[" + f"{CALL}," * n,
    "wide list of bad calls": lambda n: "[" + f"{CALL}," * n + "1]",
    "tags": lambda n: "<tool_call>" * n,
    "halves of tags": lambda n: "<tool_call" * n,
    "closing tags": lambda n: CALL + "</tool_call>" * n,
    "tags and brackets": lambda n: "<tool_call>[" * n,
    "good tags": lambda n: TAGGED * n,
    "good tags, then a bad one": lambda n: TAGGED * n + "<tool_call>",
    "calls in one tag": lambda n: "<tool_call>" + CALL * n,
    "commas in a tag": lambda n: "<tool_call>" + CALL + " , " * n,
    "fences": lambda n: "```json\n" * n,
    "fences in tags": lambda n: "<tool_call>```json\n" * n,
    "too deep": lambda n: ("[" * 65 + "]" * 65) * (n // 65 + 1),
    "too deep, never closed": lambda n: ("[" * 65 + '"') * (n // 65 + 1),
    "too deep, then quotes": lambda n: "[" * 65 + '"' * n,
    "thoughts": lambda n: "<think>" * n,
    "thoughts closed": lambda n: "<think></think>" * n,
    "ends of thoughts": lambda n: "</think>" * n,
    "ends of thoughts in strings": lambda n: '{"name": "</think>' * n,
    "ends of thoughts in broken calls": lambda n: '{"name": "</think>", x' * n,
    "ends of thoughts in strings of both kinds": lambda n: "{'name': '</think>{\"name\": \"" * n,
    "escaped quotes and ends of thoughts": lambda n: "[{'name':x \\\"</think>" * n,
    "lists and ends of thoughts": lambda n: '["</think>",' * n,
    "thoughts and calls": lambda n: f"<think>{CALL}</think>{CALL}" * n,
    "calls, then a thought": lambda n: CALL * n + "<think>",
    "channels": lambda n: "<|channel|>analysis<|end|>" * n,
    "python calls": lambda n: "f(a=1)\n" * n,
    "python calls, opened": lambda n: "f(" * n,
    "python calls, opened, behind a thought": lambda n: "<think></think>" + "f(a=" * n,
    "python calls of others": lambda n: "[x(a=1), " * n,
    "python strings": lambda n: "x</think>[x(a='" * n,
    "long list of python calls": lambda n: "[" + "f(a=1), " * n + "]",
    "tuples": lambda n: "f(a=" + "(" * n,
    "names": lambda n: "f " * n,
    "names and brackets": lambda n: "f (" * n,
    "names and white space": lambda n: "f" + " " * n,
    "namespaces": lambda n: "f." * n + "f(",
    "names and objects": lambda n: 'f{"a": 1}' * n,
    "names and open objects": lambda n: "f{" * n,
    "names and marks": lambda n: "f[ARGS]" * n,
    "keyed": lambda n: '{"f": {"a": 1}}' * n,
    "keyed, opened": lambda n: '{"f": ' * n,
    "actions": lambda n: "Action: f\nAction Input: {}\n" * n,
    "actions without input": lambda n: "Action:" * n,
    "actions and white space": lambda n: "Action: f" + "\n" * n,
    "elements": lambda n: "<function=f>" * n,
    "parameters": lambda n: "<function=f>" + "<parameter=a>" * n,
    "many parameters": lambda n: "<function=f>" + "<parameter=a>1</parameter>" * n,
    "pairs": lambda n: "<tool_call>f" + "<arg_key>a</arg_key><arg_value>1</arg_value>" * n,
    "mistral": lambda n: "[TOOL_CALLS]f[ARGS]{}" * n,
    "recipients": lambda n: "to=functions.f" * n,
    "name in a tag and white space": lambda n: "<tool_call>f" + " " * n,
    "string of arguments": lambda n: json.dumps({"name": "f", "arguments": '{"a": ' * n}),
    "strings of arguments": lambda n: json.dumps([{"name": "f", "arguments": '{"a": 1}'}] * n),
    "spread keys": lambda n: "{" + "".join(f'"{i}":1,' for i in range(n)),
    "same keys": lambda n: '{"name": "f", "arguments": {' + '"a":1,' * n + "}}",
}


def read(text: str) -> Parsed:
    """Parse, and check the reader's guarantees for any text."""
    scan = Scan(text, NAMES)
    parsed = scan.parse()
    assert isinstance(parsed.status, AnswerStatus)
    assert scan.visited <= VISITS * len(text) + 64, (scan.visited, len(text), text[:80])
    if parsed.status is AnswerStatus.OK:
        assert parsed.span is not None
        assert 0 <= parsed.span[0] < parsed.span[1] <= len(text)
    else:
        assert (parsed.calls, parsed.span) == ((), None)
    for call in parsed.calls:
        json.dumps(call.as_json(), ensure_ascii=False, allow_nan=False).encode()
    return parsed


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_family_costs_linear_time(family: Callable[[int], str]) -> None:
    n = 2_000
    visits = []
    for text in (family(n), family(4 * n)):
        scan = Scan(text, NAMES)
        scan.parse()
        assert scan.visited <= VISITS * len(text) + 64
        visits.append(scan.visited / len(text))
    assert visits[1] <= 1.1 * visits[0] + 0.01


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("[" * 10**5, AnswerStatus.UNPARSABLE),
        ("{" * 10**5, AnswerStatus.DECLINED),
        ("[" * 10**5 + CALL + "]" * 10**5, AnswerStatus.UNPARSABLE),
        ('{"name": "f", "arguments": ' + '{"a": ' * 10**5, AnswerStatus.UNPARSABLE),
        ('"' * 2**20, AnswerStatus.DECLINED),
        ('{"name": "' + '"' * 2**20, AnswerStatus.UNPARSABLE),
        ("<tool_call>" * 10**5, AnswerStatus.UNPARSABLE),
        ("<tool_call>" * 10**5 + CALL, AnswerStatus.OK),
        ('{"name": "f", "arguments": {"a": ' + "9" * 2**20 + "}}", AnswerStatus.UNPARSABLE),
        ('{"name": "f", "arguments": {"a": "' + "x" * 2**20 + '"}}', AnswerStatus.OK),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else value.value,
)
def test_large_texts(text: str, status: AnswerStatus) -> None:
    assert read(text).status is status


MEBIBYTE = 2**20
UNITS = [
    "[",
    "{",
    "<think>",
    "<tool_call>",
    "f(",
    '"',
    "'",
    "\\",
    "Action:",
    "</think>",
    "f",
    "<",
    "`",
    " ",
]


@pytest.mark.parametrize("unit", UNITS)
def test_a_mebibyte_takes_no_time(unit: str) -> None:
    text = unit * (MEBIBYTE // len(unit))
    began = time.process_time()
    for whole in (text, "<tool_call>" + text):
        scan = Scan(whole, NAMES)
        assert scan.parse().status is not AnswerStatus.OK
        assert scan.visited <= 2 * len(whole)
    # Measured: under half a second each on an idle core. A machine of many tenants is slower.
    assert time.process_time() - began < 10


PAYLOADS = [
    "__import__('pathlib').Path('owned').touch()",
    "open('owned', 'w').close()",
    "exec(\"open('owned', 'w')\")",
    "(lambda: open('owned', 'w'))()",
    "[open('owned', 'w') for _ in '1']",
    "{open('owned', 'w'): 1}",
    "f\"{open('owned', 'w')}\"",
    "().__class__.__base__.__subclasses__()",
    "9**9**9**9",
    "'a' * 10**12",
    "!!python/object/apply:os.system ['touch owned']",
    "$(touch owned)",
    "`touch owned`",
    "{{ ''.__class__ }}",
    "b'owned'",
    "...",
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_is_executed(payload: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    quoted = json.dumps(payload)
    as_code = [
        payload,
        f'{{"name": "f", "arguments": {{"a": {payload}}}}}',
        f'[{{"name": {payload}}}]',
        f'{{{payload}: "f"}}',
        f"<tool_call>{payload}</tool_call>",
        f"f(a={payload})",
        f"```python\nf({payload})\n```",
    ]
    for text in as_code:
        assert read(text).calls == ()
    as_data = [
        f'{{"name": "f", "arguments": {{"a": {quoted}}}}}',
        repr({"name": "f", "arguments": {"a": payload}}),
    ]
    types = ["string", "number", "integer", "boolean", "array", "object"]
    for text in as_data:
        (call,) = read(text).calls
        assert call.arguments == {"a": payload}
        for kind in types:
            tool = Tool("f", "", {"type": "object", "properties": {"a": {"type": kind}}})
            assert score_calls([tool], [call], answer_with([call]), Switches()).correct
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- by the thousand, seeded

PIECES = [
    *"[]{}\"'`\\,:<>/ \n\t0-+.eE_",
    '"name"',
    '"arguments"',
    "'tool'",
    '"parameters"',
    '"a"',
    "true",
    "False",
    "null",
    "NaN",
    "-Infinity",
    "<tool_call>",
    "</tool_call>",
    "```json\n",
    "```",
    CALL,
    TAGGED,
    "[]",
    "{}",
    "1e999",
    "007",
    "1" * 401,
    "\\u0061",
    "\\ud800",
    "\\x4",
    "\\",
    "\ud800",
    "\udfff",
    "\x00",
    "\u2028",
    "\ufeff",
    "é",
    "e\u0301",
    "٣",
    "𝟜",
    "__import__('os').abort()",
    "API_call_0",
    "<think>",
    "</think>",
    "</think>\n",
    "[THINK]",
    "<|channel|>analysis",
    "<|end|>",
    "f(",
    "f(a=1)",
    "f(a='",
    "get_weather",
    "f{",
    "f[ARGS]",
    "[TOOL_CALLS]",
    "<function=f>",
    "<parameter=a>1</parameter>",
    "</function>",
    "\nAction: f\n",
    "Action Input: ",
    '{"f": {}}',
    "to=functions.f",
    "<|message|>",
    "<|python_tag|>",
    "(",
    ")",
    "[" * 70,
    "]" * 70,
    '{"name": "f", "arguments": ',
]


def soups(count: int, seed: int) -> Iterator[str]:
    """Yield pieces of notation in random order."""
    draw = random.Random(seed)
    for _ in range(count):
        yield "".join(draw.choices(PIECES, k=draw.randint(1, 30)))


def mutants(count: int, seed: int) -> Iterator[str]:
    """Yield good answers with a few places cut, doubled or replaced."""
    draw = random.Random(seed)
    good = [
        json.dumps([{"name": "f", "arguments": {"q": "it's [1, {2}]", "n": -1.5e3, "l": [None]}}]),
        repr([{"name": "f", "arguments": {"q": "it's", "b": True, "o": {"x": [1, 2]}}}]),
        f"Sure.\n{TAGGED}\n{TAGGED} Done.",
        "```json\n" + json.dumps({"tool": "f", "parameters": '{"a": 1}'}, indent=2) + "\n```",
    ]
    for _ in range(count):
        text = draw.choice(good)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(text) + 1)
            end = min(len(text), at + draw.randint(0, 6))
            text = text[:at] + draw.choice(["", text[at:end] * 2, draw.choice(PIECES)]) + text[end:]
        yield text


def noise(count: int, seed: int) -> Iterator[str]:
    """Yield random bytes, as far as they decode to text."""
    draw = random.Random(seed)
    for i in range(count):
        data = draw.randbytes(draw.randint(0, 200))
        yield data.decode("utf-8", "surrogateescape") if i % 2 else data.decode("latin-1")


@pytest.mark.parametrize("source", [soups, mutants, noise])
def test_thousands_of_strings_have_a_status_and_a_score(
    source: Callable[[int, int], Iterator[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    tool = Tool("f", "", {"type": "object", "properties": {"a": {"type": "array"}}})
    reference = [ToolCall("f", {"a": 1})]
    seen: dict[AnswerStatus, int] = dict.fromkeys(AnswerStatus, 0)
    for text in source(4_000, 20_251):
        parsed = read(text)
        seen[parsed.status] += 1
        answer = of_text(text, NAMES)
        assert (answer.status, calls_in(answer)) == (parsed.status, parsed.calls)
        score = score_calls([tool], reference, answer, Switches())
        assert (score.reason is None) == score.correct
        score.detail.encode()
    assert sum(seen.values()) == 4_000
    if source is not noise:
        assert min(seen.values()) > 100, seen
    assert list(tmp_path.iterdir()) == []


def test_parsing_is_a_function_of_the_text() -> None:
    for text in soups(300, 7):
        assert parse_calls(text, NAMES) == parse_calls(text, NAMES)


@given(st.text(st.sampled_from("[]{}()<>\"'\\,:=/|fa1 \n"), max_size=200))
def test_any_text_of_the_notations_own_characters(text: str) -> None:
    read(text)


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_any_text_of_the_notations_own_pieces(text: str) -> None:
    read(text)
