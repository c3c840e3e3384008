"""What a run proves about its engines, however it ends; and engines that seeds share."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from resumed import begun, run, spec

import ttsi
from ttsi.errors import CorruptAsset, DeviceLost, RunError
from ttsi.records import journal
from ttsi.records.journal import read
from ttsi.results.runs import open_run
from ttsi.running.evaluate import estimates
from ttsi.solving import assemble
from ttsi.spec import load_spec
from ttsi.testing import FakeEngine
from ttsi_fakes import ScriptedEngine
from ttsi_plugins.executors.local import Local

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent


def sessions(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "sessions.json").read_text())["sessions"])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return the calls of scripted engines, in order."""
    made: list[str] = []
    for name in ("load", "digest", "forget", "close"):
        plain = getattr(ScriptedEngine, name)

        def call(engine: Any, name: str = name, plain: Any = plain) -> Any:
            made.append(name)
            return plain(engine)

        monkeypatch.setattr(ScriptedEngine, name, call)
    yield made
    assert made.count("close") >= made.count("load")


# ---------------------------------------------------------------- proofs


def test_killed_runs_lose_nothing_and_prove_their_engines() -> None:
    """tests/killing.py checks each run; this checks that runs were killed at every stage."""
    done = subprocess.run(
        [sys.executable, "killing.py", "60", str(os.getpid())],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["fakes", str(TESTS.parent)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = Counter(json.loads(done.stdout))
    assert found.total() == 60
    assert found["some records"] > 0
    assert found["nothing, steps"] + found["some records, steps"] > 0


def test_sessions_are_added_and_none_is_written_over(tmp_path: Path) -> None:
    folder = begun(tmp_path, spec())
    (first,) = sessions(folder)
    assert (first["samples"], first["finished"], first["engines"]) == (1, None, None)
    cell = run(tmp_path)
    before, second = sessions(folder)
    assert before == first
    assert second["samples"] == 3
    assert second["finished"] is not None
    assert cell.seeds[0]["engines"] == second["engines"]
    for engine in second["engines"]:
        assert engine["weights_digest"] == engine["weights_digest_after"]
    opened = open_run(cell.folder)
    assert opened.sessions == [first, second]
    assert opened.environment == second
    assert opened.seeds[0].identity == cell.seeds[0]["identity"]


def test_a_proof_that_is_missing_is_made_and_nothing_else(tmp_path: Path, calls: list[str]) -> None:
    """As if killed after the last record was on disk, before the engine was closed."""
    cell = run(tmp_path)
    folder = cell.folder / "seed-0"
    (entry,) = sessions(folder)
    killed = {**entry, "finished": None, "engines": None, "samples": None}
    (folder / "sessions.json").write_text(json.dumps({"sessions": [killed]}))
    for name in ("manifest.json", "results.json"):
        (folder / name).unlink()
    before = (folder / "samples.jsonl").read_bytes()
    calls.clear()
    again = run(tmp_path)
    assert calls.count("load") == 1
    assert (folder / "samples.jsonl").read_bytes() == before
    assert [each["samples"] for each in sessions(folder)] == [None, 0]
    assert again.seeds[0]["engines"] == sessions(folder)[1]["engines"] != []


def test_a_proof_that_is_there_is_enough(tmp_path: Path, calls: list[str]) -> None:
    """As if killed after the engine was closed, before the results were written."""
    cell = run(tmp_path)
    for name in ("manifest.json", "results.json"):
        (cell.folder / "seed-0" / name).unlink()
    calls.clear()
    again = run(tmp_path)
    assert calls == []
    assert again.seeds[0]["engines"] == cell.seeds[0]["engines"]
    calls += ["load", "close"]


def test_a_complete_run_again_loads_nothing_and_changes_nothing(
    tmp_path: Path, calls: list[str]
) -> None:
    document = spec(estimator="rss_margin", budget=0.5, seeds=[0, 1])
    cell = run(tmp_path, document)
    before = {path: path.read_bytes() for path in cell.folder.rglob("*") if path.is_file()}
    done = len(calls)
    run(tmp_path, document)
    estimates(document, out=tmp_path)
    assert len(calls) == done
    after = {path: path.read_bytes() for path in cell.folder.rglob("*") if path.is_file()}
    assert after == before


def test_changed_weights_in_the_end_are_no_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ScriptedEngine.train

    def train(engine: ScriptedEngine, jobs: Any) -> Any:
        engine.weights += b"!"
        return plain(engine, jobs)

    with monkeypatch.context() as patch:
        patch.setattr(ScriptedEngine, "train", train)
        with pytest.raises(RunError, match="not thrown away"):
            run(tmp_path)
    (folder,) = tmp_path.glob("*/seed-0")
    assert [each["engines"] for each in sessions(folder)] == [None]
    assert not (folder / "results.json").exists()


def test_damaged_sessions_are_told_with_a_cure_that_works(tmp_path: Path) -> None:
    folder = begun(tmp_path, spec())
    (folder / "sessions.json").write_text("[]")
    with pytest.raises(CorruptAsset, match="damaged") as caught:
        run(tmp_path)
    assert "Delete it" in caught.value.cure
    (folder / "sessions.json").unlink()
    assert run(tmp_path).seeds[0]["engines"]


def test_sessions_of_calibration_are_beside_the_runs(tmp_path: Path) -> None:
    document = spec(estimator="rss_margin")
    (cell,) = estimates(document, out=tmp_path)
    folder = cell.folder / "seed-0"
    assert not (folder / "sessions.json").exists()
    (entry,) = json.loads((folder / "estimates.sessions.json").read_text())["sessions"]
    assert entry["samples"] == 4
    assert entry["engines"]
    assert open_run(cell.folder, journal.ESTIMATES).environment == entry
    ran = run(tmp_path, document)
    before = (folder / "results.json").read_bytes()
    estimates(document, out=tmp_path)
    assert run(tmp_path, document).seeds == ran.seeds
    assert (folder / "results.json").read_bytes() == before


def test_one_process_at_a_time_estimates_or_runs(tmp_path: Path) -> None:
    folder = begun(tmp_path, spec())
    with journal.only_writer(folder):
        for go_on in (run, lambda out: estimates(spec(), out=out)):
            with pytest.raises(RunError, match="Another ttsi process"):
                go_on(tmp_path)


class Silent(Local):
    """Delivers any record without having its worker admitted."""

    def run(self, factory: Any, samples: Any, session: Any, watcher: Any = None) -> Any:
        runner = factory(watcher)
        for record in runner.run_wave(samples):
            session.deliver(record)
        return [runner.close()]


class DropsInterrupts(Local):
    """Drops ctrl-C, as Python does if it is raised in a destructor."""

    def run(self, factory: Any, samples: Any, session: Any, watcher: Any = None) -> Any:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return super().run(factory, samples, session, watcher)


def test_a_ctrl_c_that_was_dropped_still_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A shell starts what runs in the background without a handler.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(assemble, "executor", lambda spec: DropsInterrupts(wave=1))
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    (folder,) = tmp_path.glob("*/seed-0")
    assert len(list(read(folder / "samples.jsonl"))) == 1  # the sample in progress is kept
    assert run(tmp_path).seeds[0]["engines"]


class Unproven(Local):
    def run(self, factory: Any, samples: Any, session: Any, watcher: Any = None) -> Any:
        super().run(factory, samples, session, watcher)
        return [{"model": "scripted"}]


@pytest.mark.parametrize(
    ("executor", "said", "left"),
    [(Silent, "did not have admitted", 0), (Unproven, "without a proof", 4)],
)
def test_an_executor_that_proves_nothing_ends_the_run(
    executor: type[Local], said: str, left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Local, "run", executor.run)
        if executor is Unproven:
            patch.undo()
            patch.setattr(assemble, "executor", lambda spec: Unproven())
        with pytest.raises(RunError, match=said):
            run(tmp_path)
    records = [len(list(read(path))) for path in tmp_path.glob("*/seed-0/samples.jsonl")]
    assert records == ([left] if left else [])
    assert run(tmp_path).seeds[0]["engines"]


# ---------------------------------------------------------------- engines that are shared


def test_a_model_is_loaded_once_for_seeds_cells_and_a_budget(
    tmp_path: Path, calls: list[str]
) -> None:
    document = spec(estimator="rss_margin", seeds=[0, 1], budget=0.5)
    document["matrix"] = {"/generator/samples": [1, 2]}
    document["generator"] = {"name": "self"}
    ttsi.evaluate(document, out=tmp_path)
    # Two cells of two seeds, each of which estimates and then adapts.
    assert Counter(calls) == {"load": 1, "digest": 1 + 8, "forget": 8, "close": 1}
    assert calls[-1] == "close"


def test_another_model_is_loaded_when_the_first_is_closed(tmp_path: Path, calls: list[str]) -> None:
    document = spec()
    document["matrix"] = {"/engine/delay": [0.0, 0.001]}
    document["engine"] = {"name": "ttsi-fakes/scripted"}
    ttsi.evaluate(document, out=tmp_path)
    assert [each for each in calls if each in ("load", "close")] == ["load", "close"] * 2


def test_an_engine_is_lent_to_one_at_a_time() -> None:
    (made,) = load_spec(spec())
    with assemble.Engines() as engines:
        one, other = engines.lend(made), engines.lend(made)
        assert one is not other
        engines.take_back(made, one, sound=True)
        engines.take_back(made, other, sound=True)
        assert other.closed  # type: ignore[attr-defined]
        assert engines.lend(made) is one
        engines.take_back(made, one, sound=False)
        assert one.closed  # type: ignore[attr-defined]
        assert engines.lend(made) is not one


@pytest.mark.parametrize("ends", [KeyboardInterrupt, RunError("enough"), DeviceLost("gone")])
def test_whatever_ends_a_run_closes_its_engine(
    ends: Any, tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(engine: Any, requests: Any) -> Any:
        raise ends

    monkeypatch.setattr(ScriptedEngine, "generate", generate)
    with pytest.raises(ends if isinstance(ends, type) else type(ends)):
        run(tmp_path)
    assert calls.count("close") == 1


def test_what_fails_when_it_is_closed_hides_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(engine: Any, *_: Any) -> Any:
        raise DeviceLost("the device is gone")

    monkeypatch.setattr(ScriptedEngine, "generate", fails)
    monkeypatch.setattr(ScriptedEngine, "close", lambda engine: 1 / 0)
    with pytest.raises(DeviceLost, match="the device is gone"):
        run(tmp_path)


def test_a_lost_device_ends_the_run_and_costs_no_other_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ScriptedEngine.generate

    def generate(engine: Any, requests: Any) -> Any:
        if any("City2?" in each.prompt.messages[-1].content for each in requests):
            raise DeviceLost("The device was lost.", where="scripted", cure="Run it again.")
        return plain(engine, requests)

    with monkeypatch.context() as patch:
        patch.setattr(ScriptedEngine, "generate", generate)
        with pytest.raises(DeviceLost):
            run(tmp_path)
    (folder,) = tmp_path.glob("*/seed-0")
    assert [(r.id, r.error) for r in read(folder / "samples.jsonl")] == [
        ("rows/0", ""),
        ("rows/1", ""),
    ]
    assert run(tmp_path).errors == 0


def test_seeds_in_any_order_have_the_results_of_a_process_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine rounds by how much it has read since it was loaded or told to forget."""
    monkeypatch.setattr(ScriptedEngine, "forget", lambda engine: engine.asked.clear())
    plain = ScriptedEngine.loglikelihoods

    def loglikelihoods(engine: Any, prompts: Any, continuations: Any) -> Any:
        from dataclasses import replace

        made = plain(engine, prompts, continuations)
        share = 1e-3 * len(engine.asked)
        return [[replace(each, logprob=each.logprob - share) for each in some] for some in made]

    monkeypatch.setattr(ScriptedEngine, "loglikelihoods", loglikelihoods)
    document = spec(estimator="rss_margin")
    together = run(tmp_path / "together", {**document, "seeds": [1, 0]}).folder
    for seed in (0, 1):
        alone = run(tmp_path / f"alone-{seed}", {**document, "seeds": [seed]}).folder
        found = [
            [(r.estimate, r.final) for r in read(folder / f"seed-{seed}" / "samples.jsonl")]
            for folder in (together, alone)
        ]
        assert found[0] == found[1]
    shutil.rmtree(together)


def test_fake_engines_say_that_they_forgot() -> None:
    engine = FakeEngine()
    engine.forget()
    assert engine.calls == {"forget": 1}
