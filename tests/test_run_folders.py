"""What runs leave on disk: nothing of one that failed at once, and no litter of killed ones."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from resumed import begun, run, spec

import ttsi
from ttsi._common.files import write_json
from ttsi.errors import DeviceLost, MissingAsset, RunError, TtsiError
from ttsi.records import journal
from ttsi_fakes import ScriptedEngine

DEAD, OTHERS = 2**22 + 1, "elsewhere.example"
"""No process has a number above Linux's largest."""


def _missing() -> dict[str, Any]:
    return spec(engine={"name": "ttsi-fakes/scripted", "at_load": "missing"})


# ---------------------------------------------------------------- runs that fail at once


@pytest.mark.parametrize("out", ["runs", "deep/er/runs"])
def test_a_model_that_is_not_there_leaves_no_folder(out: str, tmp_path: Path) -> None:
    with pytest.raises(MissingAsset):
        ttsi.evaluate(_missing(), out=tmp_path / out)
    assert list(tmp_path.iterdir()) == []


def _lost(self: Any, requests: Any) -> Any:
    raise DeviceLost("The device was lost.", where="scripted", cure="Get another.")


@pytest.mark.parametrize("changed", [{}, {"seeds": [3, 4]}, {"budget": 0.5}], ids=str)
def test_a_device_that_is_lost_at_once_leaves_no_folder(
    changed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model was loaded, and identity and session were written."""
    monkeypatch.setattr(ScriptedEngine, "generate", _lost)
    with pytest.raises(RunError):
        run(tmp_path / "runs", spec(**changed))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_before_the_first_sample_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(self: Any, requests: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(ScriptedEngine, "generate", pressed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "runs")
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_before_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    first = run(tmp_path).folder
    monkeypatch.setattr(ScriptedEngine, "generate", _lost)
    with pytest.raises(RunError):
        run(tmp_path, spec(seeds=[0, 1]))
    assert [path.name for path in sorted(first.iterdir())] == ["results.json", "seed-0"]
    with pytest.raises(RunError):
        run(tmp_path, spec(estimator="never"))
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", first.name}


def test_a_folder_that_was_there_stays_whatever_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScriptedEngine, "generate", _lost)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.json").write_text("")  # as a shell's `>` makes it
    with pytest.raises(RunError):
        run(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results.json"]


def test_a_run_with_a_sample_stays_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begun(tmp_path, spec())
    with monkeypatch.context() as patch:
        patch.setattr(ScriptedEngine, "generate", _lost)
        with pytest.raises(RunError):
            run(tmp_path)
    assert len(list(journal.read(folder / "samples.jsonl"))) == 1
    assert run(tmp_path).samples == 4


def test_a_journal_of_nothing_that_was_begun_anew_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--fresh discards what was there before the model is loaded."""
    (run(tmp_path / "runs", spec(seeds=[0, 1])).folder / "seed-1" / "notes.txt").write_text("mine")
    monkeypatch.setattr(ScriptedEngine, "generate", _lost)
    for seed in (0, 1):
        with pytest.raises(RunError):
            run(tmp_path / "runs", spec(seeds=[seed]), fresh=True)
    (folder,) = tmp_path.glob("runs/*")
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["seed-1"]
    (folder / "seed-1" / "notes.txt").unlink()
    with pytest.raises(RunError):
        run(tmp_path / "runs", spec(seeds=[1]), fresh=True)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_second_writer_is_refused_and_leaves_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with (
        pytest.raises(TtsiError, match="is writing there"),
        journal.only_writer(folder),
        journal.only_writer(folder),
    ):
        pytest.fail("two writers")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- partial files


def _partial(folder: Path, name: str, host: str, process: int) -> Path:
    path = folder / f".{name}.{host}-{process}.part"
    path.write_text("{")
    return path


def test_partial_files_of_dead_processes_go(tmp_path: Path) -> None:
    here = platform.node()
    folder = run(tmp_path).folder
    litter = [
        _partial(folder / "seed-0", "results.json", here, DEAD),
        _partial(folder / "seed-0", "samples.jsonl", here, DEAD),
        _partial(folder, "results.json", here, DEAD),
        _partial(folder, "report.html", here, DEAD),
        _partial(folder, "results.json", OTHERS, 7),
    ]
    os.utime(litter[-1], (0, 0))
    others = [
        _partial(folder, "results.json", here, os.getppid()),
        _partial(folder, "results.json", OTHERS, 8),
    ]
    run(tmp_path)
    assert not any(path.exists() for path in litter)
    assert all(path.exists() for path in others)


def test_a_file_that_has_its_content_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    before = path.stat().st_ino
    write_json(path, {"a": 1})
    assert path.stat().st_ino == before
    write_json(path, {"a": 2})
    assert path.read_text() == '{\n  "a": 2\n}\n'


# ---------------------------------------------------------------- where nothing can be written


@pytest.fixture
def sealed() -> Iterator[Path]:
    """Yield a folder of runs that no user but root can write, with a grid and two seeds."""
    root = Path(tempfile.mkdtemp(prefix="sealed-"))
    root.chmod(0o755)
    ttsi.evaluate(spec(seeds=[0, 1], matrix={"/estimator": ["always", "never"]}), out=root / "runs")
    write_json(root / "spec.json", spec(seeds=[0, 1], matrix={"/estimator": ["always", "never"]}))
    for path in root.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield root
    for path in root.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(root)


def test_a_finished_run_can_be_asked_for_where_nothing_can_be_written(sealed: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in sealed.rglob("*")}
    done = subprocess.run(
        [sys.executable, "-c", _ASK, str(sealed)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent / "fakes")},
        preexec_fn=_obey_permissions,
    )
    if done.returncode == 77:
        pytest.skip("this user may write anywhere, and cannot give that up")
    assert done.returncode == 0, done.stderr
    assert "always" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in sealed.rglob("*")} == before


_ASK = """
import pathlib, sys
from ttsi.cli.main import main
root = pathlib.Path(sys.argv[1])
try:
    (root / "runs" / "x").touch()
except PermissionError:
    sys.exit(main(["eval", str(root / "spec.json"), "--out", str(root / "runs")]))
(root / "runs" / "x").unlink()
sys.exit(77)
"""


def _obey_permissions() -> None:
    """Give up what lets root write where permissions do not (CAP_DAC_OVERRIDE), on Linux."""
    if sys.platform == "linux" and os.geteuid() == 0:
        pr_capbset_drop, cap_dac_override = 24, 1
        ctypes.CDLL(None).prctl(pr_capbset_drop, cap_dac_override, 0, 0, 0)
