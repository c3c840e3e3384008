"""`ttsi export`: the table of a run as CSV and Parquet, read back by pandas."""

from __future__ import annotations

import csv
import json
import os
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import CASES, HOSTILE
from told import assert_told, run

from ttsi._common.files import writing
from ttsi.errors import CorruptAsset, UsageError
from ttsi.records.journal import read, read_last
from ttsi.records.lines import to_line
from ttsi.results import table, tabular
from ttsi.results.runs import open_run
from ttsi.results.table import COLUMNS
from ttsi.types import (
    UNPARSABLE,
    Answer,
    Completion,
    Estimate,
    Example,
    Message,
    Record,
    Rejections,
    Score,
    StageCost,
    Step,
    Task,
)

DTYPES = {"text": "string", "flag": "boolean", "count": "Int64", "number": "Float64"}
TEXTS = {column.name: "string" for column in COLUMNS if column.kind == "text"}
FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", " =1", "\t=1", "\r=1", "＝1", "-inf"]


def written(record: Record, folder: Path, *more: Record) -> Path:
    """Write a run with these records and return its folder."""
    seed = folder / "seed-0"
    seed.mkdir(parents=True)
    spec = {"name": "r", "model": {"id": "m"}, "benchmark": {"name": "rows"}}
    named = ("estimator", "generator", "learner", "inference", "engine", "executor", "scorer")
    (seed / "spec.resolved.json").write_text(json.dumps(spec | {k: {"name": k} for k in named}))
    lines = [to_line(each) + "\n" for each in (record, *more)]
    (seed / "samples.jsonl").write_text("".join(lines))
    return folder


def as_csv(folder: Path) -> pandas.DataFrame:
    tabular.write_csv(folder, folder / "t.csv")
    return pandas.read_csv(folder / "t.csv", dtype=TEXTS, dtype_backend="numpy_nullable")


def as_parquet(folder: Path) -> pandas.DataFrame:
    tabular.write_parquet(folder, folder / "t.parquet")
    return pandas.read_parquet(folder / "t.parquet")


def cells(folder: Path) -> list[dict[str, Any]]:
    names = [column.name for column in COLUMNS]
    return [dict(zip(names, row, strict=True)) for row in table.rows(folder)]


SAID = Completion("it is 7", Answer.of(7), 11, 5, -1.5)
EMPTY = Record(id="rows/0", digest="d", seed=0)


# ---------------------------------------------------------------- what the cells say


@pytest.mark.parametrize("case", [name for name in CASES if name not in ("hostile", "other_data")])
def test_each_kind_of_run_is_a_table(case: str, tmp_path: Path) -> None:
    for found in CASES[case](tmp_path):
        frame = as_parquet(found.folder)
        records = [record for seed in found.seeds for record in seed.records]
        assert list(frame["id"]) == [record.id for record in records]
        assert list(frame["seed"]) == [record.seed for record in records]
        assert {str(frame[c.name].dtype) for c in COLUMNS if c.kind == "flag"} == {"boolean"}
        for of in ("base", "final"):
            correct = [getattr(r, f"{of}_score") for r in records]
            wanted = [None if score is None else score.correct for score in correct]
            assert [None if x is pandas.NA else x for x in frame[f"{of}_correct"]] == wanted
        shares = [seed.results["accuracy"] for seed in found.seeds if seed.records]
        means = frame["final_correct"].fillna(False).groupby(frame["seed"]).mean()
        assert list(means) == pytest.approx(shares)
        spent = sum(seed.results["stages"]["seconds"] for seed in found.seeds)
        assert frame["seconds"].sum() == pytest.approx(spent)
        of_stages = [f"{s}_seconds" for s in ("estimate", "answer", "generate", "learn", "adapted")]
        assert frame[of_stages].sum().sum() == pytest.approx(spent)


def test_an_adapted_sample_has_its_training(tmp_path: Path) -> None:
    (found,) = CASES["all_uncertain"](tmp_path)
    frame = as_parquet(found.folder)
    losses = [record.receipt["losses"] for record in found.seeds[0].records if record.receipt]
    assert frame["adapted"].all()
    assert list(frame["loss_first"]) == [each[0] for each in losses]
    assert list(frame["loss_last"]) == [each[-1] for each in losses]
    assert list(frame["train_steps"]) == list(map(len, losses))
    assert set(frame["examples"]) == {1}
    assert set(frame["adaptation"]) == {"lora"}
    assert set(frame["run"]) == {found.folder.name}


def test_a_seed_alone_is_a_table_too(tmp_path: Path) -> None:
    (found,) = CASES["seeds"](tmp_path)
    whole, one = cells(found.folder), cells(found.folder / "seed-4")
    assert one == [row for row in whole if row["seed"] == 4]
    assert {row["run"] for row in one} == {found.folder.name}


def test_the_steps_of_an_episode_are_added_up(tmp_path: Path) -> None:
    task = Task("rows/0#0", (), "", "like it")
    receipt = {"kind": "lora", "steps": 3, "tokens": 40, "losses": [3.0, 2.0, 1.0]}
    step = Step(
        (Message("user", "go"),),
        Estimate(0.5, True),
        (Example(task, Answer.of(1), "", 2),),
        receipt,
        SAID,
        True,
        rejected=Rejections({"copy": 1}),
    )
    episode = replace(EMPTY, steps=(step, step, replace(step, examples=(), receipt=None)))
    (row,) = cells(written(episode, tmp_path))
    wanted = {"steps": 3, "examples": 2, "attempts": 4, "train_steps": 6, "train_tokens": 80}
    wanted["rejected"] = 3
    assert {name: row[name] for name in wanted} == wanted
    assert row["loss_first"] is row["loss_last"] is None
    (row,) = cells(written(replace(episode, steps=(step,)), tmp_path / "one"))
    assert (row["loss_first"], row["loss_last"]) == (3.0, 1.0)


def test_of_a_sample_that_was_tried_again_the_last_record_counts(tmp_path: Path) -> None:
    failed, other = replace(EMPTY, error="broke"), replace(EMPTY, id="rows/1")
    folder = written(failed, tmp_path, other, replace(EMPTY, final=SAID))
    journal = folder / "seed-0" / "samples.jsonl"
    found = {record.id: record for record in read(journal)}
    assert {record.id: record for record in read_last(journal)} == found
    assert {row["id"]: row["error"] for row in cells(folder)} == {"rows/0": None, "rows/1": None}
    reader = read_last(journal)
    first = next(reader)
    with journal.open("a") as file:  # what a run appends meanwhile
        file.write(to_line(replace(other, id="rows/2")) + "\n" + to_line(other) + "\n")
    assert [first.id, *(record.id for record in reader)] == ["rows/1", "rows/0"]


def test_what_is_not_known_is_empty_and_what_no_file_holds_is_replaced(tmp_path: Path) -> None:
    bad = Completion("a\0b\ud800", UNPARSABLE)
    record = replace(EMPTY, base=bad, base_score=Score(False, "unparsable", HOSTILE))
    (row,) = cells(written(record, tmp_path))
    assert (row["base_text"], row["base_status"]) == ("a\ufffdb\ufffd", "unparsable")
    assert row["base_answer"] is row["final_text"] is row["confidence"] is row["seconds"] is None
    frame = as_parquet(tmp_path)
    assert frame["base_detail"][0] == row["base_detail"]
    assert as_csv(tmp_path)["base_text"][0] == row["base_text"]


# ---------------------------------------------------------------- types


def test_types_survive(tmp_path: Path) -> None:
    full = replace(
        EMPTY,
        estimate=Estimate(0.25, True),
        base=SAID,
        base_score=Score(True),
        final=replace(SAID, text=" 007 ", answer=Answer.of("NA")),
        final_score=Score(False, "wrong_value"),
        adapted=True,
        costs={"answer": StageCost(1.5, 10, 2.25)},
    )
    folder = written(EMPTY, tmp_path, replace(full, id="1"))
    for frame in (as_csv(folder), as_parquet(folder)):
        last = frame.iloc[1]
        assert (last["id"], last["final_text"], last["final_answer"]) == ("1", " 007 ", '"NA"')
        assert (last["confidence"], last["answer_completion_tokens"]) == (0.25, 2.25)
        assert (last["base_correct"], last["final_correct"]) == (True, False)
        assert last["base_tokens"] == 5
        filled = frame.columns[frame.notna().any()]
        kinds = {column.name: DTYPES[column.kind] for column in COLUMNS}
        # Of a column without any value, CSV does not say what it would hold.
        assert {name: str(frame[name].dtype) for name in filled} == {n: kinds[n] for n in filled}
    assert {str(frame[name].dtype) == kind for name, kind in kinds.items()} == {True}


# ---------------------------------------------------------------- spreadsheets


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_is_a_formula(text: str) -> None:
    assert tabular._harmless(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-5", "+3.25", "-1e-7", "7", "a=b", "", "[1]", '"=1"'])
def test_numbers_and_other_texts_stay_as_they_are(text: str) -> None:
    assert tabular._harmless(text) == text


@given(st.text() | st.sampled_from(FORMULAS).flatmap(lambda text: st.just("'" + text)))
def test_without_its_first_apostrophe_each_text_is_what_it_was(text: str) -> None:
    harmless = tabular._harmless(text)
    assert harmless.removeprefix("'") == text
    assert harmless.lstrip()[:1] not in set("=@＝＠") or harmless == ""


@given(st.lists(st.text(), min_size=3, max_size=3))
def test_csv_gives_back_any_text(
    tmp_path_factory: pytest.TempPathFactory, texts: Sequence[str]
) -> None:
    record = replace(EMPTY, final=replace(SAID, text=texts[0]), note=texts[1], error=texts[2])
    folder = written(record, tmp_path_factory.mktemp("any"))
    tabular.write_csv(folder, folder / "t.csv")
    with (folder / "t.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    found = [row[name].removeprefix("'") for name in ("final_text", "note", "error")]
    assert found == [text.replace("\0", "\ufffd") for text in texts]


# ---------------------------------------------------------------- what may go wrong


def test_a_record_of_absurd_numbers_is_told_of(tmp_path: Path) -> None:
    huge = replace(SAID, completion_tokens=10**30)
    with pytest.raises(CorruptAsset, match="rows/0"):
        cells(written(replace(EMPTY, base=huge), tmp_path / "count"))
    odd = {"kind": "lora", "steps": "x", "tokens": None, "losses": {"a": 1}}
    (row,) = cells(written(replace(EMPTY, receipt=odd), tmp_path / "receipt"))
    assert row["train_steps"] is row["train_tokens"] is row["loss_first"] is None


def test_a_folder_that_is_no_run_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for to in ("csv", "parquet"):
        code, said = run(["export", str(tmp_path), "--to", to], capsys)
        assert_told(code, said)
        assert (code, "There is no run here" in said) == (2, True)
    with pytest.raises(UsageError):
        tabular.write_csv(tmp_path / "nowhere", tmp_path / "t.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [tabular.write_csv, tabular.write_parquet])
def test_a_damaged_line_leaves_the_old_file(write: Callable[..., None], tmp_path: Path) -> None:
    folder = written(EMPTY, tmp_path, replace(EMPTY, id="b", base=replace(SAID, prompt_tokens=1)))
    (folder / "old").write_text("old")
    journal = folder / "seed-0" / "samples.jsonl"
    journal.write_text(journal.read_text().replace('"prompt_tokens": 1', '"prompt_tokens": "1"'))
    with pytest.raises(CorruptAsset, match="Line 2"):
        write(folder, folder / "old")
    assert (folder / "old").read_text() == "old"
    assert sorted(path.name for path in folder.iterdir()) == ["old", "seed-0"]


def test_an_interrupted_file_is_removed(tmp_path: Path) -> None:
    def interrupted() -> None:
        with writing(tmp_path / "new") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_without_pyarrow_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tabular, "find_spec", lambda name: None)
    folder = written(EMPTY, tmp_path)
    code, said = run(["export", str(folder), "--to", "parquet"], capsys)
    assert (code, "pip install 'ttsi[export]'" in said) == (5, True)
    assert run(["export", str(folder)], capsys) == (0, f"{folder / 'records.csv'}\n")


def test_a_pipe_gets_the_table_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(EMPTY, tmp_path)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert run(["export", str(folder), "--out", str(tmp_path / "pipe")], capsys) == (0, "")
    got = os.read(reader, 100_000).decode()
    os.close(reader)
    assert [len(row) for row in csv.reader(got.splitlines())] == [len(COLUMNS)] * 2


def test_memory_does_not_grow_with_the_run(tmp_path: Path) -> None:
    """Only the ids of all samples are kept, beside one record of 10 kB at a time."""
    long = replace(EMPTY, final=replace(SAID, text="x" * 10_000))
    folder = written(long, tmp_path, *(replace(long, id=f"rows/{n}") for n in range(1, 600)))
    tracemalloc.start()
    tabular.write_csv(folder, tmp_path / "t.csv")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "t.csv").stat().st_size > 6_000_000
    assert peak < 1_500_000


def test_the_table_agrees_with_the_opened_run(tmp_path: Path) -> None:
    (found,) = CASES["unfinished"](tmp_path)
    assert [row["id"] for row in cells(found.folder)] == [
        record.id for record in open_run(found.folder).seeds[0].records
    ]
