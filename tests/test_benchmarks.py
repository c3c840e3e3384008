"""The benchmarks on their real data: counts, ids, schemas, rendering, selection, revisions."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ttsi.answers.calls.values import calls_in
from ttsi.assets import Asset
from ttsi.errors import UsageError
from ttsi.options import options_schema
from ttsi.protocols import Benchmark
from ttsi.rows.rendering import make_task
from ttsi.types import Sample, Tool
from ttsi_benchmarks import _nexus_docs, nexusraven, sealtool
from ttsi_benchmarks._hammer import read_rows
from ttsi_benchmarks._nexus_source import QUERIES, TOOLS, read_table
from ttsi_benchmarks._notation import type_schema
from ttsi_benchmarks._select import Selection, places
from ttsi_benchmarks.apibank import ApiBank
from ttsi_benchmarks.nexusraven import NexusRaven
from ttsi_benchmarks.quickstart import Quickstart
from ttsi_benchmarks.sealtool import SealTool
from ttsi_benchmarks.sealtool_full import SealToolFull
from ttsi_benchmarks.toolalpaca import ToolAlpaca

BENCHMARKS: dict[str, type[Selection]] = {
    "apibank": ApiBank,
    "nexusraven": NexusRaven,
    "quickstart": Quickstart,
    "sealtool": SealTool,
    "sealtool_full": SealToolFull,
    "toolalpaca": ToolAlpaca,
}
IDS = {
    "apibank": [f"apibank/l1/{i}" for i in range(399)] + [f"apibank/l2/{i}" for i in range(127)],
    "nexusraven": [f"nexusraven/{i}" for i in range(318)],
    "quickstart": [f"quickstart/{i}" for i in range(40)],
    "sealtool": [f"sealtool/{i}" for i in range(294)],
    "sealtool_full": [f"sealtool_full/{i}" for i in range(700)],
    "toolalpaca": [f"toolalpaca/{i}" for i in range(114)],
}
every_benchmark = pytest.mark.parametrize("name", sorted(BENCHMARKS))


def rows_of(name: str) -> list[Sample]:
    return BENCHMARKS[name]().samples()


# ---------------------------------------------------------------- what the rows are


@every_benchmark
def test_ids_are_places_upstream(name: str) -> None:
    assert [sample.id for sample in rows_of(name)] == IDS[name]


def test_nexusraven_comes_in_four_parts() -> None:
    parts = Counter(row["dataset"] for row in read_table(QUERIES))
    assert parts == {"cve_cpe": 78, "emailrep": 38, "virustotal": 151, "toolalpaca": 51}
    functions = {tool.name for sample in rows_of("nexusraven") for tool in sample.task.tools}
    assert functions <= {row["name"] for row in read_table(TOOLS)}
    assert len(read_table(TOOLS)) == 65


def test_nexusraven_teaches_the_rows_that_it_does_not_ask() -> None:
    words = "Call a tool. {instruction}\n{tools}"
    made = NexusRaven(limit=98, instruction=words)
    asked, taught = made.samples(), made.train()
    assert sorted(row.id for row in asked + taught) == sorted(IDS["nexusraven"])
    assert all(row.task.instruction.startswith("Call a tool.") for row in taught)
    assert NexusRaven().train() == []
    assert [row.id for row in NexusRaven(ids=IDS["nexusraven"][1:]).train()] == ["nexusraven/0"]


def test_apibank_levels_choose_the_files() -> None:
    assert [s.id for s in ApiBank(levels=[2]).samples()] == IDS["apibank"][399:]
    assert [s.id for s in ApiBank(levels=[2, 1]).samples()] == IDS["apibank"]


@every_benchmark
def test_tools_have_unique_names(name: str) -> None:
    for sample in rows_of(name):
        names = sample.task.tool_names
        assert names
        assert len(set(names)) == len(names)


@every_benchmark
def test_schemas_are_valid_and_closed(name: str) -> None:
    tools = [tool for sample in rows_of(name) for tool in sample.task.tools]
    distinct = {json.dumps(tool.parameters, sort_keys=True) for tool in tools}
    for schema in map(json.loads, sorted(distinct)):
        Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False
        assert set(schema.get("required", [])) <= set(schema["properties"])


@every_benchmark
def test_every_parameter_has_a_type(name: str) -> None:
    for sample in rows_of(name):
        for tool in sample.task.tools:
            for parameter, schema in tool.parameters["properties"].items():
                assert "type" in schema, (sample.id, tool.name, parameter)


@every_benchmark
def test_every_sample_has_a_reference(name: str) -> None:
    assert all(calls_in(sample.reference) for sample in rows_of(name))


@every_benchmark
def test_is_a_benchmark_with_options_and_a_preset_that_the_scorer_takes(name: str) -> None:
    from ttsi_plugins.scorers.exact import Exact

    benchmark = BENCHMARKS[name]()
    assert isinstance(benchmark, Benchmark)
    schema = options_schema(BENCHMARKS[name])
    Draft202012Validator.check_schema(schema)
    assert {"limit", "select", "ids"} <= schema["properties"].keys()
    Draft202012Validator(options_schema(Exact)).validate(dict(benchmark.scoring))


def test_duplicate_tools_keep_the_first() -> None:
    first, second = Tool("f", "one", {"type": "object"}), Tool("f", "two", {"type": "object"})
    assert make_task("x/0", "Do.", [first, second], "Go.").tools == (first,)


# ---------------------------------------------------------------- how they read


def shown_tools(instruction: str) -> list[dict[str, Any]]:
    block = instruction.split("\n\nTools:\n", 1)[1].split("\n\n", 1)[0]
    return [json.loads(line) for line in block.split("\n")]


@every_benchmark
def test_a_prompt_shows_every_tool_in_full(name: str) -> None:
    for sample in rows_of(name):
        shown = shown_tools(sample.task.instruction)
        assert [tool["name"] for tool in shown] == list(sample.task.tool_names)
        for line, tool in zip(shown, sample.task.tools, strict=True):
            assert line["description"] == tool.description
            assert {**line["parameters"], "additionalProperties": False} == tool.parameters


def test_a_prompt_ends_with_the_query() -> None:
    for row, sample in zip(read_rows(sealtool.ASSET), rows_of("sealtool"), strict=True):
        assert sample.task.messages[-1].content == row["query"]
    queries = read_table(QUERIES)
    for row, sample in zip(queries, rows_of("nexusraven"), strict=True):
        assert sample.task.messages[-1].content == row["prompt"].strip()


def test_a_dialogue_keeps_its_speakers_and_ends_where_the_call_is_due() -> None:
    for sample in rows_of("apibank"):
        text = sample.task.input
        assert text.startswith(("User: ", "Agent: ", "Call: "))
        assert text.endswith("Generate API Request:")
        assert "Call: `" not in text
    with_calls = [s for s in rows_of("apibank") if "\nCall: " in s.task.input]
    assert with_calls
    assert all("\nResult: " in sample.task.input for sample in with_calls)


def test_samples_with_the_same_tools_share_their_system_turn() -> None:
    turns = Counter(s.task.instruction for s in rows_of("nexusraven"))
    assert turns.most_common(1)[0][1] == 151


# ---------------------------------------------------------------- notation


@pytest.mark.parametrize(
    ("words", "schema"),
    [
        ("str", {"type": "string"}),
        ("integer", {"type": "integer"}),
        ("float", {"type": "number"}),
        ("bool", {"type": "boolean"}),
        ("list", {"type": "array"}),
        ("list(str)", {"type": "array", "items": {"type": "string"}}),
        ("Array[string]", {"type": "array", "items": {"type": "string"}}),
        ("list[dict]", {"type": "array", "items": {"type": "object"}}),
        ("dict", {"type": "object"}),
        ("str, datetime obj", {"type": "string"}),
        ("str/datetime obj", {"type": "string"}),
        ("string, required", {"type": "string"}),
        ("None", {}),
    ],
)
def test_type_words(words: str, schema: dict[str, object]) -> None:
    assert type_schema(words) == schema


def test_nexusraven_descriptions_in_each_notation() -> None:
    prose, entries = _nexus_docs.split(
        "\n    Does a\n    thing.\n\n    Args:\n"
        "    many (int): How many.\n"
        "    - x-key: string, required, A key\n"
        "    - data, json, An object\n"
        "    soft (str) required: string. Which one.\n"
        "    hard (str) required: Required. Array[string]. Which ones.\n"
    )
    assert prose == "Does a thing."
    assert entries == {
        "many": _nexus_docs.Entry("int", "How many.", optional=False),
        "x_key": _nexus_docs.Entry("string", "A key", optional=False),
        "data": _nexus_docs.Entry("json", "An object", optional=False),
        "soft": _nexus_docs.Entry("str", "Which one.", optional=True),
        "hard": _nexus_docs.Entry("str", "Which ones.", optional=False),
    }


def test_nexusraven_finds_every_parameter_in_its_description() -> None:
    for row in read_table(TOOLS):
        _, entries = _nexus_docs.split(row["description"])
        assert {arg["name"] for arg in row["args_dicts"]} == set(entries), row["name"]


def test_apibank_requires_what_is_not_called_optional() -> None:
    tools = {tool.name: tool for sample in rows_of("apibank") for tool in sample.task.tools}
    assert tools["Translate"].parameters["required"] == ["src"]
    assert tools["ForgotPassword"].parameters["required"] == ["status"]
    partly = [
        t.name
        for t in tools.values()
        if len(t.parameters.get("required", [])) < len(t.parameters["properties"])
    ]
    assert sorted(partly) == ["ForgotPassword", "Translate"]


# ---------------------------------------------------------------- selection


@given(count=st.integers(0, 400), limit=st.integers(1, 500))
def test_even_places_spread_over_the_set(count: int, limit: int) -> None:
    taken = places(count, limit, "even")
    assert len(taken) == min(count, limit)
    assert taken == [i * count // len(taken) for i in range(len(taken))]
    gaps = [after - before for before, after in pairwise([*taken, count])]
    assert not taken or (taken[0] == 0 and max(gaps) - min(gaps) <= 1 and min(gaps) >= 1)


def test_limit_keeps_ids_and_prompts() -> None:
    everything = {sample.id: sample for sample in rows_of("sealtool")}
    some = SealTool(limit=10).samples()
    assert [s.id for s in some] == [f"sealtool/{i * 294 // 10}" for i in range(10)]
    assert all(sample == everything[sample.id] for sample in some)
    assert [s.id for s in SealTool(limit=2, select="first").samples()] == IDS["sealtool"][:2]


def test_ids_choose_rows_and_unknown_ids_are_told() -> None:
    chosen = ToolAlpaca(ids=["toolalpaca/5", "toolalpaca/2"]).samples()
    assert [s.id for s in chosen] == ["toolalpaca/2", "toolalpaca/5"]
    with pytest.raises(UsageError, match="toolalpaca/114"):
        ToolAlpaca(ids=["toolalpaca/114"]).samples()


# ---------------------------------------------------------------- revisions and the rest


@every_benchmark
def test_revision_is_stable_whatever_the_options(name: str) -> None:
    kind = BENCHMARKS[name]
    assert kind().revision() == kind().revision() == kind(limit=3).revision()
    assert kind().revision().startswith("sha256:")


def test_revisions_differ_between_benchmarks() -> None:
    assert len({kind().revision() for kind in BENCHMARKS.values()}) == len(BENCHMARKS)


def test_revision_changes_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    before = SealTool().revision()
    changed = dataclasses.replace(sealtool.ASSET, sha256="0" * 64)
    monkeypatch.setattr(sealtool, "ASSET", changed)
    assert SealTool().revision() != before


@pytest.mark.parametrize("change", ["query", "reference", "tool"])
def test_revision_changes_with_a_row(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = NexusRaven().revision()
    edits: dict[str, Callable[[dict[str, Any]], None]] = {
        "query": lambda row: row.update(prompt="Another question."),
        "reference": lambda row: row.update(python_args_dict='{"limit": 3}'),
        "tool": lambda row: row.update(description="Another description."),
    }

    def altered(asset: Asset) -> list[dict[str, Any]]:
        rows = read_table(asset)
        if (asset is TOOLS) == (change == "tool"):
            edits[change](rows[-1])
        return rows

    monkeypatch.setattr(nexusraven, "read_table", altered)
    assert NexusRaven().revision() != before


def test_how_reference_arguments_are_written_does_not_change_the_revision() -> None:
    row = {"python_args_dict": '{"a": 1, "b": [2]}'}
    spaced = {"python_args_dict": '{ "b":[2],"a":1 }'}
    assert nexusraven.canonical(row) == nexusraven.canonical(spaced)


def test_quickstart_values_stand_in_the_query_and_prompts_are_short() -> None:
    rows = rows_of("quickstart")
    assert Counter(len(calls_in(sample.reference)) for sample in rows) == {1: 38, 2: 2}
    for sample in rows:
        assert len(sample.task.tools) in (3, 4)
        assert len(sample.task.instruction) + len(sample.task.input) < 900
        for call in calls_in(sample.reference):
            for value in call.arguments.values():
                assert str(value) in sample.task.input, sample.id


def test_benchmarks_import_nothing_heavy() -> None:
    modules = ", ".join(f"ttsi_benchmarks.{name}" for name in BENCHMARKS)
    heavy = "{'torch', 'transformers', 'datasets', 'pooch', 'requests', 'jsonschema'}"
    code = f"import sys, {modules}; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
