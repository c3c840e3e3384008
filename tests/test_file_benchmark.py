"""The benchmark `file`: the samples made of a user's rows, and runs over them."""

from __future__ import annotations

import gzip
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import reports
from own_rows import (
    ALARM,
    EXAMPLES,
    OPENAI_ROME,
    ROME,
    ROOT,
    TALK,
    WEATHER,
    one,
    row,
    scores,
    written,
)
from submissions import edit, faults, sealed, submit_run, submitted

from ttsi.answers.calls.values import AnyOf, calls_in
from ttsi.cli.main import main
from ttsi.errors import (
    RunError,
    SpecError,
    UsageError,
    VerificationError,
)
from ttsi.optional import HasTrainingRows
from ttsi.report import html
from ttsi.solving import assemble
from ttsi.spec import load_spec, validate
from ttsi.testing import contract
from ttsi.types import Message
from ttsi_benchmarks.file import File
from ttsi_benchmarks.quickstart import Quickstart

test_contract = contract(
    "file",
    "benchmarks",
    path=str(EXAMPLES / "my.jsonl"),
    tools_path=str(EXAMPLES / "tools.json"),
)


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

CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'


def test_a_conversation_becomes_turns_and_its_last_request_is_the_input(tmp_path: Path) -> None:
    task = one(tmp_path, input=None, messages=TALK).task
    assert task.instruction.startswith("Be brief.\n\nTools:\n{")
    assert task.turns == (
        Message("user", "Weather in Oslo and Rome?"),
        Message("assistant", f"{CALL}\n{CALL}"),
        Message("tool", "sunny"),
        Message("tool", "rain"),
        Message("assistant", "Sunny, and rain."),
        Message("user", "Wake me at seven."),
    )
    assert task.input == "Wake me at seven."
    assert task.past == task.turns[:-1]


def test_one_user_turn_is_the_input(tmp_path: Path) -> None:
    messages = [TALK[0], {"role": "user", "content": "Weather in Rome?"}]
    short = one(tmp_path, instruction="Be brief.")
    assert one(tmp_path, input=None, messages=messages) == short
    assert short.task.turns == ()


def test_a_conversation_may_wait_for_what_follows_a_tool(tmp_path: Path) -> None:
    task = one(tmp_path, input=None, messages=TALK[:5]).task
    assert task.turns[-1] == Message("tool", "rain")
    assert task.input == "Weather in Oslo and Rome?"
    assert task.past == ()


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


def test_a_report_shows_the_whole_conversation(tmp_path: Path) -> None:
    path = written(tmp_path, row(input=None, messages=TALK))
    run = reports.made(tmp_path / "runs", benchmark={"name": "file", "path": path})
    shown = reports.Page(html([run])).text
    assert "Result sunny Result rain Assistant Sunny, and rain. User Wake me at seven." in shown


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
