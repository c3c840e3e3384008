"""Labelled rows for training: their contents, and that they share nothing with the test rows."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from engines import data

from ttsi.answers.calls import Switches
from ttsi.answers.calls.normalise import normalise
from ttsi.answers.calls.validation import argument_faults
from ttsi.answers.calls.values import ToolCall, calls_in
from ttsi.digests import json_digest
from ttsi.types import Completion, Sample
from ttsi_benchmarks import _seal, quickstart
from ttsi_benchmarks._hammer import declared_required, to_tool
from ttsi_benchmarks.quickstart import Quickstart
from ttsi_benchmarks.sealtool import INSTRUCTION, SealTool
from ttsi_plugins.learners._train import OTHER_TOOLS
from ttsi_plugins.learners.icl_train import InContextTrain
from ttsi_plugins.scorers.exact import Exact

BENCHMARKS: dict[str, Any] = {"quickstart": Quickstart, "sealtool": SealTool}
TEST = {name: kind().samples() for name, kind in BENCHMARKS.items()}
TRAIN = {name: kind().train() for name, kind in BENCHMARKS.items()}
each = pytest.mark.parametrize("name", sorted(BENCHMARKS))


def folded(text: str) -> str:
    return " ".join(text.casefold().split())


def called(samples: Sequence[Sample]) -> set[str]:
    return {call.name for sample in samples for call in calls_in(sample.reference)}


# ---------------------------------------------------------------- what all have in common


@each
def test_how_many_rows_there_are_and_what_they_are_called(name: str) -> None:
    count = {"quickstart": 24, "sealtool": 200}[name]
    assert [sample.id for sample in TRAIN[name]] == [f"{name}/train/{i}" for i in range(count)]


@each
def test_no_row_asks_what_a_test_row_asks_or_calls_what_one_calls(name: str) -> None:
    questions = {folded(sample.task.input) for sample in TEST[name]}
    assert questions.isdisjoint(folded(sample.task.input) for sample in TRAIN[name])
    assert len({folded(sample.task.input) for sample in TRAIN[name]}) == len(TRAIN[name])
    assert called(TRAIN[name]).isdisjoint(called(TEST[name]))


@each
def test_references_are_calls_of_offered_tools_and_score_one(name: str) -> None:
    scorer = Exact(**BENCHMARKS[name].scoring)
    for sample in TRAIN[name]:
        schemas = {tool.name: tool.schema for tool in sample.task.tools}
        assert calls_in(sample.reference)
        for call in calls_in(sample.reference):
            typed = normalise(dict(call.arguments), schemas[call.name], Switches())
            assert not list(argument_faults(sample.task.tools, ToolCall(call.name, typed)))
        replayed = Completion("", sample.reference)
        assert scorer.score(sample.task, sample.reference, replayed).correct
    for before, sample in zip(TRAIN[name], TRAIN[name][1:], strict=False):
        wrong = Completion("", before.reference)
        assert not scorer.score(sample.task, sample.reference, wrong).correct


@each
def test_selection_is_of_test_rows_alone_and_the_split_is_no_part_of_the_revision(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = BENCHMARKS[name]
    assert kind(limit=2).train() == kind(ids=[f"{name}/1"]).train() == TRAIN[name]
    before = kind().revision()
    monkeypatch.setattr(_seal, "DEV", dataclasses.replace(_seal.DEV, sha256="0" * 64))
    monkeypatch.setattr(_seal, "TOOLS", dataclasses.replace(_seal.TOOLS, sha256="0" * 64))
    assert kind().revision() == before


@each
def test_a_demonstration_of_another_tasks_tools_shows_them(name: str) -> None:
    learner = InContextTrain()
    learner.teach(lambda: TRAIN[name])
    tasks = [sample.task for sample in TEST[name][:20]]
    made = learner.learn(tasks, [[]] * 20, [None] * 20, None, 0)  # type: ignore[arg-type]
    turns = [demonstration.turns for demonstration in made]  # type: ignore[union-attr]
    shown = [question.content for question, _ in turns]
    by_text = {f"{OTHER_TOOLS}\n\n{s.task.instruction}\n\n{s.task.input}": s for s in TRAIN[name]}
    assert set(shown) <= by_text.keys()
    assert len(set(shown)) > 10
    for text, (_, answer) in zip(shown, turns, strict=True):
        for call in calls_in(by_text[text].reference):
            assert f'"name":"{call.name}"' in text
            assert f'"name": "{call.name}"' in answer.content


# ---------------------------------------------------------------- quickstart


def test_quickstart_rows_are_written_as_its_test_rows_are() -> None:
    assert Counter(len(calls_in(sample.reference)) for sample in TRAIN["quickstart"]) == {
        1: 23,
        2: 1,
    }
    for sample in TRAIN["quickstart"]:
        assert len(sample.task.tools) in (3, 4)
        assert sample.task.instruction.startswith(quickstart.INSTRUCTION)
        for call in calls_in(sample.reference):
            for value in call.arguments.values():
                assert str(value) in sample.task.input, sample.id


# ---------------------------------------------------------------- sealtool


def test_the_files_are_those_of_the_manifest() -> None:
    manifest = {row["file"]: row for row in json.loads(data("MANIFEST.json").read_text())}
    for asset in (_seal.DEV, _seal.TOOLS):
        row = manifest[asset.name]
        assert (asset.sha256, asset.license) == (row["sha256"], row["license"])
        path = f"{row['repository']}/{row['commit']}/{row['upstream_path']}"
        assert asset.url == f"https://raw.githubusercontent.com/{path}"


def lines(name: str) -> list[dict[str, Any]]:
    text = data(f"seal_tools/{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_rows_are_the_single_calls_of_the_development_file_under_their_places() -> None:
    single = {i: row for i, row in enumerate(lines("dev")) if len(row["calling"]) == 1}
    assert [f"sealtool/train/{i}" for i in single] == [sample.id for sample in TRAIN["sealtool"]]
    for row, sample in zip(single.values(), TRAIN["sealtool"], strict=True):
        (call,) = row["calling"]
        assert sample.task.input == row["query"]
        assert calls_in(sample.reference) == (ToolCall(call["api"], call["parameters"]),)
        assert sample.task.instruction.startswith(INSTRUCTION + "\n\nTools:\n")


def test_tools_read_as_they_do_in_the_test_rows() -> None:
    own = {
        tool["api_name"]: to_tool(_seal.hammer_tool(tool), declared_required)
        for tool in lines("tool")
    }
    offered = [tool for sample in TEST["sealtool"] for tool in sample.task.tools]
    assert len(offered) == 5 * 294
    assert all(own[tool.name] == tool for tool in offered)
    assert all(own[t.name] == t for sample in TRAIN["sealtool"] for t in sample.task.tools)


def words(text: str) -> set[str]:
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text)
    return {word for word in re.split(r"[^a-z]+", parted.casefold()) if len(word) > 2}


def test_the_five_tools_are_the_closest_to_the_query_and_the_one_it_needs() -> None:
    texts = {t["api_name"]: words(f"{t['api_name']} {t['api_description']}") for t in lines("tool")}
    spread = Counter(word for text in texts.values() for word in text)
    weight = {word: math.log(len(texts) / count) for word, count in spread.items()}

    def closeness(query: str, name: str) -> float:
        shared = sum(weight[word] ** 2 for word in words(query) & texts[name])
        return shared / math.sqrt(sum(weight[word] ** 2 for word in texts[name]))

    for sample in TRAIN["sealtool"][::25]:
        values = {name: closeness(sample.task.input, name) for name in texts}
        offered = [values[name] for name in sample.task.tool_names]
        assert offered == pytest.approx(sorted(offered, reverse=True))
        own = calls_in(sample.reference)[0].name
        others = [name for name in sample.task.tool_names if name != own]
        assert (len(others), own in sample.task.tool_names) == (4, True)
        left_out = max(value for name, value in values.items() if name not in [own, *others])
        assert min(values[name] for name in others) >= left_out - 1e-9


def test_the_tool_needed_stands_first_about_as_often_as_in_the_test_rows() -> None:
    def first(samples: Sequence[Sample]) -> float:
        return sum(s.task.tool_names[0] == calls_in(s.reference)[0].name for s in samples) / len(
            samples
        )

    assert first(TEST["sealtool"]) == pytest.approx(258 / 294)
    assert first(TRAIN["sealtool"]) == pytest.approx(154 / 200)


def test_the_rows_are_the_same_in_every_process() -> None:
    code = (
        "from ttsi.digests import json_digest; from ttsi_benchmarks.sealtool import SealTool;"
        "print(json_digest([sample.digest for sample in SealTool().train()]))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert digests == {json_digest([sample.digest for sample in TRAIN["sealtool"]])}
