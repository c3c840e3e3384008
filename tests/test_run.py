"""A run from spec to files, with a scripted engine: files, resume, faults, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import ttsi
from ttsi.cli.main import main
from ttsi.errors import SpecError, TtsiError
from ttsi.hooks import hookimpl
from ttsi.running.cell_result import CellResult

TESTS = Path(__file__).parent
SCHEMAS = Path(ttsi.__file__).parent / "schemas"
FILES = {
    "spec.json",
    "spec.resolved.json",
    "identity.json",
    "sessions.json",
    "samples.jsonl",
    "predictions.jsonl",
    "results.json",
    "manifest.json",
}


def spec(**changed: Any) -> dict[str, Any]:
    return {
        "name": "scripted",
        "model": {"id": "scripted"},
        "engine": "ttsi-fakes/scripted",
        "benchmark": {"name": "ttsi-fakes/rows", "rows": 6},
        "estimator": "always",
        "inference": {"name": "direct", "decoding": "greedy"},
        "executor": {"name": "local", "wave": 2},
    } | changed


def run(out: Path, document: dict[str, Any] | None = None, **options: Any) -> CellResult:
    (cell,) = ttsi.evaluate(document or spec(), out=out, **options)
    return cell


def seed_folder(cell: CellResult, seed: int = 0) -> Path:
    return cell.folder / f"seed-{seed}"


def valid(name: str, document: Any) -> bool:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    errors = [error.message for error in Draft202012Validator(schema).iter_errors(document)]
    assert errors == []
    return True


def test_a_run_leaves_files_that_fit_their_schemas(tmp_path: Path) -> None:
    cell = run(tmp_path)
    folder = seed_folder(cell)
    assert {file.name for file in folder.iterdir()} == FILES | {".lock"}
    results = json.loads((folder / "results.json").read_text())
    assert valid("results", results)
    lines = (folder / "samples.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert all(valid("record", json.loads(line)) for line in lines)
    assert results["accuracy"] == 1.0
    assert results["base"]["accuracy"] == 0.5
    assert results["change"]["fixed"] == 3
    identity = json.loads((folder / "identity.json").read_text())
    assert valid("identity", identity)
    assert results["identity"] == identity
    sessions = json.loads((folder / "sessions.json").read_text())
    assert valid("sessions", sessions)
    (session,) = sessions["sessions"]
    assert session["samples"] == 6
    assert session["engines"] == results["engines"]
    assert identity["plugins"]["engine"]["distribution"] == "ttsi-fakes"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest["files"]) == FILES - {"manifest.json"}


def test_the_same_command_again_runs_nothing(tmp_path: Path) -> None:
    first = run(tmp_path)
    before = {file.name: file.read_bytes() for file in seed_folder(first).iterdir()}
    seen: list[str] = []

    class Watch:
        @hookimpl
        def ttsi_sample_finished(self, record: Any) -> None:
            seen.append(record.id)

    again = run(tmp_path, hooks=[Watch()])
    assert seen == []
    assert again.seeds == first.seeds
    assert {file.name: file.read_bytes() for file in seed_folder(first).iterdir()} == before


def test_fresh_runs_all_of_it_again(tmp_path: Path) -> None:
    first = run(tmp_path)
    again = run(tmp_path, fresh=True)
    assert again.seeds[0]["finished"] >= first.seeds[0]["finished"]
    assert len((seed_folder(again) / "samples.jsonl").read_text().splitlines()) == 6


def test_other_settings_get_another_folder_and_other_seeds_do_not(tmp_path: Path) -> None:
    folder = run(tmp_path).folder
    assert run(tmp_path, spec(seeds=[1, 2])).folder == folder
    assert run(tmp_path, spec(executor={"name": "local", "wave": 3})).folder == folder
    assert run(tmp_path, spec(estimator="never")).folder != folder
    summary = json.loads((folder / "results.json").read_text())
    assert summary["seeds"] == [0, 1, 2]


def test_seeds_are_summed_up(tmp_path: Path) -> None:
    cell = run(tmp_path, spec(seeds=[3, 4, 5]))
    assert cell.summary["accuracy"]["n"] == 3
    assert cell.summary["difference"]["mean"] == pytest.approx(0.5)
    assert set(cell.seeds) == {3, 4, 5}


def test_errored_samples_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ttsi_fakes

    script = ttsi_fakes.default_script

    def fails(request: Any) -> str:
        if "City3?" in request.prompt.messages[-1].content:
            raise ValueError("no")
        return script(request)

    monkeypatch.setattr(ttsi_fakes.ScriptedEngine, "script", staticmethod(fails))
    monkeypatch.setattr(ttsi_fakes.ScriptedEngine.__init__, "__defaults__", _scripted(fails))
    cell = run(tmp_path)
    assert cell.errors == 1
    assert cell.seeds[0]["reasons"]["engine_error"] == 1
    assert len((seed_folder(cell) / "predictions.jsonl").read_text().splitlines()) == 5
    monkeypatch.undo()
    again = run(tmp_path)
    assert again.errors == 0
    assert again.seeds[0]["accuracy"] == 1.0


def _scripted(script: Any) -> tuple[Any, ...]:
    """Return the engine's constructor defaults with another script in the last place."""
    import ttsi_fakes

    return (*(ttsi_fakes.ScriptedEngine.__init__.__defaults__ or ())[:-1], script)


def test_results_behind_the_journal_are_made_again(tmp_path: Path) -> None:
    cell = run(tmp_path)
    folder = seed_folder(cell)
    (folder / "results.json").write_text('{"accuracy": 0.99}')
    assert run(tmp_path).seeds[0]["accuracy"] == 1.0
    (folder / "predictions.jsonl").unlink()
    run(tmp_path)
    assert (folder / "predictions.jsonl").exists()


def test_an_engine_that_cannot_is_refused_before_it_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ttsi_fakes

    monkeypatch.setattr(ttsi_fakes.ScriptedEngine, "capabilities", frozenset({"generate"}))
    with pytest.raises(SpecError) as caught:
        run(tmp_path, spec(estimator="rss_margin"))
    assert [problem.pointer for problem in caught.value.problems] == ["/estimator", "/learner"]
    assert not list(tmp_path.iterdir())


def test_a_benchmark_without_samples_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(TtsiError, match="no samples"):
        run(tmp_path, spec(benchmark={"name": "ttsi-fakes/rows", "rows": 0}))


def test_a_matrix_makes_a_folder_a_cell(tmp_path: Path) -> None:
    cells = ttsi.evaluate(spec(matrix={"/estimator": ["always", "never"]}), out=tmp_path)
    assert [cell.seeds[0]["accuracy"] for cell in cells] == [1.0, 0.5]
    assert len({cell.folder for cell in cells}) == 2


GRID = {"/estimator": ["always", "never"], "how": {"plain": {}, "greedy": {"/baseline": False}}}


def test_cells_of_a_matrix_are_run_alone(tmp_path: Path) -> None:
    some = {"how": ["plain"], "/estimator": ["never"]}
    (cell,) = ttsi.evaluate(spec(matrix=GRID), out=tmp_path, cells=some)
    assert dict(cell.spec.cell) == {"how": "plain", "/estimator": "never"}
    assert [path.name for path in tmp_path.iterdir()] == [cell.folder.name]
    both = ttsi.evaluate(spec(matrix=GRID), out=tmp_path, cells={"how": ["plain"]})
    assert [each.spec.cell["/estimator"] for each in both] == ["always", "never"]


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("hwo=plain", 'Did you mean "how"?'),
        ("how=palin", 'Did you mean "plain"?'),
        ("plain", "is not AXIS=VALUE"),
    ],
)
def test_cells_that_the_matrix_does_not_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cell: str, says: str
) -> None:
    assert main(command(tmp_path, "--cell", cell, matrix=GRID)) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


# ---------------------------------------------------------------- the command


def command(tmp_path: Path, *arguments: str, **changed: Any) -> list[str]:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec(**changed)))
    return ["eval", str(path), "--out", str(tmp_path / "runs"), *arguments]


def test_the_command_prints_the_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(tmp_path)) == 0
    out = capsys.readouterr().out
    for part in ("base model", "50.0 %", "100.0 %", "3 fixed, 0 broken", "6 of 6", "samples.jsonl"):
        assert part in out


def test_events_are_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(tmp_path, "--json")) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["started", *["sample"] * 6, "results"]
    assert valid("results", events[-1]["results"])


def test_an_unwritable_folder_is_one_error_with_a_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").write_text("a file, not a folder")
    assert main(command(tmp_path)) == 1
    err = capsys.readouterr().err
    assert "--out" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("setting", "code", "part"),
    [
        ("estimator.name=alway", 2, "always"),
        ("estimator.name=ttsi-fakes/broken", 5, "ttsi_fakes_missing_module"),
        ("benchmark.rows=-1", 2, "/benchmark/rows"),
        ("nonsense", 2, "KEY=VALUE"),
    ],
)
def test_bad_settings_end_with_their_code_and_a_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str, code: int, part: str
) -> None:
    assert main(command(tmp_path, "--set", setting)) == code
    err = capsys.readouterr().err
    assert part in err
    assert len(err.splitlines()) < 24
    assert "Traceback" not in err


def start(tmp_path: Path, delay: float = 0.02, rows: int = 12) -> subprocess.Popen[bytes]:
    arguments = command(
        tmp_path,
        "--progress",
        "none",
        engine={"name": "ttsi-fakes/scripted", "delay": delay},
        benchmark={"name": "ttsi-fakes/rows", "rows": rows},
    )
    path = os.pathsep.join(["fakes", os.environ.get("PYTHONPATH", "")])
    with (tmp_path / "stderr").open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "ttsi", *arguments],
            cwd=TESTS,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            preexec_fn=_interruptible,
        )


def _interruptible() -> None:
    # Background processes of a shell ignore SIGINT, and their children inherit this.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def journal_of(tmp_path: Path) -> Path | None:
    return next((tmp_path / "runs").glob("*/seed-0/samples.jsonl"), None)


def wait_for_lines(tmp_path: Path, process: subprocess.Popen[bytes], lines: int) -> None:
    while process.poll() is None:
        journal = journal_of(tmp_path)
        if journal is not None and journal.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.005)


def predictions(tmp_path: Path) -> bytes:
    journal = journal_of(tmp_path)
    assert journal is not None
    return (journal.parent / "predictions.jsonl").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The predictions of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert start(folder).wait() == 0
    return predictions(folder)


@pytest.mark.parametrize("after", [0, 1, 3, 5, 8])
def test_a_killed_run_resumes_to_the_same_predictions(
    tmp_path: Path, whole: bytes, after: int
) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    process = start(killed)
    wait_for_lines(killed, process, after)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert start(killed).wait() == 0
    assert predictions(killed) == whole
    journal = journal_of(killed)
    assert journal is not None
    ids = [json.loads(line)["id"] for line in journal.read_text().splitlines()]
    assert ids == [f"rows/{number}" for number in range(12)]


def test_ctrl_c_keeps_what_is_finished_and_exits_with_130(tmp_path: Path) -> None:
    process = start(tmp_path, delay=0.05)
    wait_for_lines(tmp_path, process, 2)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    err = (tmp_path / "stderr").read_text()
    assert "resumes" in err
    assert "Traceback" not in err
    journal = journal_of(tmp_path)
    assert journal is not None
    assert len(journal.read_text().splitlines()) >= 2
