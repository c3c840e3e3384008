"""The journal: torn lines, damaged lines, full disks, two writers."""

from __future__ import annotations

import errno
import os
import platform
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttsi.records.journal
from ttsi._common.files import write_atomically
from ttsi.answers.calls.values import Reason, ToolCall, answer_with
from ttsi.errors import CorruptAsset, RunError, StorageError
from ttsi.records.journal import Journal, heal, only_writer, read
from ttsi.records.lines import from_json, to_json, to_line
from ttsi.types import Completion, Estimate, Example, Record, Score, StageCost
from ttsi_fakes import make_sample

SAMPLES = [make_sample(number) for number in range(4)]


def record(number: int, text: str = "x", error: str = "") -> Record:
    sample = SAMPLES[number]
    answer = Completion(text, answer_with([ToolCall("get_time", {"city": "Ä"})]), 3, 2, -0.5)
    return Record(
        id=sample.id,
        digest=sample.digest,
        seed=0,
        estimate=Estimate(0.25, True, {"get_time": -1.5}),
        examples=(Example(sample.task.variant("0", input="y"), answer.answer, "raw", 2),),
        receipt={"kind": "lora", "losses": [1.0]},
        base=answer,
        base_score=Score(False, Reason.WRONG_VALUE, "city"),
        final=answer,
        final_score=Score(True),
        adapted=True,
        error=error,
        costs={"answer": StageCost(1.5, 10, 4)},
    )


def test_a_record_survives_the_file(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append(record(0))
        (back,) = journal.finished(SAMPLES, 0).values()
    assert to_json(back) == to_json(record(0))
    assert back.final_score == Score(True)


@given(st.text())
def test_any_text_survives_a_line(text: str) -> None:
    import json

    line = to_line(record(0, text))
    assert "\n" not in line
    again = from_json(json.loads(line.encode()))
    assert again.final is not None
    assert again.final.text == text


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, cut: int) -> None:
    with Journal(tmp_path) as journal:
        journal.append(record(0))
        journal.append(record(1))
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-cut])
    with Journal(tmp_path) as journal:
        assert list(journal.finished(SAMPLES, 0)) == ["rows/0"]
        journal.append(record(1))
    assert journal.path.read_bytes() == whole


def test_a_file_without_any_newline_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b"x" * 200_000)
    heal(path)
    assert path.read_bytes() == b""


def test_a_damaged_line_in_the_middle_is_an_error_with_its_number(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append(record(0))
    with journal.path.open("ab") as file:
        file.write(b'{"id": 3}\n')
    with Journal(tmp_path) as journal, pytest.raises(CorruptAsset, match="Line 2"):
        journal.finished(SAMPLES, 0)


def test_errored_samples_do_not_count_as_finished(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append(record(0, error="answer: boom"))
        journal.append(record(1))
        assert list(journal.finished(SAMPLES, 0)) == ["rows/1"]
        journal.append(record(0))
        assert set(journal.finished(SAMPLES, 0)) == {"rows/0", "rows/1"}


def test_a_changed_sample_stops_the_run(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append(record(0))
        with pytest.raises(RunError, match="not what it was"):
            journal.finished([make_sample(0, city="Elsewhere")], 0)


def test_two_writers_are_refused(tmp_path: Path) -> None:
    with (
        only_writer(tmp_path),
        pytest.raises(RunError, match="Another ttsi process"),
        only_writer(tmp_path),
    ):
        pass


def test_what_a_killed_writer_left_half_written_is_removed(tmp_path: Path) -> None:
    script = f"""
        import os
        from pathlib import Path
        from ttsi._common import files
        Path.replace = lambda *_: os.kill(os.getpid(), 9)
        files.write_atomically(Path({str(tmp_path)!r}) / "results.json", "new")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    (left,) = tmp_path.iterdir()
    assert (done.returncode, left.suffix) == (-9, ".part")
    write_atomically(tmp_path / "other.json", "another file")
    assert not left.exists()
    write_atomically(tmp_path / "results.json", "newer")
    left.touch()
    with only_writer(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "other.json", "results.json"}


def test_what_a_living_writer_has_half_written_stays(tmp_path: Path) -> None:
    theirs = tmp_path / f".results.json.{platform.node()}-{os.getppid()}.part"
    elsewhere = tmp_path / ".results.json.another-machine-1234567.part"
    for path in (theirs, elsewhere):
        path.touch()
    write_atomically(tmp_path / "results.json", "ours")
    assert theirs.exists()
    assert elsewhere.exists()


def test_a_failed_write_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(tmp_path) as journal:
        journal.append(record(0))
        before = journal.path.read_bytes()

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(ttsi.records.journal, "SYNC_EVERY", 0.0)
        with monkeypatch.context() as refusing:
            refusing.setattr(os, "fsync", full)
            with pytest.raises(StorageError, match="disk is full"):
                journal.append(record(1))
        assert journal.path.read_bytes() == before


def test_records_that_come_fast_share_an_fsync_and_the_last_ones_have_one_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(ttsi.records.journal, "SYNC_EVERY", 1000.0)
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    with Journal(tmp_path) as journal:
        for number in range(len(SAMPLES)):
            journal.append(record(number))
            assert len(list(read(journal.path))) == number + 1
        first = len(synced)
    assert first <= 1
    assert synced[-1] == journal.path.stat().st_size


def test_a_file_size_limit_of_the_system_is_met_without_loss(tmp_path: Path) -> None:
    """The kernel refuses a write, in a separate process."""
    script = textwrap.dedent("""
        import resource, sys
        from pathlib import Path
        from test_journal import record
        from ttsi.errors import StorageError
        from ttsi.records.journal import Journal

        with Journal(Path(sys.argv[1])) as journal:
            journal.append(record(0))
            size = journal.path.stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, resource.RLIM_INFINITY))
            try:
                journal.append(record(1))
            except StorageError:
                sys.exit(42)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["fakes", "."])},
        check=False,
    )
    assert done.returncode == 42
    assert [kept.id for kept in read(tmp_path / "samples.jsonl")] == ["rows/0"]


def test_compacting_leaves_one_line_a_sample_in_order(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for one in (record(1), record(0, error="boom"), record(0)):
            journal.append(one)
        kept = journal.finished(SAMPLES, 0)
        journal.compact(kept[sample.id] for sample in SAMPLES[:2])
        journal.append(record(2))
    assert [one.id for one in read(journal.path)] == ["rows/0", "rows/1", "rows/2"]


def test_an_interrupted_rewrite_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.json"
    write_atomically(path, "old")

    def fails(self: Path, target: Any) -> Path:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(StorageError):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """So is /dev/null, which root could replace by renaming a file over it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, "all of it")
    assert os.read(reader, 100) == b"all of it"
    os.close(reader)
    assert pipe.is_fifo()


def test_a_pipe_that_nobody_reads_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(StorageError, match="no process reads") as told:
        write_atomically(pipe, "all of it")
    assert "reader" in told.value.cure
    assert pipe.is_fifo()
