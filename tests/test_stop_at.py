"""`stop_at`: a run ends by itself, keeps what is done, says so, and goes on with a larger limit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from test_progress import SPEC as SCRIPTED

import ttsi
import ttsi_fakes
from ttsi.cli.main import main
from ttsi.records.journal import read
from ttsi.records.sessions import SESSIONS
from ttsi.running.evaluate import estimates
from ttsi.running.spending import Spending
from ttsi.spec import StopAt, load_spec, resolved, validate
from ttsi.types import Record, StageCost
from ttsi_plugins.generators.self_generator import SelfGenerator

SPEC: dict[str, Any] = {**SCRIPTED, "executor": {"name": "local", "wave": 2}}
PRICE = 0.25
"""What an example costs, in US dollars."""


@pytest.fixture(autouse=True)
def loads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Make examples cost their price, and return what is added to by each loading of an engine."""
    found: list[object] = []
    generate, load = SelfGenerator.generate, ttsi_fakes.ScriptedEngine.load

    def paid(self: SelfGenerator, tasks: Sequence[ttsi.Task], *rest: Any) -> Any:
        for task in tasks:
            ttsi.charge(task.id, usd=PRICE)
        return generate(self, tasks, *rest)

    def counted(self: ttsi_fakes.ScriptedEngine) -> None:
        found.append(self)
        load(self)

    monkeypatch.setattr(SelfGenerator, "generate", paid)
    monkeypatch.setattr(ttsi_fakes.ScriptedEngine, "load", counted)
    return found


def evaluated(out: Path, limits: dict[str, float], **changed: Any) -> list[Any]:
    return ttsi.evaluate({**SPEC, "stop_at": limits, **changed}, out=out)


def records(out: Path, seed: int = 0) -> dict[str, Any]:
    (folder,) = out.glob(f"scripted-*/seed-{seed}")
    return {record.id: record for record in read(folder / "samples.jsonl")}


def test_dollars_end_a_run_which_goes_on_with_more(tmp_path: Path) -> None:
    with pytest.raises(ttsi.LimitReached) as caught:
        evaluated(tmp_path, {"usd": 3 * PRICE})
    assert "4 of 12 samples are finished, and stay" in str(caught.value)
    kept = records(tmp_path)
    assert len(kept) == 4  # the wave in which the third is paid for is finished
    with pytest.raises(ttsi.LimitReached, match="4 of 12"):
        evaluated(tmp_path, {"usd": 3 * PRICE})
    with pytest.raises(ttsi.LimitReached, match="8 of 12"):
        evaluated(tmp_path, {"usd": 7 * PRICE})
    (cell,) = evaluated(tmp_path, {"usd": 100 * PRICE})
    assert cell.summary["usd"] == pytest.approx(12 * PRICE)
    assert {name: records(tmp_path)[name] for name in kept} == kept
    (unlimited,) = ttsi.evaluate(SPEC, out=tmp_path / "other")
    assert unlimited.folder.name == cell.folder.name
    assert unlimited.summary["accuracy"] == cell.summary["accuracy"]


def test_a_stopped_session_ends_soundly(tmp_path: Path, loads: list[object]) -> None:
    with pytest.raises(ttsi.LimitReached):
        evaluated(tmp_path, {"usd": PRICE})
    (seed,) = tmp_path.glob("scripted-*/seed-0")
    (session,) = json.loads((seed / SESSIONS).read_text())["sessions"]
    assert (session["samples"], len(session["engines"])) == (2, 1)
    assert session["finished"] is not None
    # With nothing more to spend no model is loaded.
    assert len(loads) == 1
    with pytest.raises(ttsi.LimitReached):
        evaluated(tmp_path, {"usd": PRICE})
    assert len(loads) == 1
    assert len(json.loads((seed / SESSIONS).read_text())["sessions"]) == 1


def test_seeds_and_cells_share_the_limit(tmp_path: Path) -> None:
    (cell,) = evaluated(tmp_path, {"usd": 100 * PRICE}, seeds=[1])
    assert cell.samples == 12
    with pytest.raises(ttsi.LimitReached, match=r"2 of 12") as caught:
        evaluated(tmp_path, {"usd": 13 * PRICE}, seeds=[0, 1])
    assert caught.value.where.endswith("seed-0")
    matrix = {"/inference/max_tokens": [40, 50]}
    with pytest.raises(ttsi.LimitReached, match=r"6 of 12"):
        evaluated(tmp_path / "grid", {"usd": 17 * PRICE}, matrix=matrix)


def test_minutes_end_a_run(tmp_path: Path) -> None:
    with pytest.raises(ttsi.LimitReached, match="2 of 12 samples"):
        evaluated(tmp_path, {"minutes": 1e-9})
    assert len(evaluated(tmp_path, {"minutes": 60})) == 1


def test_estimates_of_a_budget_are_counted_once(tmp_path: Path) -> None:
    known = Record("rows/0", "d", 0, costs={"estimate": StageCost(2.0)})
    whole = Record("rows/0", "d", 0, costs={"estimate": StageCost(2.0), "learn": StageCost(3.0)})
    spending = Spending(StopAt(minutes=1))
    spending.add(known)
    spending.add(whole, known)
    assert spending.seconds == 5.0
    (cell,) = evaluated(tmp_path, {"usd": 7 * PRICE}, budget=0.5, estimator="random")
    assert cell.summary["usd"] == pytest.approx(6 * PRICE)
    with pytest.raises(ttsi.LimitReached, match="2 of 12"):
        evaluated(tmp_path / "b", {"minutes": 1e-9}, budget=0.5, estimator="random")


def test_calibration_keeps_to_it(tmp_path: Path) -> None:
    with pytest.raises(ttsi.LimitReached, match="2 of 12"):
        estimates(SPEC | {"stop_at": {"minutes": 1e-9}}, out=tmp_path)
    assert len(estimates(SPEC | {"stop_at": {"minutes": 60}}, out=tmp_path)) == 1


def test_the_command_says_so_and_has_a_code_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.json").write_text(json.dumps(SPEC))
    assert main(["eval", "spec.json", "--set", f"stop_at.usd={PRICE}"]) == 6
    err = capsys.readouterr().err
    assert f"Stopped, as the spec says: {2 * PRICE:g} of {PRICE:g} US dollars are spent." in err
    assert "error:" not in err
    assert f"--set stop_at.usd={2 * PRICE:g}" in err
    assert main(["eval", "spec.json", "--set", "stop_at.usd=null"]) == 0


def test_it_shapes_no_result() -> None:
    (plain,), (limited,) = load_spec(SPEC), load_spec(SPEC | {"stop_at": {"usd": 1}})
    assert plain.digest == limited.digest
    assert "stop_at" not in resolved(plain)
    assert resolved(limited)["stop_at"] == {"usd": 1.0, "minutes": None}
    (again,) = load_spec(resolved(limited))
    assert (again.stop_at, again.digest) == (limited.stop_at, limited.digest)


@pytest.mark.parametrize("wrong", [{"usd": 0}, {"minutes": "1"}, {"hours": 1}, 5])
def test_what_it_is_not_is_refused(wrong: Any) -> None:
    assert [p.pointer.split("/")[1] for p in validate(SPEC | {"stop_at": wrong})] == ["stop_at"]


def test_it_is_no_axis_of_a_grid() -> None:
    assert validate(SPEC | {"matrix": {"/stop_at/usd": [1, 2]}}) != []
