"""Streams that are closed, full, or without a reader: a message, and a documented exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from told import LINE, documented, finished, here

__all__ = ["finished", "here"]

TTSI = [sys.executable, "-c", "from ttsi.cli.main import main; raise SystemExit(main())"]
SAYING = {
    "plugins": ["plugins"],
    "plugins as JSON": ["plugins", "--json"],
    "schema": ["schema", "spec"],
    "validate": ["validate", "spec.json"],
    "score": ["score", "lines", "--benchmark", "ttsi-fakes/rows"],
    "compare": ["compare", "RUN", "RUN"],
    "calibrate": ["calibrate", "RUN"],
    "eval": ["eval", "spec.json", "--out", "out", "--progress", "lines"],
    "help": ["--help"],
    "fault": ["validate", "nowhere"],
    "usage": ["validate"],
}


@pytest.fixture
def shell(here: Path, finished: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    (here / "lines").write_text(LINE)
    paths = [str(Path(__file__).parent / "fakes"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}

    def started(command: str, redirected: str) -> subprocess.CompletedProcess[str]:
        words = [str(finished) if word == "RUN" else word for word in SAYING[command]]
        script = f'"$@" {redirected}'
        return subprocess.run(
            ["bash", "-c", script, "bash", *TTSI, *words],
            capture_output=True,
            text=True,
            env=environment,
            timeout=300,
            check=False,
        )

    return started


def assert_clean(done: subprocess.CompletedProcess[str]) -> None:
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    assert "internal error" not in said
    assert done.returncode in documented()


@pytest.mark.parametrize("command", SAYING)
def test_a_full_stdout_is_told_of(command: str, shell: Any) -> None:
    done = shell(command, "> /dev/full")
    assert_clean(done)
    if command == "usage":
        assert done.returncode == 2
    else:
        assert done.returncode != 0
        assert "cure:" in done.stderr or command == "fault"


@pytest.mark.parametrize("command", ["plugins", "score", "eval", "fault"])
@pytest.mark.parametrize("redirected", [">&-", "2>&-", ">&- 2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_are_as_dev_null(command: str, redirected: str, shell: Any) -> None:
    done = shell(command, redirected)
    assert_clean(done)
    assert done.returncode == (2 if command == "fault" else 0)


def test_what_is_written_to_a_closed_stdout_goes_into_no_journal(shell: Any, here: Path) -> None:
    assert shell("eval", ">&- 2>&-").returncode == 0
    (folder,) = (here / "out").glob("small-*/seed-0")
    for line in (folder / "samples.jsonl").read_text().splitlines():
        assert json.loads(line)["error"] == ""


@pytest.mark.parametrize("command", ["plugins", "plugins as JSON", "schema", "compare"])
@pytest.mark.parametrize("reader", ["| true", "| head -1 > /dev/null", "2>&1 | true"])
def test_a_reader_that_goes_away_is_no_fault(command: str, reader: str, shell: Any) -> None:
    done = shell(command, f"{reader}; exit ${{PIPESTATUS[0]}}")
    assert_clean(done)
    assert done.returncode in (0, 1)
    assert done.stderr == "" or command == "plugins"


@pytest.mark.parametrize("command", ["plugins", "fault", "eval"])
def test_a_full_stderr_leaves_the_exit_code(command: str, shell: Any) -> None:
    done = shell(command, "2> /dev/full")
    assert_clean(done)
    assert done.returncode == (2 if command == "fault" else 0)


def test_a_stdout_that_is_not_utf8_gets_escapes(shell: Any, monkeypatch: Any) -> None:
    done = shell("score", "| cat")
    assert done.returncode == 0
