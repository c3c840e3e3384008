"""Measurements beside this process and this machine: workers, minutes, and what is carried."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
from packaging.requirements import Requirement

import perf.__main__ as every
from perf import pack
from perf.workers import Worker

ROOT = Path(__file__).resolve().parent.parent

_ECHO = """
import json, sys
print(json.dumps({"ready": sys.argv[1:]}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked == ["end"]:
        sys.exit(3)
    print(json.dumps(asked), flush=True)
"""
_PARENT = """
import json, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(json.dumps(child.pid), flush=True)
sys.stdin.read()
"""


def test_a_worker_answers_until_it_ends(tmp_path: Path) -> None:
    script = tmp_path / "echo.py"
    script.write_text(_ECHO)
    worker = Worker(script, ["a b"], os.environ)
    assert worker.told == {"ready": ["a b"]}
    assert worker.ask("do", "T, exact") == ["do", "T, exact"]
    with pytest.raises(SystemExit, match="ended with code 3"):
        worker.ask("end")
    worker.close()


def test_what_a_worker_starts_ends_with_it(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    worker = Worker(script, [], os.environ)
    worker.close()
    assert _ends(worker.told)


def _ends(pid: int) -> bool:
    """Return whether a process ends, or has ended."""
    if not psutil.pid_exists(pid):
        return True
    process = psutil.Process(pid)
    psutil.wait_procs([process], timeout=30)
    # It is nobody's child that would wait for it, and may stay as a name alone.
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_stages_end_when_the_minutes_are_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fast_stage.py").write_text("import sys; print('fast', *sys.argv[1:])")
    (tmp_path / "slow_stage.py").write_text(_PARENT.replace("sys.stdin.read()", "child.wait()"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    stages: dict[str, list[str]] = {"fast_stage": ["--own"], "slow_stage": [], "never": []}
    monkeypatch.setattr(every, "STAGES", stages)
    monkeypatch.setattr(sys, "argv", ["perf", "--minutes", "0.05", "--pairs", "1"])
    with pytest.raises(SystemExit) as ended:
        every.main()
    out = capfd.readouterr().out
    assert "fast --own --pairs 1" in out
    (child,) = (line for line in out.splitlines() if line.isdigit())
    assert _ends(int(child))
    told = "not measured: slow_stage (no time left), never (no time left)"
    assert str(ended.value) == told


def test_a_stage_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad_stage.py").write_text("raise SystemExit('unequal')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(every, "STAGES", {"bad_stage": []})
    monkeypatch.setattr(sys, "argv", ["perf"])
    with pytest.raises(SystemExit, match="not measured: bad_stage"):
        every.main()


def test_what_a_machine_needs_is_all_that_is_not_there() -> None:
    found = pack.needed("ttsi[transformers]", {"torch", "huggingface-hub"})
    assert {"ttsi", "transformers", "peft", "pluggy", "jsonschema", "referencing"} <= found
    assert not {"torch", "huggingface-hub", "pytest", "ray"} & found
    assert found <= pack.needed("ttsi[transformers]", set())
    for name in found - {"ttsi"}:
        Requirement(f"{name}=={version(name)}")


def test_what_is_not_installed_here_is_named() -> None:
    with pytest.raises(SystemExit, match="no-such-package is not installed"):
        pack.needed("no_such.package", set())


def test_large_files_are_cut_into_pieces_that_join(tmp_path: Path) -> None:
    whole = bytes(range(256)) * 10
    (tmp_path / "large.whl").write_bytes(whole)
    (tmp_path / "small.whl").write_bytes(b"small")
    pack.cut(tmp_path, 1000)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [*(f"large.whl.part-{n:02}" for n in range(3)), "small.whl"]
    pieces = b"".join((tmp_path / name).read_bytes() for name in names[:-1])
    assert pieces == whole


def test_the_script_for_a_gpu_says_what_it_wants() -> None:
    done = subprocess.run(
        ["bash", str(ROOT / "perf" / "gpu.sh")], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "perf/gpu.sh DIR [OUT]" in done.stderr
    assert "set -euo" not in done.stderr
