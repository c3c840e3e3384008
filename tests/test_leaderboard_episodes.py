"""Episodes on a leaderboard: verification plays them again, and finds what was changed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import reports
from edits import OTHER, RESULTS, SAMPLES, SPEC, put
from submissions import Change, copied, edit, faults, read, sealed, submit_run, submitted, write

import ttsi_fakes_episodes
from ttsi.errors import MissingAsset, VerificationError
from ttsi.leaderboard.verify import verify_one
from ttsi.records import provenance
from ttsi.spec import Episodes

TOURS = {"name": "ttsi-fakes/tours"}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("honest")
    return submitted(root, benchmark=TOURS, estimator="always")


@pytest.fixture
def mine(honest: Path, tmp_path: Path) -> Path:
    return copied(honest, tmp_path)


def test_honest_passes_and_has_both_plays(honest: Path) -> None:
    assert faults(honest) == []
    rows = read(honest / SAMPLES)
    assert all(row["steps"] and row["base_steps"] for row in rows)
    assert {row["final_score"]["credit"] for row in rows} == {1.0}
    assert [row["base_score"]["credit"] for row in rows] == [0.5, 0.5, 1.0, 0.0]


@pytest.mark.parametrize(
    "changed",
    [
        {"estimator": "never"},
        {"estimator": {"name": "random", "rate": 0.5}, "seeds": [3, 4]},
        {"estimator": "rss_margin"},
        {"estimator": "always", "learner": "icl"},
        {"estimator": "always", "learner": {"name": "icl", "target": "as_answered"}},
        {"estimator": "always", "episodes": {"estimate_at": "first_of_turn"}},
        {"estimator": "always", "episodes": {"keep": "turn"}},
        {"estimator": "random", "episodes": {"keep": "turn", "estimate_at": "first_of_turn"}},
        {"estimator": "always", "episodes": {"most_steps": 2}},
        {"estimator": "always", "episodes": {"most_tokens": 20}},
        {"estimator": "always", "episodes": {"most_seconds": 1e-9}},
        {"estimator": "always", "inference": {"name": "gated", "samples": 2}},
    ],
    ids=json.dumps,
)
def test_honest_runs_of_other_methods_pass(changed: dict[str, Any], tmp_path: Path) -> None:
    assert faults(submitted(tmp_path, benchmark=TOURS, **changed)) == []


def test_nothing_that_the_environment_said_is_published(honest: Path) -> None:
    text = (honest / SAMPLES).read_text()
    assert "What is the weather" not in text
    assert "says that it is fine" not in text
    assert "expected get_weather" not in text
    assert "Weather in Town" in text


# ---------------------------------------------------------------- forgeries


def answers(call: str) -> Change:
    """Return a change by which the first step of the first row answers with another call."""

    def change(rows: list[Any]) -> None:
        made = [{"name": call, "arguments": {"city": "City2"}}]
        rows[0]["steps"][0]["answer"] |= {
            "text": json.dumps(made),
            "answer": {"status": "ok", "value": made, "work": ""},
        }

    return change


def step(place: int, play: str = "steps", **values: Any) -> Change:
    """Return a change of one step of the first row."""
    return lambda rows: rows[0][play][place].update(values)


def _another_text(rows: list[Any]) -> None:
    rows[0]["steps"][1]["answer"]["text"] = "[]"


def _drop(rows: list[Any]) -> None:
    del rows[0]["steps"][-1]
    rows[0]["final"] = rows[0]["steps"][-1]["answer"]


def _add(rows: list[Any]) -> None:
    rows[0]["steps"].append(rows[0]["steps"][-1])


def _drop_base(rows: list[Any]) -> None:
    del rows[0]["base_steps"][-1]
    rows[0]["base"] = rows[0]["base_steps"][-1]["answer"]


def _right(rows: list[Any]) -> None:
    rows[0]["base_score"] |= {"correct": True, "reason": None}


def _credit(rows: list[Any]) -> None:
    rows[0]["base_score"]["credit"] = 1.0


def _turn(rows: list[Any]) -> None:
    rows[0]["base_steps"][1]["turn"] |= {"correct": True, "reason": None}


def _no_turn(rows: list[Any]) -> None:
    rows[0]["steps"][-1]["turn"] = None


def _detail(rows: list[Any]) -> None:
    rows[0]["steps"][1]["turn"]["detail"] = "expected 'City3'"


def _no_steps(rows: list[Any]) -> None:
    rows[0]["steps"] = []


def _no_base_steps(rows: list[Any]) -> None:
    del rows[0]["base_steps"]


def _adapted_base(rows: list[Any]) -> None:
    rows[0]["base_steps"][0] |= {"examples": rows[0]["steps"][0]["examples"]}


def _unadapted(rows: list[Any]) -> None:
    rows[0] |= {"adapted": False}


def _final(rows: list[Any]) -> None:
    rows[0]["final"] = rows[0]["steps"][0]["answer"]


def _confidence(rows: list[Any]) -> None:
    rows[0]["steps"][1]["estimate"]["confidence"] = 0.25


def _first_confidence(rows: list[Any]) -> None:
    rows[0]["estimate"]["confidence"] = 0.25


def _example(rows: list[Any]) -> None:
    rows[0]["steps"][2]["examples"][0]["attempts"] = 7


def _rates(rows: list[Any]) -> None:
    rows[0]["steps"][1]["receipt"]["learning_rates"][1] = 2e-4


def _own_receipt(rows: list[Any]) -> None:
    rows[0]["receipt"] = rows[0]["steps"][0]["receipt"]


def _costs(rows: list[Any]) -> None:
    del rows[0]["costs"]["learn"]


SURE = {"confidence": 1.0, "uncertain": False, "scores": {}}
SAID = [{"role": "user", "content": "What is the weather in City2?"}]

EDITS: dict[str, tuple[Change, str, str]] = {
    "an input": (step(1, digest=OTHER), "input", "final play was asked something else at step 1"),
    "an input of the base play": (
        step(2, "base_steps", digest=OTHER),
        "input",
        "base play was asked something else at step 2",
    ),
    "an answer before": (answers("get_time"), "input", "asked something else at step 1"),
    "an answer's text": (_another_text, "prediction", "final answer is not what is read"),
    "a step too few": (_drop, "steps", "has 2 steps, and its environment goes on"),
    "a step too many": (_add, "steps", "has 4 steps; its environment ends after 3"),
    "a base step too few": (_drop_base, "steps", "base play has 2 steps"),
    "a score": (_right, "score", "base play is scored as right; played again it is wrong"),
    "a credit": (_credit, "score", "has a credit of 1.0; played again it is 0.5"),
    "a turn": (_turn, "score", "judged as right; played again it is wrong (wrong_name)"),
    "a turn left out": (_no_turn, "score", "judged as nothing; played again it is right"),
    "a turn's detail": (_detail, "quote", "may quote the reference"),
    "what was said": (step(0, said=SAID), "benchmark-text", "what the environment said"),
    "no steps": (_no_steps, "story", "has no steps"),
    "no base steps": (_no_base_steps, "story", "not the last one of its base steps"),
    "base steps with examples": (_adapted_base, "story", "base steps that were adapted"),
    "adapted or not": (_unadapted, "story", "none of its steps was, or the reverse"),
    "a step adapted or not": (step(1, adapted=False), "story", "has a receipt unadapted"),
    "the final answer": (_final, "story", "not its last step's"),
    "a confidence": (_confidence, "estimate", "always makes a confidence of 0"),
    "the record's confidence": (_first_confidence, "story", "not its least sure step's"),
    "a step's example": (_example, "example", "took 7 attempts"),
    "a step's learning rates": (_rates, "receipt", "learning rate of step 1"),
    "a receipt of the whole": (_own_receipt, "story", "outside of its steps"),
    "costs": (_costs, "story", "lacks costs"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_forgery_is_caught_also_where_all_digests_are_made_anew(name: str, mine: Path) -> None:
    change, kind, words = EDITS[name]
    edit(mine, SAMPLES, change)
    found = faults(sealed(mine))
    told = [fault.what for fault in found if fault.kind == kind]
    assert any(words in what for what in told), found


def limited(**limits: int) -> Change:
    """Return a change of the spec to one with limits."""
    return put("episodes", asdict(Episodes(**limits)))  # type: ignore[arg-type]


def _cut(rows: list[Any]) -> None:
    rows[0]["steps"] = rows[0]["steps"][:1]
    rows[0]["final"] = rows[0]["steps"][0]["answer"]


@pytest.mark.parametrize(
    ("changed", "file", "change", "words"),
    [
        ({"most_steps": 2}, SAMPLES, _cut, "has 1 steps, and its environment goes on"),
        ({}, SPEC, limited(most_steps=2), "has 3 steps, beyond a limit"),
        ({}, SPEC, limited(most_tokens=20), "has 3 steps, beyond a limit"),
        ({"keep": "turn"}, SAMPLES, step(1, adapted=False), "was not adapted, at a step at which"),
        ({"keep": "turn"}, SAMPLES, step(1, estimate=SURE), "at which H is not asked"),
        ({"estimate_at": "first_of_turn"}, SAMPLES, step(1, adapted=True), "was adapted, at"),
        ({"estimate_at": "first_of_turn"}, SAMPLES, step(2, estimate=None), "has no estimate"),
    ],
)
def test_the_spec_s_rules_of_episodes_are_held_to(
    changed: dict[str, Any], file: str, change: Change, words: str, tmp_path: Path
) -> None:
    rules = {"episodes": changed} if changed else {}
    folder = submitted(tmp_path, benchmark=TOURS, estimator="always", **rules)
    assert faults(folder) == []
    edit(folder, file, change)
    found = faults(sealed(folder))
    assert any(words in fault.what for fault in found), found


def test_other_samples_have_no_steps(honest: Path, tmp_path: Path) -> None:
    plain = submitted(tmp_path, benchmark={"name": "ttsi-fakes/rows", "rows": 2})
    steps = read(honest / SAMPLES)[0]["steps"]
    edit(plain, SAMPLES, lambda rows: rows[0].update(steps=steps))
    assert any("its sample is no episode" in fault.what for fault in faults(sealed(plain)))


@pytest.mark.parametrize("key", ["credit", "steps"])
def test_figures_of_episodes_are_made_again(key: str, mine: Path, tmp_path: Path) -> None:
    told = read(mine / RESULTS)[key]
    edit(mine, RESULTS, lambda results: {k: v for k, v in results.items() if k != key})
    plain = submitted(tmp_path / "plain", benchmark={"name": "ttsi-fakes/rows", "rows": 2})
    edit(plain, RESULTS, lambda results: results.update({key: told}))
    for forged in (mine, plain):
        found = faults(sealed(forged))
        assert any(each.what.startswith(f"/{key}") for each in found), found


# ---------------------------------------------------------------- environments, and submit


def broken(error: Exception) -> Any:
    def step(self: Any, completion: Any) -> Any:
        raise error

    return step


def test_an_environment_that_fails_is_told(honest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = broken(ValueError("secret words"))
    monkeypatch.setattr(ttsi_fakes_episodes.Tour, "step", failing)
    found = [fault for fault in faults(honest) if fault.kind == "episode"]
    assert len(found) == 8
    assert all("raised ValueError" in fault.what for fault in found)
    assert not any("secret" in str(fault) for fault in found)


def test_an_environment_that_cannot_be_made_here_is_no_pass(
    honest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = broken(MissingAsset("There are no APIs.", where="x", cure="Install them."))
    monkeypatch.setattr(ttsi_fakes_episodes.Tour, "step", missing)
    verdict = verify_one(honest, third_party=True)
    assert {fault.kind for fault in verdict.faults} == {"unavailable"}
    assert verdict.exit_code == 5


def test_a_run_that_was_changed_is_not_submitted(tmp_path: Path) -> None:
    run = reports.made(tmp_path / "runs", benchmark=TOURS, estimator="always").folder
    seed = run / "seed-0"
    rows = read(seed / "samples.jsonl")
    _credit(rows)
    write(seed / "samples.jsonl", rows)
    manifest = provenance.manifest(seed)
    write(seed / "manifest.json", manifest)
    with pytest.raises(VerificationError, match=r"has a credit of 1\.0; played again it is 0\.5"):
        submit_run(run, tmp_path)
    assert not list((tmp_path / "leaderboards").rglob("samples.jsonl"))
