"""`ttsi serve` over real HTTP, with a scripted engine: the journal, and what clients say."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from pathlib import Path

import pytest
from serving import FAKE, a_call, asking, city, serving

from ttsi.answers.calls.values import calls_in
from ttsi.errors import RunError, StorageError
from ttsi.serving.feedback import Answers
from ttsi.serving.logs import Log
from ttsi.serving.refusals import Refusal
from ttsi.serving.served import Limits
from ttsi_benchmarks.file import File
from ttsi_plugins.learners.nearest import Nearest

# ---------------------------------------------------------------- what is kept


def test_the_journal_keeps_requests_and_receipts_and_no_keys(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "journal.jsonl"
    with serving(FAKE, journal=path, key="secret") as server:
        key = {"Authorization": "Bearer secret"}
        body = asking(user="me")
        _, _, answer = server.ask("/v1/chat/completions", body, **key)
        server.ask("/v1/chat/completions", asking(stream=True, model="fake:base"), **key)
        assert server.ask("/v1/chat/completions", asking(n="x"), **key)[0] == 400
        text = path.read_text()
        with pytest.raises(RunError, match="Another ttsi process"), serving(FAKE, journal=path):
            pass
    first, second = map(json.loads, text.splitlines())
    assert (first["id"], first["request"]) == (answer["id"], body)
    assert first["answers"][0]["examples"] == answer["ttsi"]["examples"]
    assert second["model"] == "fake:base"
    assert "secret" not in text


def test_a_torn_line_is_cut_off_when_a_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"whole": 1}\n{"torn": ')
    with serving(FAKE, journal=path) as server:
        server.chat()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == {"whole": 1}
    assert len(lines) == 2


def test_a_full_disk_behind_a_torn_line_leaves_what_was_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "journal.jsonl"
    path.write_text('{"whole": 1}\n{"torn": ')
    with Log(path) as log, monkeypatch.context() as refusing:
        refusing.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="disk is full"):
            asyncio.run(log.append({"row": 2}))
    assert path.read_text() == '{"whole": 1}\n'


def test_feedback_becomes_rows_that_the_benchmark_file_and_learners_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with serving(FAKE, feedback=path) as server:
        right = server.chat(**city(2))[2]["id"]
        wrong = server.chat(**city(3, model="fake:base"))[2]["id"]
        unknown = server.chat(**city(4))[2]["id"]
        corrected = [a_call("City3")]
        for body, kept in (
            ({"id": right, "correct": True}, True),
            ({"id": wrong, "correct": False, "answer": corrected}, True),
            ({"id": unknown, "correct": False}, False),
        ):
            status, _, answer = server.ask("/v1/feedback", body)
            assert (status, answer["kept"]) == (200, kept)
        for body, status, param in (
            ({"id": "chatcmpl-none", "correct": True}, 404, "id"),
            ({"id": wrong, "correct": True}, 409, "id"),
            ({"correct": True}, 400, "id"),
            ({"id": right}, 400, "correct"),
            ({"id": right, "correct": False, "answer": "yes"}, 400, "answer"),
            ({"id": right, "correct": False, "answer": [{"name": "f"}]}, 400, "answer"),
            ({"id": right, "correct": False, "answer": [{"name": "get_time", "arguments": {}}]},
             400, "answer"),
        ):  # fmt: skip
            found, _, answer = server.ask("/v1/feedback", body)
            assert (found, answer["error"]["param"]) == (status, param)
    samples = list(File(path=str(path)).samples())
    cities = [calls_in(sample.reference)[0].arguments["city"] for sample in samples]
    assert cities == ["City2", "City3"]
    rows = Nearest(file=str(path)).rows
    assert [row.answer for row in rows] == [sample.reference for sample in samples]
    assert [row.task.instruction for row in rows] == [s.task.instruction for s in samples]


def test_an_answer_whose_row_could_not_be_written_can_get_one_later() -> None:
    answers = Answers(most=2)
    with pytest.raises(OSError, match="full"), answers.labelling("a"):
        raise OSError("full")
    with answers.labelling("a"):
        pass
    with pytest.raises(Refusal), answers.labelling("a"):
        pass


def test_answers_are_forgotten_in_the_order_in_which_they_were_given() -> None:
    with serving(FAKE, limits=Limits(kept=2)) as server:
        ids = [server.chat(**city(n))[2]["id"] for n in range(3)]
        told = [server.ask("/v1/feedback", {"id": id, "correct": True})[0] for id in ids]
    assert told == [404, 200, 200]
