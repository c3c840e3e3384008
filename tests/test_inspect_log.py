"""`ttsi export --to inspect`: a log that Inspect's own library reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports import CASES, HOSTILE
from test_export import EMPTY, SAID, written
from told import run

from ttsi.results import inspect_log
from ttsi.results.runs import Run
from ttsi.types import Estimate, Message, Score, Step

read_eval_log = pytest.importorskip("inspect_ai.log").read_eval_log


def exported(found: Run, capsys: pytest.CaptureFixture[str]) -> tuple[Any, str]:
    path = found.folder / "it.eval"
    code, said = run(["export", str(found.folder), "--to", "inspect", "-o", str(path)], capsys)
    assert code == 0, said
    return read_eval_log(path), said


READ = (
    "plain",
    "no_baseline",
    "some_errors",
    "all_errors",
    "unfinished",
    "nothing_yet",
    "no_benchmark",
)


@pytest.mark.parametrize("case", READ)
def test_inspect_reads_each_kind_of_run(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = CASES[case](tmp_path)[0]
    log, said = exported(found, capsys)
    records = [record for seed in found.seeds for record in seed.records]
    samples = {(sample.id, sample.metadata["seed"]): sample for sample in log.samples or []}
    assert set(samples) == {(record.id, record.seed) for record in records}
    for record in records:
        sample = samples[record.id, record.seed]
        for name, score in (("final", record.final_score), ("base", record.base_score)):
            wanted = None if score is None else "C" if score.correct else "I"
            assert (sample.scores[name].value if name in sample.scores else None) == wanted
        assert (sample.error.message if sample.error else "") == record.error
        if record.final:
            assert sample.messages[-1].role == "assistant"
            assert sample.messages[-1].text == sample.output.completion == record.final.text
    assert log.status == ("success" if all(seed.complete for seed in found.seeds) else "cancelled")
    accuracies = [seed.results["accuracy"] for seed in found.seeds]
    if None not in accuracies:
        (final,) = (score for score in log.results.scores if score.name == "final")
        assert final.metrics["accuracy"].value == pytest.approx(sum(accuracies) / len(accuracies))
    assert (case == "no_benchmark") == ("no requests" in said)


def test_a_sample_has_its_request_and_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = CASES["all_uncertain"](tmp_path)
    log, _ = exported(found, capsys)
    assert log.eval.task_args == found.spec
    assert (log.eval.model, log.eval.dataset.name) == ("scripted", "ttsi-fakes/rows")
    for sample in log.samples:
        task = found.samples[sample.id].task
        asked = [(turn.role, turn.text) for turn in sample.input]
        assert asked == [(turn.role, turn.content) for turn in task.messages]
        assert [(turn.role, turn.text) for turn in sample.messages[:-1]] == asked
        assert json.loads(sample.target) == found.samples[sample.id].reference.value
        assert sample.metadata["adapted"] is True
        assert sample.metadata["receipts"][0]["kind"] == "lora"
        assert len(sample.metadata["synthetic"]) == sample.metadata["examples"] == 1
        assert sample.model_usage["scripted"].input_tokens > 0
    whole = log.stats.model_usage["scripted"]
    assert whole.input_tokens == sum(s.model_usage["scripted"].input_tokens for s in log.samples)


def test_seeds_are_epochs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = CASES["seeds"](tmp_path)
    log, _ = exported(found, capsys)
    assert log.eval.config.epochs == 3
    assert log.eval.dataset.samples == 12
    assert {(s.epoch, s.metadata["seed"]) for s in log.samples} == {(1, 3), (2, 4), (3, 5)}


def test_data_that_changed_is_not_shown_as_what_was_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = CASES["one_sample"](tmp_path)
    journal = found.folder / "seed-0" / "samples.jsonl"
    digest = found.seeds[0].records[0].digest
    journal.write_text(journal.read_text().replace(digest, "sha256:other"))
    log, _ = exported(found, capsys)
    assert "no longer has" in log.samples[0].input
    assert [turn.role for turn in log.samples[0].messages] == ["assistant"]


def test_the_steps_of_an_episode_are_turns() -> None:
    estimate = Estimate(0.5, True)
    steps = [
        Step((asked,), estimate, (), None, replace(SAID, text=said), False)
        for asked, said in ((Message("user", "go"), "gone"), (Message("tool", "north"), "came"))
    ]
    record = replace(EMPTY, steps=tuple(steps), final=steps[-1].answer)
    turns = [(turn.role, turn.text) for turn in inspect_log._answered(record, begun=False)]
    assert turns == [
        ("user", "go"),
        ("assistant", "gone"),
        ("tool", "north"),
        ("assistant", "came"),
    ]
    known = inspect_log._answered(record, begun=True)
    assert [turn.text for turn in known] == ["gone", "north", "came"]


def test_any_text_can_be_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = replace(SAID, text=HOSTILE)
    record = replace(
        EMPTY,
        id=f"../../{HOSTILE}",
        final=bad,
        final_score=Score(False, HOSTILE, HOSTILE),
        receipt={"kind": HOSTILE, "losses": [HOSTILE], HOSTILE: [HOSTILE]},
        note=HOSTILE,
    )
    folder = written(record, tmp_path / "run", replace(record, id="x", error=HOSTILE))
    path = tmp_path / "it.eval"
    code, said = run(["export", str(folder), "--to", "inspect", "-o", str(path)], capsys)
    assert code == 0, said
    log = read_eval_log(path)
    assert log.samples[0].scores["final"].explanation.count("\ufffd") == 4
    assert sorted(each.name for each in tmp_path.iterdir()) == ["it.eval", "run"]


def test_without_inspect_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inspect_log, "find_spec", lambda name: None)
    code, said = run(["export", str(written(EMPTY, tmp_path)), "--to", "inspect"], capsys)
    assert (code, "pip install 'ttsi[inspect]'" in said) == (5, True)
