"""The benchmark `file`: what is made of rows of one's own, and what is said of faulty ones."""

from __future__ import annotations

import gzip
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import reports
from submissions import edit, faults, sealed, submit_run, submitted

from ttsi import registry
from ttsi.answers.calls.values import AnyOf, calls_in
from ttsi.cli.main import main
from ttsi.errors import (
    PluginError,
    RunError,
    SpecError,
    TtsiError,
    UsageError,
    VerificationError,
)
from ttsi.optional import HasTrainingRows
from ttsi.solving import assemble
from ttsi.spec import load_spec, validate
from ttsi.testing import contract
from ttsi.types import Completion, Message, Sample
from ttsi_benchmarks.file import File
from ttsi_benchmarks.quickstart import Quickstart

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "own-data"

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "Weather now", "parameters": CITY}
ALARM = {
    "name": "set_alarm",
    "description": "Ring later",
    "parameters": {
        "type": "object",
        "properties": {"hour": {"type": "integer", "minimum": 0}, "label": {"type": "string"}},
        "required": ["hour"],
    },
}
ROME = {"name": "get_weather", "arguments": {"city": "Rome"}}
OPENAI_ROME = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'},
}

test_contract = contract(
    "file",
    "benchmarks",
    path=str(EXAMPLES / "my.jsonl"),
    tools_path=str(EXAMPLES / "tools.json"),
)


def row(**changed: Any) -> dict[str, Any]:
    """A sound row; what is changed to None is left out."""
    made = {"input": "Weather in Rome?", "tools": [WEATHER, ALARM], "reference": [ROME]} | changed
    return {key: value for key, value in made.items() if value is not None}


def written(folder: Path, *rows: Any, name: str = "my.jsonl") -> str:
    path = folder / name
    path.write_text("".join(f"{json.dumps(each)}\n" for each in rows), encoding="utf-8")
    return str(path)


def one(folder: Path, options: dict[str, Any] | None = None, **changed: Any) -> Sample:
    (sample,) = File(path=written(folder, row(**changed)), **(options or {})).samples()
    return sample


def refused(path: str, **options: Any) -> TtsiError:
    with pytest.raises((UsageError, PluginError)) as caught:
        File(path=path, **options).samples()
    return caught.value


def scores(sample: Sample, text: str) -> bool:
    from ttsi.answers import form_of

    scorer: Any = registry.load("scorers", "exact")
    completion = Completion(text, form_of(sample.task).parse(sample.task, text))
    return bool(scorer().score(sample.task, sample.reference, completion).correct)


# ---------------------------------------------------------------- rows


def test_a_row_reads_as_a_row_of_another_benchmark_does(tmp_path: Path) -> None:
    ours = Quickstart().samples()[0]
    tools = [
        {"name": t.name, "description": t.description, "parameters": dict(t.parameters)}
        for t in ours.task.tools
    ]
    same = one(
        tmp_path,
        id=7,
        instruction=ours.task.instruction.partition("\n\nTools:")[0],
        input=ours.task.input,
        tools=tools,
        reference=[call.as_json() for call in calls_in(ours.reference)],
    )
    assert replace(same.task, id=ours.id) == ours.task
    assert same.reference == ours.reference
    assert same.id == "file/7"


@pytest.mark.parametrize("form", ["plain", "openai"])
def test_tools_and_calls_in_both_notations_are_the_same(form: str, tmp_path: Path) -> None:
    openai = form == "openai"
    tools = [
        {"type": "function", "function": each} if openai else each for each in (WEATHER, ALARM)
    ]
    sample = one(tmp_path, tools=tools, reference=[OPENAI_ROME if openai else ROME])
    assert sample.task.tool_names == ("get_weather", "set_alarm")
    assert sample.reference.value == [ROME]
    assert scores(sample, '[{"name": "get_weather", "arguments": {"city": "Rome"}}]')
    assert not scores(sample, '[{"name": "get_weather", "arguments": {"city": "Oslo"}}]')


def test_an_id_is_the_rows_own_or_its_lines_number(tmp_path: Path) -> None:
    path = Path(written(tmp_path, row(id="a"), row(), row(id=12)))
    path.write_text("\n" + path.read_text().replace("\n", "\r\n\n"), encoding="utf-8")
    assert [each.id for each in File(path=str(path)).samples()] == ["file/a", "file/4", "file/12"]


def test_null_is_left_out(tmp_path: Path) -> None:
    nulls = dict.fromkeys(("id", "messages", "instruction", "choices"))
    path = written(tmp_path, nulls | row())
    assert File(path=path).samples() == File(path=written(tmp_path, row(), name="b")).samples()


def test_alternatives_are_right_each_and_nothing_else_is(tmp_path: Path) -> None:
    call = {
        "name": "set_alarm",
        "allowed": {"hour": [7, 19], "label": ["x"]},
        "optional": ["label"],
    }
    sample = one(tmp_path, reference=[call])
    (made,) = calls_in(sample.reference)
    assert isinstance(made, AnyOf)
    assert made.arguments == {"hour": 7}
    for arguments in ({"hour": 7}, {"hour": 19}, {"hour": 19, "label": "x"}):
        assert scores(sample, json.dumps([{"name": "set_alarm", "arguments": arguments}]))
    for arguments in ({"hour": 8}, {"hour": 7, "label": "y"}, {"label": "x"}):
        assert not scores(sample, json.dumps([{"name": "set_alarm", "arguments": arguments}]))


def test_no_call_is_a_reference(tmp_path: Path) -> None:
    sample = one(tmp_path, reference=[])
    assert scores(sample, "I cannot do that.")
    assert not scores(sample, '[{"name": "get_weather", "arguments": {"city": "Rome"}}]')


def test_shared_tools_are_those_of_rows_without_their_own(tmp_path: Path) -> None:
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps([WEATHER, ALARM]))
    path = written(tmp_path, row(tools=None), row(tools=[WEATHER]))
    shared, own = File(path=path, tools_path=str(tools)).samples()
    assert shared.task.tool_names == ("get_weather", "set_alarm")
    assert own.task.tool_names == ("get_weather",)


@pytest.mark.parametrize(
    ("form", "changed", "right", "wrong"),
    [
        ("number", {"reference": 8}, "3 + 5 = 8.\n#### 8", "#### 9"),
        ("number", {"reference": "Three and five.\n#### 8"}, "#### 8.0", "#### -8"),
        ("choice", {"reference": "no", "choices": ["yes", "no"]}, "no", "yes"),
        ("text", {"reference": "ant bee"}, "So the answer is ant bee.", "bee ant"),
    ],
)
def test_other_forms(
    form: str, changed: dict[str, Any], right: str, wrong: str, tmp_path: Path
) -> None:
    sample = one(tmp_path, {"form": form}, tools=None, **changed)
    assert sample.task.form == form
    assert sample.task.choices == tuple(changed.get("choices", ()))
    assert all(choice in sample.task.instruction for choice in sample.task.choices)
    assert "Tools:" not in sample.task.instruction
    assert scores(sample, right)
    assert not scores(sample, wrong)


# ---------------------------------------------------------------- conversations

TALK = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Weather in Oslo "},
            {"type": "text", "text": "and Rome?"},
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [OPENAI_ROME, OPENAI_ROME],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    {"role": "tool", "tool_call_id": "call_2", "content": "rain"},
    {"role": "assistant", "content": "Sunny, and rain."},
    {"role": "user", "content": "Wake me at seven."},
]
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'


def test_a_conversation_becomes_turns_and_one_text(tmp_path: Path) -> None:
    task = one(tmp_path, input=None, messages=TALK).task
    assert task.instruction.startswith("Be brief.\n\nTools:\n{")
    assert task.turns == (
        Message("user", "Weather in Oslo and Rome?"),
        Message("assistant", f"{CALL}\n{CALL}"),
        Message(
            "user",
            "<tool_response>\nsunny\n</tool_response>\n<tool_response>\nrain\n</tool_response>",
        ),
        Message("assistant", "Sunny, and rain."),
        Message("user", "Wake me at seven."),
    )
    assert task.input == (
        f"User: Weather in Oslo and Rome?\nAssistant: {CALL}\n{CALL}\nTool: sunny\nTool: rain\n"
        "Assistant: Sunny, and rain.\nUser: Wake me at seven."
    )


def test_one_user_turn_is_the_input(tmp_path: Path) -> None:
    messages = [TALK[0], {"role": "user", "content": "Weather in Rome?"}]
    short = one(tmp_path, instruction="Be brief.")
    assert one(tmp_path, input=None, messages=messages) == short
    assert short.task.turns == ()


def test_a_conversation_may_wait_for_what_follows_a_tool(tmp_path: Path) -> None:
    task = one(tmp_path, input=None, messages=TALK[:5]).task
    assert task.turns[-1].role == "user"
    assert task.turns[-1].content.endswith("rain\n</tool_response>")


@pytest.mark.model
def test_the_embedded_models_template_shows_every_turn(tmp_path: Path) -> None:
    from ttsi.types import Prompt
    from ttsi_plugins.engines.transformers import TransformersEngine

    task = one(tmp_path, input=None, messages=TALK).task
    engine = TransformersEngine({"id": "smollm2-135m", "dtype": "float32"})
    engine.load()
    shown = "".join(text for text, _ in engine.rendered(Prompt(task.messages)).pieces)
    engine.close()
    at = -1
    for message in task.messages:
        at = shown.index(message.content.strip(), at + 1)


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("changed", "what", "cure"),
    [
        ({"refrence": []}, 'unknown key "refrence"', 'Did you mean "reference"?'),
        ({"reference": None}, 'no "reference"', '"reference": [{"name"'),
        ({"input": None}, 'not one of "input" and "messages"', '"messages"'),
        ({"messages": TALK}, 'not one of "input" and "messages"', '"messages"'),
        ({"input": None, "messages": TALK, "instruction": "x"}, '"instruction" and', "system"),
        ({"input": "  "}, 'The "input" is no text', "string"),
        ({"id": ""}, 'The "id" is no text', "string"),
        ({"id": True}, 'The "id" is no text', "string"),
        ({"tools": None}, "offers no tools", "tools_path"),
        ({"tools": {}}, '"tools" is no list', '[{"name"'),
        ({"tools": [WEATHER, WEATHER]}, "'get_weather' is offered twice", "rename"),
        ({"tools": [{**WEATHER, "params": {}}]}, 'unknown key "params"', '"parameters"?'),
        ({"tools": [{**WEATHER, "name": " "}]}, "A tool's name is no text", "string"),
        ({"tools": [{"type": "web_search", "function": WEATHER}]}, "'web_search'", '"function"'),
        ({"tools": [{**WEATHER, "parameters": "city"}]}, "parameters that are none", "Schema"),
        ({"reference": {}}, "The reference is no list", "[]"),
        ({"reference": [{**ROME, "args": {}}]}, 'unknown key "args"', '"arguments"?'),
        ({"reference": [{**ROME, "arguments": "{city"}]}, "not JSON", '{"name"'),
        ({"reference": [{**ROME, "arguments": "[1]"}]}, "are no object", '{"name"'),
        ({"reference": [{**ROME, "arguments": '{"city": NaN}'}]}, "NaN", '{"name"'),
        ({"reference": [{**ROME, "arguments": '{"city": "\\ud800"}'}]}, "half of a", '{"name"'),
        ({"tools": [{**WEATHER, "parameters": []}]}, "parameters that are none", "Schema"),
        ({"tools": [{**WEATHER, "description": []}]}, "description that is no text", "Schema"),
        ({"reference": [{**ROME, "name": "get_wether"}]}, "not offered", '"get_weather"?'),
        ({"reference": [{**ROME, "arguments": {}}]}, "'city' is a required", '"strict": false'),
        ({"reference": [{**ROME, "arguments": {"city": 1}}]}, "1 is not of type", '"strict"'),
        (
            {"reference": [{"name": "set_alarm", "allowed": {"hour": [7, -1]}}]},
            "-1 is less than the minimum",
            '"strict": false',
        ),
        (
            {"reference": [{"name": "set_alarm", "allowed": {"hour": [7]}, "optional": ["hour"]}]},
            "'hour' is a required",
            '"strict": false',
        ),
        ({"reference": [{"name": "f", "allowed": {"hour": 7}}]}, "lists of values", '["Rome"'),
        ({"reference": [{**ROME, "allowed": {"city": ["Rome"]}}]}, '"arguments" and', "one"),
        (
            {"reference": [{"name": "f", "allowed": {"a": [1]}, "optional": ["b"]}]},
            '"optional"',
            '"optional": ["unit"]',
        ),
        ({"choices": ["a", "b"]}, "the form 'calls' has none", '"form": "choice"'),
    ],
)
def test_a_faulty_row_is_told_of_with_its_line_and_a_cure(
    changed: dict[str, Any], what: str, cure: str, tmp_path: Path
) -> None:
    error = refused(written(tmp_path, row(), row(**changed)))
    assert what in error.what
    assert error.where.startswith(f"{tmp_path}/my.jsonl, line 2")
    assert cure in error.cure


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ([], "no list, or an empty one"),
        ([{"role": "bot", "content": "x"}], "the role 'bot'"),
        ([{"role": "user", "content": "x", "contnet": ""}], '"contnet"'),
        ([{"role": "user"}], "The content is no text"),
        ([{"role": "user", "content": {"text": "x"}}], "neither a text nor parts"),
        ([TALK[1], {"role": "assistant", "content": "x", "tool_calls": {}}], "no list of calls"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "parts of text: 'image_url'"),
        ([{"role": "user", "content": "x", "tool_calls": [OPENAI_ROME]}], "Only the assistant"),
        ([*TALK[1:], TALK[0]], "not the first"),
        (TALK[:1], "no message of a user"),
        (TALK[:3], "ends with the assistant"),
        ([*TALK[:2], {"role": "assistant"}, *TALK[3:]], "The content is no text"),
        ([{"role": "user", "content": "x", "audio": {"id": 1}}], 'under "audio"'),
    ],
)
def test_a_faulty_conversation_is_told_of(messages: Any, what: str, tmp_path: Path) -> None:
    error = refused(written(tmp_path, row(input=None, messages=messages)))
    assert what in error.what
    assert error.where.startswith(f"{tmp_path}/my.jsonl, line 1")
    assert error.cure


@pytest.mark.parametrize(
    ("data", "what", "cure"),
    [
        (b"", "no rows", '"reference"'),
        (b"\n \r\n", "no rows", '"reference"'),
        (b'{"input": "caf\xe9"}\n', "not UTF-8", "iconv -f windows-1252"),
        ("{}\n".encode("utf-16"), "not UTF-8", "iconv -f utf-16"),
        (b'{"input": \n', "not JSON", "jq -c"),
        (b'[{"input": "x"}]\n', "no object", "jq -c"),
        (b'{"input": "x", "input": "y"}\n', 'has the key "input" twice', "one object"),
        (b'{"reference": [{"a": {"b": 1, "b": 2}}]}\n', 'has the key "b" twice', "one object"),
        (b'{"reference": NaN}\n', "NaN", "one object"),
        (b'{"reference": 1e999}\n', "an infinity", "one object"),
        (b'{"input": "\\ud800"}\n', "half of a character", "one object"),
        (b'{"reference": ' + b"[" * 70 + b"]" * 70 + b"}\n", "nested deeper", "one object"),
        (b'{"reference": ' + b"[" * 200_000 + b"\n", "nested deeper", "one object"),
        (gzip.compress(b"{}\n")[:-9], "damaged", "gzip -t"),
    ],
)
def test_a_file_that_is_no_json_lines(data: bytes, what: str, cure: str, tmp_path: Path) -> None:
    path = tmp_path / "my.jsonl"
    path.write_bytes(data)
    error = refused(str(path))
    assert what in error.what
    assert error.where.startswith(str(path))
    assert cure in error.cure


def test_a_path_that_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    assert "a folder" in refused(".").what
    assert "more than once" in refused("pipe").what
    missing = refused("mine.jsonl")
    assert "no file mine.jsonl" in missing.what
    assert f"the current folder, {tmp_path}." in missing.cure
    written(tmp_path, row())
    assert len(File(path="my.jsonl").samples()) == 1


def test_every_line_with_a_fault_is_named(tmp_path: Path) -> None:
    rows = [row(), row(reference=None), row(), *[row(id="twice")] * 3]
    error = refused(written(tmp_path, *rows))
    assert error.where.endswith("line 2")
    assert error.what == 'The row has no "reference". Lines with a fault besides: 2 (5, 6).'
    again = refused(written(tmp_path, *rows[3:]))
    assert "'twice' is there twice: here and on line 1" in again.what


def test_parameters_that_cannot_be_used_are_an_error_of_their_line(tmp_path: Path) -> None:
    bad = {**WEATHER, "parameters": {**CITY, "properties": {"city": {"not": {}}}}}
    error = refused(written(tmp_path, row(), row(tools=[bad], reference=[])))
    assert isinstance(error, PluginError)
    assert "line 2, tool 'get_weather', parameters, #/properties/city" in error.where


def test_references_that_tools_do_not_allow_are_kept_if_asked(tmp_path: Path) -> None:
    sample = one(tmp_path, {"strict": False}, reference=[{"name": "unknown"}])
    assert sample.reference.value == [{"name": "unknown", "arguments": {}}]


@pytest.mark.parametrize(
    ("form", "changed", "what"),
    [
        ("choice", {"reference": "maybe", "choices": ["yes", "no"]}, "none of the choices"),
        ("choice", {"reference": "yes", "choices": ["yes"]}, "two different texts"),
        ("choice", {"reference": "yes"}, "two different texts"),
        ("number", {"reference": "none"}, "no answer in the form 'number'"),
        ("number", {"reference": [8]}, "no answer in the form 'number'"),
    ],
)
def test_references_of_other_forms_are_held_to_them(
    form: str, changed: dict[str, Any], what: str, tmp_path: Path
) -> None:
    error = refused(written(tmp_path, row(tools=None, **changed)), form=form)
    assert what in error.what
    assert error.where.endswith("line 1")


# ---------------------------------------------------------------- as part of a run


def test_the_revision_is_of_all_files_and_of_nothing_else(tmp_path: Path) -> None:
    path, train = written(tmp_path, row()), written(tmp_path, row(), name="train.jsonl")
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps([WEATHER]))
    found = File(path=path, tools_path=str(tools), train_path=train)
    first = found.revision()
    packed = tmp_path / "my.jsonl.gz"
    packed.write_bytes(gzip.compress(Path(path).read_bytes()))
    assert replace(found, path=str(packed), limit=1).revision() == first
    assert replace(found, path=str(packed)).samples() == found.samples()
    seen = {first}
    for changed in (path, str(tools), train):
        Path(changed).write_text(Path(changed).read_text() + "\n")
        seen.add(found.revision())
    assert len(seen) == 4


def test_rows_for_training_are_there_if_a_file_of_them_is(tmp_path: Path) -> None:
    path = written(tmp_path, row())
    assert not isinstance(File(path=path), HasTrainingRows)
    train = written(tmp_path, row(input="Weather in Bonn?"), name="train.jsonl")
    found: Any = File(path=path, train_path=train)
    assert isinstance(found, HasTrainingRows)
    assert [each.id for each in pickle.loads(pickle.dumps(found)).train()] == ["file/train/1"]
    document = {"benchmark": {"name": "file", "path": path}, "learner": "sft"}
    (spec,) = load_spec(document)
    with pytest.raises(SpecError, match="none for training"):
        assemble.check(spec)
    (spec,) = load_spec({**document, "benchmark": {**document["benchmark"], "train_path": train}})
    assemble.check(spec)
    assert [each.task.input for each in assemble.training_rows(spec)] == ["Weather in Bonn?"]


def test_a_spec_without_a_path_is_refused() -> None:
    for benchmark in ("file", {"name": "file"}):
        (problem,) = validate({"benchmark": benchmark})
        assert problem.pointer == "/benchmark/path"
        assert "required and missing" in problem.message


def test_an_unknown_form_is_refused_before_anything_is_read() -> None:
    with pytest.raises(UsageError, match='no plugin "cals"'):
        File(path="nowhere.jsonl", form="cals")


def test_predictions_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, row(id="a"), row(id="b"))
    predictions = written(
        tmp_path,
        {"id": "file/a", "calls": [ROME]},
        {"id": "file/b", "text": "I do not know."},
        name="predictions.jsonl",
    )
    words = ["score", predictions, "--benchmark", "file", "--json"]
    assert main([*words, "--benchmark-option", f"path={path}"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert (results["correct"], results["wrong"]) == (1, 1)
    assert results["revision"] == File(path=path).revision()
    assert main(words) == 2
    assert 'needs the option "path"' in capsys.readouterr().err


def test_the_shipped_spec_and_its_rows_are_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (spec,) = load_spec(ROOT / "specs" / "own-data.json")
    assemble.check(spec)
    samples = list(assemble.benchmark(spec).samples())
    assert len(samples) == 12
    assert {len(calls_in(each.reference)) for each in samples} == {0, 1, 2}
    assert any(each.task.turns for each in samples)


# ---------------------------------------------------------------- runs and boards


def test_a_run_does_not_go_on_with_a_changed_file(tmp_path: Path) -> None:
    path = written(tmp_path, row(id="a"), row(id="b"))
    asked = {"name": "file", "path": path}
    run = reports.made(tmp_path / "runs", benchmark=asked)
    assert run.seeds[0].complete
    written(tmp_path, row(id="a"), row(id="b", input="Weather in Rome today?"))
    with pytest.raises(RunError, match="revision"):
        reports.made(tmp_path / "runs", benchmark=asked)


def test_no_board_takes_a_run_over_rows_of_ones_own(tmp_path: Path) -> None:
    path = written(tmp_path, row(id="a"), row(id="b"))
    run = reports.made(tmp_path / "runs", benchmark={"name": "file", "path": path})
    with pytest.raises(VerificationError, match="rows of one machine") as caught:
        submit_run(run.folder, tmp_path)
    assert "ttsi compare" in caught.value.cure
    assert not list((tmp_path / "leaderboards").rglob("*.json"))


def test_verifying_reads_no_file_that_a_submission_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = submitted(tmp_path)
    secret = written(tmp_path, row(), name="secret.jsonl")
    for seed in folder.glob("seed-*"):
        own = {"benchmark": {"name": "file", "path": secret}}
        edit(seed, "spec.resolved.json", lambda spec, own=own: spec | own)
    monkeypatch.setattr(File, "samples", lambda self: pytest.fail("the file was read"))
    told = [fault for fault in faults(sealed(folder)) if fault.kind == "benchmark"]
    assert ["rows of one machine" in fault.what for fault in told] == [True]
