"""Two runs paired: what is counted, what is refused, and what is printed."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import reports

import ttsi
from ttsi.answers.calls.values import Reason
from ttsi.cli.main import main
from ttsi.errors import UsageError
from ttsi.results.comparison import compare
from ttsi.results.runs import Run, SeedRun, open_run
from ttsi.types import AnswerStatus, Completion, Record, Score, StageCost


def record(number: int, correct: bool | None, text: str = "answer", seed: int = 0) -> Record:
    score = None
    if correct is not None:
        score = Score(correct, None if correct else Reason.WRONG_VALUE, "" if correct else "why")
    return Record(
        id=f"x/{number}",
        digest=f"sha256:{number}",
        seed=seed,
        final=None if correct is None else Completion(text, (), AnswerStatus.OK),
        final_score=score,
        error="answer: boom" if correct is None else "",
        costs={"answer": StageCost(2.0, 10, 5, 0.25)},
    )


def made(*seeds: list[bool | None], first_seed: int = 0, **spec: Any) -> Run:
    """Return a run whose answers are right, wrong, or (None) errors, by seed."""
    runs = tuple(
        SeedRun(
            Path(f"seed-{seed}"),
            seed,
            tuple(record(i, correct, seed=seed) for i, correct in enumerate(some)),
            {},
            True,
        )
        for seed, some in enumerate(seeds, start=first_seed)
    )
    document = {
        "name": "made",
        "model": {"id": "some"},
        "benchmark": {"name": "rows"},
        "scorer": {"name": "exact", "coerce": True},
    } | spec
    return Run(Path("made"), document, {}, runs)


def changed(run: Run, **fields: Any) -> Run:
    """Return `run` with changed fields in its first sample's record."""
    (seed,) = run.seeds
    records = (dataclasses.replace(seed.records[0], **fields), *seed.records[1:])
    return dataclasses.replace(run, seeds=(dataclasses.replace(seed, records=records),))


# ---------------------------------------------------------------- what is counted


def test_flips_are_counted_and_told() -> None:
    a = made([True, False, False, False, None, True])
    b = made([True, True, True, None, True, False])
    found = compare(a, b)
    assert (found["fixed"], found["broken"]) == (3, 1)
    assert found["points"] == pytest.approx(100 * 2 / 6)
    assert found["p"] == pytest.approx(2 * (1 + 4) / 2**4)
    assert found["test"] == "McNemar, exact"
    flips = {flip["id"]: flip for flip in found["flips"]}
    assert [flip["change"] for flip in found["flips"]] == ["fixed", "fixed", "fixed", "broken"]
    assert flips["x/1"]["a"]["reason"] == "wrong_value"
    assert flips["x/1"]["b"]["reason"] is None
    assert flips["x/4"]["a"] == {
        "correct": False,
        "reason": "engine_error",
        "detail": "answer: boom",
        "adapted": False,
        "text": None,
    }
    assert found["a"]["accuracy"] == pytest.approx(2 / 6)
    assert found["a"]["errors"] == found["b"]["errors"] == 1
    low, high = found["points_interval"]
    assert low <= found["points"] <= high
    assert found["over_seeds"]["interval"] is None


def test_costs_are_sums_over_samples_and_seeds() -> None:
    found = compare(made([True, False], [True, True]), made([True, True], [True, True]))
    assert found["a"]["cost"] == {
        "seconds": 8.0,
        "prompt_tokens": 40,
        "completion_tokens": 20,
        "usd": 1.0,
    }


def test_several_seeds_are_paired_by_number_and_kept_together() -> None:
    a = made([True, False, False], [True, False, True])
    b = made([True, True, True], [False, True, True])
    found = compare(a, b)
    assert found["seeds"] == [0, 1]
    # Gains by sample: -1, 2, 1; of the eight choices of signs 4 sums are 2 or further from 0.
    assert found["points"] == pytest.approx(100 * 2 / 6)
    assert found["p"] == pytest.approx(sum(abs(s) >= 2 for s in SUMS) / 8)
    assert found["test"].startswith("sign flips")
    assert found["by_seed"]["0"] == {
        "fixed": 2,
        "broken": 0,
        "points": pytest.approx(200 / 3),
        "p": 0.5,
    }
    assert found["by_seed"]["1"]["points"] == 0
    assert found["over_seeds"]["n"] == 2
    assert (found["fixed"], found["broken"]) == (3, 1)


SUMS = [a + b + c for a in (-1, 1) for b in (-2, 2) for c in (-1, 1)]


def test_the_same_answers_differ_by_nothing() -> None:
    found = compare(made([True, False]), made([True, False]))
    assert (found["points"], found["p"], found["flips"]) == (0.0, 1.0, [])
    assert found["points_interval"] is None


def test_a_comparison_is_the_same_the_next_time() -> None:
    a, b = made([True, False, False, True] * 9), made([True, True, False, False] * 9)
    assert compare(a, b) == compare(a, b)
    swapped = compare(b, a)
    assert swapped["points"] == -compare(a, b)["points"]
    assert swapped["p"] == compare(a, b)["p"]


def test_two_prompts_are_compared_over_the_same_data(tmp_path: Path) -> None:
    rows = {"name": "quickstart", "limit": 4}
    plain = reports.made(tmp_path, benchmark=rows)
    worded = reports.made(tmp_path, benchmark={**rows, "instruction": "{tools} {format}"})
    assert {record.digest for record in plain.seeds[0].records}.isdisjoint(
        record.digest for record in worded.seeds[0].records
    )
    assert compare(plain, worded)["samples"] == 4
    (seed,) = worded.seeds
    other = {**seed.identity, "revision": "sha256:other"}
    elsewhere = dataclasses.replace(seed, identity=other)
    with pytest.raises(UsageError, match="another prompt or reference"):
        compare(plain, dataclasses.replace(worded, seeds=(elsewhere,)))


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("a", "b", "parts"),
    [
        (
            made([True] * 3),
            made([True] * 8),
            ["different samples", "5 only in the second (x/3, x/4, x/5, ...)", "limit"],
        ),
        (made([True] * 2), made([True]), ["1 only in the first (x/1)"]),
        (
            made([True] * 3),
            changed(made([True] * 3), digest="sha256:other"),
            ["1 with another prompt or reference (x/0)"],
        ),
        (made([True], [True]), made([True]), ["seeds: 0, 1 and 0", "RUN/seed-0"]),
        (made([True]), made([True], first_seed=3), ["seeds: 0 and 3"]),
        (
            made([True]),
            made([True], benchmark={"name": "other"}),
            ["different benchmarks: rows and other"],
        ),
        (
            made([True]),
            made([True], scorer={"name": "exact", "coerce": False}),
            ["different scorers", "coerce=False", "ttsi score"],
        ),
    ],
)
def test_runs_that_cannot_be_paired_are_refused(a: Run, b: Run, parts: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        compare(a, b)
    for part in parts:
        assert part in str(caught.value)


def test_an_unfinished_run_is_named_in_the_cure() -> None:
    (seed,) = made([True]).seeds
    partial = dataclasses.replace(made(), seeds=(dataclasses.replace(seed, complete=False),))
    with pytest.raises(UsageError, match=r"Finish seed-0 by the command"):
        compare(partial, made([True, True]))


def test_other_options_of_the_benchmark_do_not_matter_where_the_samples_are_the_same() -> None:
    found = compare(made([True]), made([True], benchmark={"name": "rows", "limit": 1}))
    assert found["samples"] == 1


# ---------------------------------------------------------------- the command


def run(out: Path, **changed: Any) -> Path:
    spec = {
        "name": "scripted",
        "model": {"id": "scripted"},
        "engine": "ttsi-fakes/scripted",
        "benchmark": {"name": "ttsi-fakes/rows", "rows": 6},
        "inference": {"name": "direct", "decoding": "greedy"},
    }
    (cell,) = ttsi.evaluate({**spec, **changed}, out=out)
    return cell.folder


def test_runs_on_disk_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # folders are on one line
    a, b = run(tmp_path, estimator="never"), run(tmp_path, estimator="always")
    capsys.readouterr()
    assert main(["compare", str(a), str(b)]) == 0
    out = capsys.readouterr().out
    for part in ("6 samples", "+50.0 points", "3 fixed, 0 broken; p = 0.25 (McNemar", "rows/1"):
        assert part in out
    assert re.search(r"\nestimator\.name +never +always", out)
    assert re.search(rf"\nfolder +{re.escape(str(a))} +{re.escape(str(b))}", out)
    assert main(["compare", str(a), str(b / "seed-0"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (results,) = open_run(b).seeds
    assert found["b"]["accuracy"] == results.results["accuracy"] == 1.0
    assert [flip["id"] for flip in found["flips"]] == ["rows/1", "rows/3", "rows/5"]
    assert main(["compare", str(a), str(b), "--flips", "1"]) == 0
    out = capsys.readouterr().out
    assert "rows/3" not in out
    assert "2 more flips" in out


def test_the_settings_that_differ_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = {"name": "random"}
    runs = [
        run(tmp_path / "a", estimator=random),
        run(tmp_path / "b", estimator=random | {"rate": 0.25}, learner={"name": "icl"}),
        run(tmp_path / "b", estimator=random, learner={"name": "lora_sft", "rank": 4}),
    ]
    first, second, third = map(open_run, runs)
    # Options of another learner are not held against each other.
    assert compare(first, second)["settings"] == {
        "learner.name": {"a": "lora_sft", "b": "icl"},
        "estimator.rate": {"a": first.spec["estimator"]["rate"], "b": 0.25},
    }
    assert compare(first, third)["settings"] == {"learner.rank": {"a": 8, "b": 4}}
    capsys.readouterr()
    assert main(["compare", *map(str, runs)]) == 0
    out = capsys.readouterr().out
    assert "   learner lora_sft, rate 0.5" in out
    assert all(str(each) in out for each in runs)


def test_runs_of_one_spec_differ_by_what_they_were_run_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [open_run(run(tmp_path / name)) for name in "ab"]
    assert compare(*runs)["settings"] == {}
    (seed,) = runs[1].seeds
    engine = {**seed.identity["engine"], "weights_digest": "sha256:other"}
    other = dataclasses.replace(seed, identity={**seed.identity, "engine": engine})
    found = compare(runs[0], dataclasses.replace(runs[1], seeds=(other,)))["settings"]
    assert list(found) == ["loaded.weights_digest"]
    assert found["loaded.weights_digest"]["b"] == "sha256:other"


def test_runs_over_several_seeds_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [run(tmp_path, estimator=name, seeds=[0, 1]) for name in ("never", "always")]
    capsys.readouterr()
    assert main(["compare", *map(str, folders)]) == 0
    out = capsys.readouterr().out
    assert "sign flips" in out
    assert "over seeds: the same difference under each" in out


def test_a_difference_that_changes_with_the_seed_has_a_t_interval(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from rich.console import Console

    from ttsi.cli.compare import show

    a, b = made([True, False, False], [True, False, True]), made([True] * 3, [False, True, True])
    show(compare(a, b), 0, Console(highlight=False, markup=False))
    # 66.7 and 0 points: t(0.975, 1) = 12.706 times the standard error of 33.3.
    assert "over seeds: +33.3 ± 47.1 points, 95 % [-390.2, 456.9]" in capsys.readouterr().out


def test_a_refusal_is_one_message_with_a_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [run(tmp_path, benchmark={"name": "ttsi-fakes/rows", "rows": n}) for n in (3, 6)]
    capsys.readouterr()
    assert main(["compare", *map(str, folders)]) == 2
    err = capsys.readouterr().err
    assert "3 only in the second" in err
    assert "cure:" in err


def test_an_answer_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from ttsi.cli.compare import show

    hostile = Completion("\x1b]0;title\x07[bold]\u202egnol " + "x" * 200, (), AnswerStatus.OK)
    a, b = changed(made([False, True]), final=hostile), made([True, True])
    show(compare(a, b), 5, Console(highlight=False, markup=False))
    out = capsys.readouterr().out
    assert "[bold]" in out
    assert not any(char in out for char in "\x1b\x07\u202e")
    assert "x" * 100 not in out
