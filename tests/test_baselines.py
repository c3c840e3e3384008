"""The inductive baselines: labelled rows, one adapter for all tasks, shots drawn from the rows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from engines import shared_engine

from ttsi.answers.calls.values import ToolCall, answer_with, calls_in
from ttsi.digests import json_digest
from ttsi.errors import CorruptAsset, MissingAsset, TtsiError, UsageError
from ttsi.options import options_schema
from ttsi.running.waves import ScoredWaves
from ttsi.solving.pipeline import Pipeline, Stages
from ttsi.types import (
    Adapter,
    Completion,
    Demonstrations,
    Example,
    Record,
    Sample,
    Task,
)
from ttsi_fakes import TOOLS, ScriptedEngine, make_sample
from ttsi_plugins.estimators.constant import Always
from ttsi_plugins.generators.self_generator import SelfGenerator
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners._train import OTHER_TOOLS, read_rows
from ttsi_plugins.learners.icl_train import InContextTrain
from ttsi_plugins.learners.lora_sft import LoraSft
from ttsi_plugins.learners.sft import Sft
from ttsi_plugins.scorers.exact import Exact

CALL = {"name": "get_time", "arguments": {"city": "Rome"}}
TASKS = [make_sample(number).task for number in range(12)]
SPLIT = [
    Sample(
        Task(f"rows/train/{number}", TOOLS, TASKS[0].instruction, f"What time is it in T{number}?"),
        answer_with([ToolCall("get_time", {"city": f"T{number}"})]),
    )
    for number in range(9)
]


def row(number: int, output: Any = None) -> dict[str, Any]:
    return {"instruction": "Call.", "input": f"Question {number}", "output": output or [CALL]}


def write(path: Path, rows: Sequence[Any]) -> str:
    lines = [each if isinstance(each, str) else json.dumps(each) for each in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def taught(learner: Any, samples: Sequence[Sample] = SPLIT) -> Any:
    learner.teach(lambda: samples)
    return learner


def learn(learner: Any, tasks: Sequence[Task], engine: Any = None, seed: int = 0) -> list[Any]:
    nothing: list[Any] = [[] for _ in tasks]
    made: list[Any] = learner.learn(
        tasks, nothing, [None] * len(tasks), engine or ScriptedEngine(), seed
    )
    return made


# ---------------------------------------------------------------- rows


def test_rows_of_a_file_with_calls_or_text_as_output(tmp_path: Path) -> None:
    text = f"Here you are:\n```json\n{json.dumps([CALL])}\n```"
    file = write(tmp_path / "rows.jsonl", [row(0), "", row(1, CALL), row(2, text), "  "])
    rows = read_rows(Path(file))
    assert [each.task.input for each in rows] == ["Question 0", "Question 1", "Question 2"]
    assert [calls_in(each.answer) for each in rows] == [
        (ToolCall("get_time", {"city": "Rome"}),)
    ] * 3
    assert [message.role for message in rows[0].task.messages] == ["system", "user"]


def test_a_line_ends_where_json_lines_says(tmp_path: Path) -> None:
    odd = row(0) | {"input": "one\u2028two\x85three"}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(odd, ensure_ascii=False) + "\r\n", encoding="utf-8")
    assert read_rows(path)[0].task.input == "one\u2028two\x85three"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"instruction": "x"', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1, 2]", "is no object but list"),
        ({"input": "x", "output": [CALL]}, 'needs a text under "instruction"'),
        ({"instruction": "x", "input": 3, "output": [CALL]}, 'needs a text under "input"'),
        ({"instruction": "x", "input": "y"}, "has no answer"),
        (row(0, "I would rather not."), "has no answer"),
        ({**row(0), "output": []}, "has no answer"),
        (row(0, [{"nothing": "here"}]), "has no answer"),
        (row(0, 7), "has no answer"),
    ],
)
@pytest.mark.parametrize("kind", [Sft, InContextTrain])
def test_a_malformed_row_is_told_by_its_line(
    line: Any, what: str, kind: Any, tmp_path: Path
) -> None:
    file = write(tmp_path / "rows.jsonl", [row(0), "", line, row(2)])
    with pytest.raises(CorruptAsset, match=what) as caught:
        kind(file=file)
    assert caught.value.where == f"{file}, line 3"
    assert '"instruction"' in caught.value.cure


def test_files_that_are_not_there_or_empty_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(MissingAsset, match="cannot be read") as missing:
        Sft(file=str(tmp_path / "none.jsonl"))
    assert "none.jsonl" in missing.value.where
    with pytest.raises(MissingAsset):
        Sft(file=str(tmp_path))
    with pytest.raises(CorruptAsset, match="is empty"):
        Sft(file=write(tmp_path / "empty.jsonl", ["", " "]))
    (tmp_path / "bytes.jsonl").write_bytes(b'{"instruction": "\xff"}')
    with pytest.raises(CorruptAsset, match="not UTF-8"):
        Sft(file=str(tmp_path / "bytes.jsonl"))
    faults: tuple[type[TtsiError], ...] = (MissingAsset, CorruptAsset)
    assert {fault.exit_code for fault in faults} == {5}


def test_a_limit_takes_rows_spread_evenly(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", [row(number) for number in range(10)])
    assert [each.task.input[-1] for each in Sft(file=file, limit=4).rows] == ["0", "2", "5", "7"]
    assert len(Sft(file=file, limit=10).rows) == len(Sft(file=file, limit=99).rows) == 10
    assert [each.task.input for each in taught(Sft(limit=3)).rows] == [
        SPLIT[place].task.input for place in (0, 3, 6)
    ]


def test_the_source_names_where_from_how_many_and_exactly_which(tmp_path: Path) -> None:
    rows = [row(0), row(1)]
    one, same = (
        Sft(file=write(tmp_path / name, rows)).source for name in ("one.jsonl", "same.jsonl")
    )
    whole = json_digest([[each["instruction"], each["input"], [CALL]] for each in rows])
    assert one == f"file one.jsonl, 2 rows, {whole}"
    assert same.endswith(whole)
    other = Sft(file=write(tmp_path / "other.jsonl", [row(0), row(2)])).source
    assert other.split(", ")[2] != one.split(", ")[2]
    split = taught(InContextTrain(limit=1)).source
    assert split.startswith("train split of the benchmark, 1 row, sha256:")


@pytest.mark.parametrize("kind", [Sft, InContextTrain])
def test_the_split_is_asked_for_once_and_not_before_it_is_needed(kind: Any) -> None:
    asked: list[int] = []
    learner = kind()
    assert learner.needs_train
    assert learner.needs_examples is False
    learner.teach(lambda: asked.append(1) or SPLIT)
    assert asked == []
    learn(learner, TASKS[:2])
    learn(learner, TASKS[2:4])
    assert asked == [1]


@pytest.mark.parametrize("kind", [Sft, InContextTrain])
def test_without_rows_there_is_nothing_to_learn(kind: Any, tmp_path: Path) -> None:
    for learner in (kind(), taught(kind(), [])):
        with pytest.raises(UsageError, match="no labelled rows") as caught:
            learn(learner, TASKS[:1])
        assert '"file"' in caught.value.cure
    assert not kind(file=write(tmp_path / "rows.jsonl", [row(0)])).needs_train


# ---------------------------------------------------------------- sft


def examples_of(samples: Sequence[Sample]) -> list[Example]:
    return [Example(sample.task, sample.reference, "", 1) for sample in samples]


def test_sft_trains_as_lora_sft_would_on_the_same_pairs() -> None:
    options: dict[str, Any] = {"rank": 4, "epochs": 2, "learning_rate": 3e-4, "dropout": 0.1}
    ours, theirs = ScriptedEngine(), ScriptedEngine()
    (adapter,) = learn(taught(Sft(**options)), TASKS[:1], ours, seed=5)
    train = dataclasses.replace(TASKS[0], id="train")
    (same,) = LoraSft(**options).learn([train], [examples_of(SPLIT)], [None], theirs, 5)
    assert ours.asked == theirs.asked
    assert adapter.digest == same.digest
    assert options_schema(Sft)["properties"].keys() == {
        *options_schema(LoraSft)["properties"],
        "file",
        "form",
        "limit",
    }
    assert Sft().recipe() == LoraSft().recipe()


def test_sft_trains_once_whatever_the_waves_and_every_task_gets_the_same_adapter() -> None:
    engine = ScriptedEngine()
    learner = taught(Sft())
    waves = [learn(learner, TASKS[first : first + 4], engine, seed=3) for first in (8, 0, 4)]
    adapters = [adapter for wave in waves for adapter in wave]
    assert len(adapters) == 12
    assert all(adapter is adapters[0] for adapter in adapters)
    assert adapters[0].source.startswith("train split of the benchmark, 9 rows, sha256:")
    (job,) = engine.asked
    alone, other = ScriptedEngine(), ScriptedEngine()
    learn(taught(Sft()), TASKS[:1], alone, seed=3)
    learn(taught(Sft()), TASKS[:1], other, seed=4)
    assert alone.asked == [job]
    assert other.asked[0].seed != job.seed


def test_sft_can_write_targets_as_constrained_decoding_writes_them() -> None:
    engine = ScriptedEngine()
    learn(taught(Sft(target="list", limit=1)), TASKS[:1], engine)
    ((_, target),) = engine.asked[0].pairs
    assert target == '[{"name": "get_time", "arguments": {"city": "T0"}}]'
    learn(taught(Sft(limit=1)), TASKS[:1], engine)
    assert engine.asked[1].pairs[0][1].startswith("<tool_call>\n{")


def run(learner: Any, wave: int) -> list[Record]:
    samples = [make_sample(number) for number in range(6)]
    stages = Stages(Always(), SelfGenerator(), learner, Direct(decoding="greedy"))
    waves = ScoredWaves(Pipeline(stages, ScriptedEngine(), seed=7), Exact(), 7)
    records = [
        record
        for first in range(0, 6, wave)
        for record in waves.run_wave(samples[first : first + wave])
    ]
    waves.close()
    return sorted(records, key=lambda record: record.id)


@pytest.mark.parametrize("kind", [Sft, InContextTrain])
def test_in_a_run_the_baselines_need_no_examples_and_the_wave_changes_nothing(kind: Any) -> None:
    whole, parts = run(taught(kind()), 6), run(taught(kind()), 2)
    assert [dataclasses.replace(record, costs={}) for record in whole] == [
        dataclasses.replace(record, costs={}) for record in parts
    ]
    for record in whole:
        assert record.adapted
        assert record.examples == ()
        assert "generate" not in record.costs
        assert record.receipt is not None
        assert record.receipt["source"].startswith("train split of the benchmark, 9 rows")


def test_what_sft_costs_is_in_the_learning_of_the_first_wave() -> None:
    spent = [record.costs["learn"].prompt_tokens for record in run(taught(Sft()), 2)]
    assert spent == [15, 15, 0, 0, 0, 0]


# ---------------------------------------------------------------- icl_train


def test_rows_of_another_form_are_not_shown(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", [row(0)])
    numbers = [dataclasses.replace(task, form="number") for task in TASKS]
    with pytest.raises(UsageError, match="answers of form calls, and the tasks want number") as e:
        learn(InContextTrain(file=str(file)), numbers)
    assert '"form": "number"' in e.value.cure


def test_shots_come_from_the_rows_and_are_the_tasks_own() -> None:
    learner = taught(InContextTrain(shots=2))
    together = learn(learner, TASKS, seed=1)
    assert together == [learn(taught(InContextTrain(shots=2)), [t], seed=1)[0] for t in TASKS]
    questions = {sample.task.input for sample in SPLIT}
    drawn = [[turn.content for turn in made.turns[::2]] for made in together]
    assert all(len(set(some)) == 2 and set(some) <= questions for some in drawn)
    assert len({tuple(some) for some in drawn}) > 6
    assert learn(learner, TASKS, seed=2) != together
    first = learn(taught(InContextTrain()), TASKS, seed=1)
    assert [made.turns for made in first] == [made.turns[:2] for made in together]
    assert all(isinstance(made, Demonstrations) and made.source == learner.source for made in first)


def test_no_row_is_shown_twice() -> None:
    (made,) = learn(taught(InContextTrain(shots=50)), TASKS[:1])
    asked = [turn.content for turn in made.turns if turn.role == "user"]
    assert len(set(asked)) == len(asked) == len(SPLIT)


def test_a_row_with_other_tools_brings_its_instruction_along() -> None:
    same, other = TASKS[0], dataclasses.replace(TASKS[0], instruction="Other tools.")
    learner = taught(InContextTrain(), SPLIT[:1])
    plain, whole = (learn(learner, [task])[0].turns for task in (same, other))
    row_task = SPLIT[0].task
    assert plain[0].content == row_task.input
    assert whole[0].content == f"{OTHER_TOOLS}\n\n{row_task.instruction}\n\n{row_task.input}"


def test_demonstrations_are_written_as_the_model_answered_or_as_tool_calls() -> None:
    fenced = f"```json\n{json.dumps([CALL])}\n```"
    base = Completion(fenced, answer_with([ToolCall("get_time", {"city": "Rome"})]))

    def shown(target: Any, answer: Completion | None) -> str:
        learner = taught(InContextTrain(target=target))
        assert learner.needs_base == (target == "as_answered")
        (made,) = learner.learn(TASKS[:1], [[]], [answer], ScriptedEngine(), 0)
        text: str = made.turns[1].content
        return text

    assert shown("as_answered", base).startswith("```json\n[{")
    assert shown("as_answered", None).startswith("<tool_call>\n{")
    assert shown("tool_call", base).startswith("<tool_call>\n{")


# ---------------------------------------------------------------- with a real model


@pytest.mark.model
def test_a_real_adapter_is_the_one_that_lora_sft_trains() -> None:
    engine = shared_engine()
    options: dict[str, Any] = {"epochs": 1, "rank": 4}
    learner = taught(Sft(**options), SPLIT[:2])
    first, again = learn(learner, TASKS[:2], engine, seed=1)
    train = dataclasses.replace(TASKS[0], id="train")
    (same,) = LoraSft(**options).learn([train], [examples_of(SPLIT[:2])], [None], engine, 1)
    assert isinstance(same, Adapter)
    assert first is again
    assert first.digest == same.digest
    assert first.training is not None
    assert same.training is not None
    assert first.training.losses == same.training.losses
    assert len(first.training.losses) == 2
    (other,) = learn(taught(Sft(**options), SPLIT[:2]), TASKS[:1], engine, seed=2)
    assert other.digest != first.digest
