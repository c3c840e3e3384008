"""A side of a measurement in a process of its own: another checkout, or another environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any


class Worker:
    """A script that reads a line of JSON for each thing it is asked, and answers with one.

    `told` is its first line, which it writes when it is ready. A worker that ends ends the
    measurement.
    """

    def __init__(
        self, script: Path, arguments: Sequence[str], env: Mapping[str, str], python: str = ""
    ) -> None:
        self._process = subprocess.Popen(
            # -P: in the script's folder lies a profile.py, which would hide Python's own.
            [python or sys.executable, "-P", str(script), *arguments],
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Of its own, so that what it starts ends with it.
            process_group=0,
        )
        self.told = self._answer()

    def ask(self, *asked: Any) -> Any:
        assert self._process.stdin is not None
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"a worker ended with code {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        # Leaving the context closes the pipes and waits.
        with self._process, suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
