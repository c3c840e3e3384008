"""Scoring, G's contract and the grammar read a tool's parameters in the same way.

tool_schemas/ has, for each kind of keyword, ten schemas like those that APIs and MCP servers
publish, with valid and invalid arguments, and some that score as the first valid ones do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from grammars import accepts, wild_text

from ttsi.answers.calls import Switches
from ttsi.answers.calls.match import score_calls
from ttsi.answers.calls.normalise import normalise
from ttsi.answers.calls.validation import argument_faults
from ttsi.answers.calls.values import ToolCall, answer_with
from ttsi.answers.calls.writing import calls_schema
from ttsi.types import Tool

KINDS = (
    "refs", "all_of", "root_choice", "constants", "prefix_items", "pattern_properties",
    "additional_properties",
)  # fmt: skip
FOLDER = Path(__file__).parent / "tool_schemas"
CASES = [
    pytest.param(case, id=f"{kind}-{case['name']}")
    for kind in KINDS
    for case in json.loads((FOLDER / f"{kind}.json").read_text(encoding="utf-8"))
]
each_case = pytest.mark.parametrize("case", CASES)
OTHER = Tool("other", "another tool", {"type": "object", "properties": {}})


def tool_of(case: dict[str, Any]) -> Tool:
    return Tool(case["name"], case["like"], case["parameters"])


def scored(tool: Tool, reference: Any, given: Any) -> bool:
    answer = answer_with([ToolCall(tool.name, given)])
    return score_calls([tool], [ToolCall(tool.name, reference)], answer, Switches()).correct


def test_there_are_ten_schemas_of_each_kind() -> None:
    assert len(CASES) == 10 * len(KINDS)
    assert len({case.id for case in CASES}) == len(CASES)


@each_case
def test_the_contract_takes_what_is_right_and_nothing_else(case: dict[str, Any]) -> None:
    tool = tool_of(case)
    for arguments in case["good"]:
        assert argument_faults([tool], ToolCall(tool.name, arguments)) == []
    for arguments in case["bad"]:
        assert argument_faults([tool], ToolCall(tool.name, arguments)), arguments


@each_case
def test_scoring_reads_by_the_same_schema(case: dict[str, Any]) -> None:
    tool = tool_of(case)
    first, *others = case["good"]
    assert scored(tool, first, case["alike"])
    assert scored(tool, case["alike"], first)
    for other in others:
        assert scored(tool, other, other)
        assert not scored(tool, first, other)
    for arguments in [*case["good"], *case["bad"], case["alike"]]:
        once = normalise(arguments, tool.schema, Switches())
        assert normalise(once, tool.schema, Switches()) == once
    for arguments in [*case["good"], case["alike"]]:
        normal = normalise(arguments, tool.schema, Switches())
        assert argument_faults([tool], ToolCall(tool.name, normal)) == []


@pytest.mark.model
@each_case
def test_the_grammar_takes_what_is_right_and_nothing_else(
    case: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    tool = tool_of(case)
    schema = calls_schema([OTHER, tool])
    for arguments in case["good"]:
        assert accepts(schema, [{"name": tool.name, "arguments": arguments}]), arguments
    for arguments in case["bad"]:
        assert not accepts(schema, [{"name": tool.name, "arguments": arguments}]), arguments
    # xgrammar warns of what it leaves out.
    assert "Warning" not in capfd.readouterr().err


@pytest.mark.model
@each_case
def test_what_is_written_under_the_grammar_is_valid(case: dict[str, Any]) -> None:
    tool = tool_of(case)
    schema = calls_schema([tool], most=1)
    made = [wild_text(schema, seed) for seed in range(4)]
    finished = [text for text in made if text is not None]
    assert finished
    for text in finished:
        (call,) = json.loads(text)
        assert argument_faults([tool], ToolCall(call["name"], call["arguments"])) == [], text
