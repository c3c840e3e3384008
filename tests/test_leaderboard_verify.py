"""Verification: every edit is detected, whoever made it, and honest submissions pass."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from edits import EDITS, IDENTITY, RESULTS, SAMPLES, SESSIONS, SPEC, adapted, put, wrong
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from submissions import (
    Change,
    copied,
    edit,
    faults,
    kinds,
    read,
    sealed,
    submitted,
    summed_up,
    write,
)

from ttsi.cli.main import main
from ttsi.digests import json_digest
from ttsi.leaderboard.check_method import learning_rates
from ttsi.leaderboard.render import render
from ttsi.leaderboard.submission import HEAD
from ttsi.types import LoraRecipe


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a submission of one seed: some samples are adapted and corrected, some are not."""
    return submitted(
        tmp_path_factory.mktemp("honest"), benchmark={"name": "ttsi-fakes/rows", "rows": 6}
    )


@pytest.fixture
def mine(honest: Path, tmp_path: Path) -> Path:
    return copied(honest, tmp_path)


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_caught_also_where_all_digests_are_made_anew(name: str, mine: Path) -> None:
    file, change, kind = EDITS[name]
    edit(mine, file, change)
    careless = faults(mine)
    assert ("digest", file) in {(fault.kind, fault.where) for fault in careless}
    assert all(fault.what and fault.cure for fault in careless)
    careful = {fault.kind for fault in faults(sealed(mine))}
    assert kind in careful
    assert "digest" not in careful


def test_each_edit_has_a_message_of_its_own(honest: Path, tmp_path: Path) -> None:
    told = {}
    for name, (file, change, kind) in EDITS.items():
        folder = copied(honest, tmp_path / name)
        edit(folder, file, change)
        told[name] = frozenset(f.what for f in faults(sealed(folder)) if f.kind == kind)
    # A changed answer and a changed score are the same fault: the two no longer match.
    assert told.pop("a prediction") == told["a score"]
    assert len(set(told.values())) == len(told)


def test_honest_passes(honest: Path) -> None:
    assert faults(honest) == []


def test_honest_from_another_machine_passes(mine: Path) -> None:
    """Processor, system and packages differ, and sums differ in their last digits."""
    edit(
        mine,
        SESSIONS,
        lambda document: document["sessions"][0].update(
            {
                "platform": "macOS-15.2-arm64-arm-64bit",
                "processor": "arm",
                "cores": None,
                "python": "3.13.1",
                "packages": {"torch": "2.14.0", "scipy": "1.18.0"},
                "commit": None,
            }
        ),
    )

    def nudged(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: nudged(part) for key, part in value.items()}
        if isinstance(value, list):
            return [nudged(part) for part in value]
        return value * (1 + 1e-13) if isinstance(value, float) and 0 < value < 1 else value

    edit(mine, RESULTS, nudged)
    assert faults(sealed(mine)) == []


NO_CALLS = {
    "name": "evidence",
    "prompt": "seed_first",
    "no_call": 1.0,
    "support": "likelihood",
    "least_support": 1.0,
}


@pytest.mark.parametrize(
    "changed",
    [
        {"estimator": "always", "learner": "icl"},
        {"estimator": {"name": "random", "rate": 0.5}, "seeds": [3, 4]},
        {"estimator": "entropy", "budget": 0.25},
        {"estimator": "never"},
        {"generator": {"name": "self", "samples": 2}, "estimator": "always", "learner": "icl"},
        {"inference": {"name": "best_of", "samples": 3}},
        {"inference": {"name": "gated", "samples": 2}, "estimator": "always"},
        {"estimator": {"name": "self_consistency", "samples": 3}},
        {"estimator": {"name": "call_agreement", "samples": 3}},
        {"estimator": {"name": "call_support", "threshold": 0.8}, "inference": "pruned"},
        {"generator": {"name": "evidence", "samples": 2}, "estimator": "always", "learner": "icl"},
        {"generator": NO_CALLS, "estimator": "always", "learner": "icl"},
    ],
    ids=json.dumps,
)
def test_honest_runs_of_other_methods_pass(changed: dict[str, Any], tmp_path: Path) -> None:
    assert faults(submitted(tmp_path, **changed)) == []


def test_forged_budgets_draws_and_demonstrations_are_caught(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str, Change, str]] = [
        ({"budget": 0.25}, SPEC, put("budget", 0.5), "estimate"),
        ({"estimator": {"name": "random"}}, SAMPLES, _confidence_of_first, "estimate"),
        ({"estimator": "always", "learner": "icl"}, SAMPLES, _demonstration, "receipt"),
        ({"inference": "gated", "estimator": "always"}, SAMPLES, _verdict, "receipt"),
    ]
    for number, (changed, file, change, kind) in enumerate(cases):
        folder = submitted(tmp_path / str(number), **changed)
        edit(folder, file, change)
        assert kind in kinds(sealed(folder))


def _confidence_of_first(rows: list[Any]) -> None:
    rows[0]["estimate"]["confidence"] *= 0.999


def _verdict(rows: list[Any]) -> None:
    row = next(row for row in rows if "gate" in (row["receipt"] or {}))
    row["receipt"]["gate"]["adapted"] += 1


def _demonstration(rows: list[Any]) -> None:
    adapted(rows)["receipt"]["digest"] = json_digest("others")


def test_what_no_verification_can_prove(mine: Path) -> None:
    """Invented answers with consistent results are not detected, as CONTRIBUTING.md says."""

    def right(rows: list[Any]) -> None:
        row = wrong(rows)
        city = f"City{row['id'].rpartition('/')[2]}"
        call = {"name": "get_weather", "arguments": {"city": city}}
        for name in ("base", "final"):
            answer = {"status": "ok", "value": [call], "work": ""}
            row[name] |= {"text": json.dumps([call]), "answer": answer}
            row[f"{name}_score"] |= {"correct": True, "reason": None}

    before = read(mine / RESULTS)["correct"]
    edit(mine, SAMPLES, right)
    summed_up(mine)
    folder = sealed(mine)
    assert faults(folder) == []
    assert read(folder / RESULTS)["correct"] == before + 1


# ---------------------------------------------------------------- digests and places


def test_a_forged_digest_is_caught(mine: Path) -> None:
    edit(mine, "seed-0/manifest.json", put("files", "identity.json", "digest", json_digest("x")))
    assert kinds(mine) == {"digest", "manifest"}


def test_a_forged_head_is_caught(mine: Path) -> None:
    edit(mine, HEAD, put("manifests", "seed-0", json_digest("x")))
    assert kinds(mine) == {"manifest", "place"}


@pytest.mark.parametrize(
    ("key", "value"),
    [("model", "acme/other"), ("samples", 13), ("benchmark", "quickstart"), ("engine", "vllm")],
)
def test_a_head_that_says_other_than_the_seeds_is_caught(key: str, value: Any, mine: Path) -> None:
    edit(mine, HEAD, put(key, value))
    assert kinds(mine) == {"head", "place"}


def test_another_organisation_s_work_is_not_one_s_own(mine: Path) -> None:
    other = mine.parent.with_name("rival__tt-si__scripted") / mine.name
    other.parent.mkdir()
    mine.rename(other)
    assert kinds(other) == {"place"}
    edit(other, HEAD, put("org", "rival"))
    assert faults(sealed(other)) == []


def test_a_seed_added_or_taken_away_is_caught(tmp_path: Path) -> None:
    folder = submitted(tmp_path, seeds=[3, 4])
    shutil.rmtree(folder / "seed-4")
    assert "manifest" in kinds(folder)


def test_seeds_of_two_specs_are_no_submission(tmp_path: Path) -> None:
    folder = submitted(tmp_path, seeds=[3, 4])
    edit(folder, "seed-4/spec.resolved.json", put("inference", "top_p", 0.5))
    assert "spec" in kinds(sealed(folder))


def test_a_missing_file_is_told(mine: Path) -> None:
    (mine / SESSIONS).unlink()
    assert [(f.kind, f.where) for f in faults(mine)] == [("missing-file", SESSIONS)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_is_caught(data: st.DataObject, honest: Path) -> None:
    files = sorted(path for path in honest.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    before = path.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda value: value != before[at]))
    try:
        path.write_bytes(before[:at] + bytes([other]) + before[at + 1 :])
        assert faults(honest)
    finally:
        path.write_bytes(before)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_value_of_another_type_is_a_fault_and_no_crash(
    data: st.DataObject, honest: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = copied(honest, tmp_path_factory.mktemp("typed"))
    name = data.draw(st.sampled_from([SAMPLES, RESULTS, SPEC, IDENTITY, SESSIONS, HEAD]))
    value = read(folder / name)
    node, key = value, data.draw(st.sampled_from(_keys(value)))
    while isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans()):
        node = node[key]
        key = data.draw(st.sampled_from(_keys(node)))
    odd = st.sampled_from([None, True, -1, 10**30, 0.5, "", "\x1b[2J", [], {}, [[]], {"a": 1}])
    node[key] = data.draw(odd.filter(lambda other: json.dumps(other) != json.dumps(node[key])))
    write(folder / name, value)
    assert faults(folder)


def _keys(value: Any) -> list[Any]:
    return list(value) if isinstance(value, dict) else list(range(len(value)))


# ---------------------------------------------------------------- the recipe, and the command


def test_the_schedule_is_the_engine_s() -> None:
    pytest.importorskip("torch")
    from ttsi_plugins.engines.transformers import training

    for steps, ratio in [(3, 0.03), (6, 0.03), (12, 0.3), (1, 0.0), (5, 1.0)]:
        recipe = LoraRecipe(learning_rate=3e-4, warmup_ratio=ratio)
        wanted = training.learning_rates(steps, recipe)
        assert learning_rates(steps, 3e-4, ratio) == pytest.approx(wanted, rel=1e-12)


def test_the_command_tells_and_exits(
    honest: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(honest.parents[2])
    assert main(["leaderboard", "verify", root, "--third-party"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("ok ")
    assert "1 verified" in err
    edit(mine, RESULTS, put("accuracy", 0.99))
    assert main(["leaderboard", "verify", root, str(mine), "--third-party", "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"]
    assert {each["ok"] for each in found["submissions"]} == {True, False}
    faulty = next(each for each in found["submissions"] if not each["ok"])
    assert {"digest", "metric"} <= {fault["kind"] for fault in faulty["faults"]}
    assert main(["leaderboard", "verify", str(honest)]) == 5
    out, err = capsys.readouterr()
    assert out.startswith("unverifiable ")
    assert "--third-party" in out
    assert "1 unverifiable" in err


def test_data_that_is_not_at_hand_is_no_pass(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 5: the submission is neither right nor wrong."""
    from ttsi.errors import MissingAsset
    from ttsi.leaderboard import sources

    def gone(component: str) -> Any:
        raise MissingAsset("There is no data.", where="x", cure="Get it.")

    monkeypatch.setattr(sources, "_samples", gone)
    assert kinds(mine) == {"unavailable"}
    assert main(["leaderboard", "verify", str(mine), "--third-party"]) == 5
    with pytest.raises(MissingAsset, match="1 of 1 submissions are unverifiable"):
        render(mine.parents[3], third_party=True)


# ---------------------------------------------------------------- nothing submitted


@pytest.mark.parametrize("name", ["submissions", "leaderboards"])
def test_where_nothing_is_submitted_that_is_said(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "leaderboards" / "submissions"
    where = {"submissions": folder, "leaderboards": folder.parent}[name]
    folder.parent.mkdir()
    for _ in range(2):
        assert main(["leaderboard", "verify", str(where)]) == 0
        assert "no submission there" in capsys.readouterr().err
        folder.mkdir(exist_ok=True)
        (folder / ".gitattributes").touch()


def test_a_misspelt_folder_is_no_empty_one(tmp_path: Path) -> None:
    assert main(["leaderboard", "verify", str(tmp_path / "leaderbords")]) == 2
    assert main(["leaderboard", "verify", str(tmp_path / "leaderbords" / "submissions")]) == 2
