"""The imports of the quick commands, and the time that `ttsi --help` takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = (
    "torch",
    "transformers",
    "peft",
    "vllm",
    "openai",
    "ray",
    "xgrammar",
    "scipy",
    "numpy",
    "jinja2",
    "pyarrow",
    "inspect_ai",
)
PROBE = """
import sys
from ttsi.cli.main import main
try:
    code = main({argv!r})
except SystemExit as exit:
    code = exit.code
print("CODE", code)
print("IMPORTED", sorted({{name.partition(".")[0] for name in sys.modules}}))
"""


def imported_by(argv: list[str]) -> set[str]:
    """Return the top-level names that `ttsi ARGV` imports in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(argv=argv)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    last = done.stdout.splitlines()
    assert last[-2] == "CODE 0", done.stdout + done.stderr
    return set(last[-1].removeprefix("IMPORTED [").rstrip("]").replace("'", "").split(", "))


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["--version"],
        ["eval", "--help"],
        ["score", "--help"],
        ["runs", "--help"],
        ["report", "--help"],
        ["compare", "--help"],
        ["calibrate", "--help"],
        ["export", "--help"],
        ["export-adapter", "--help"],
        ["leaderboard", "--help"],
        ["new-plugin", "--help"],
        ["validate", "specs/quickstart.json"],
        ["plugins"],
        ["schema"],
        ["schema", "spec"],
    ],
    ids=" ".join,
)
def test_quick_verbs_import_nothing_heavy(argv: list[str]) -> None:
    imported = imported_by(argv)
    assert "ttsi" in imported
    assert imported.isdisjoint(HEAVY)


def test_the_probe_sees_a_heavy_import() -> None:
    probe = PROBE.format(argv=["--version"]).replace("import sys", "import sys, scipy", 1)
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "'scipy'" in done.stdout


def test_help_imports_only_the_standard_library() -> None:
    bare = {name.partition(".")[0] for name in _modules_of_a_bare_interpreter()}
    beyond = imported_by(["--help"]) - bare - set(sys.stdlib_module_names) - {"__main__"}
    assert beyond == {"ttsi"}


def _modules_of_a_bare_interpreter() -> list[str]:
    code = "import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_help_takes_less_than_a_quarter_of_a_second() -> None:
    """The best CPU time of several runs, so that a busy machine does not matter."""
    spent = [time_of([sys.executable, "-m", "ttsi", "--help"]) for _ in range(5)]
    assert min(spent) < 0.25


def time_of(command: list[str]) -> float:
    """Return the CPU seconds of a process that this one has waited for."""
    before = os.times()
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    own = after.children_user - before.children_user
    return own + after.children_system - before.children_system
