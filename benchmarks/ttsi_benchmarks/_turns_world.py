"""Client of the process that runs an episode's simulated APIs: calls, time limits, shutdown."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ttsi import JSON, ToolCall
from ttsi_benchmarks._bfcl_source import wheel

_WORKER = Path(__file__).with_name("_turns_worker.py")
_SECONDS, _START = 10.0, 120.0
"""How long calls may take, and a worker that has to load the classes."""


class Broken(Exception):
    """A worker gave no answer: it took too long, or it ended."""


class Worlds:
    """A worker process. It ends with this object, and with this process however that ends."""

    def __init__(self) -> None:
        apis = str(wheel("the simulated APIs").locate_file(""))
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(_WORKER), apis],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Times are written in the zone of the machine.
            env={"TZ": "UTC", "PATH": os.environ.get("PATH", "")},
        )
        self.close = weakref.finalize(self, _end, self._process)

    def begin(self, config: Mapping[str, JSON], classes: Sequence[str], *, long: bool) -> None:
        self._answer(json.dumps(["begin", config, classes, long]), _START)

    def call(self, calls: Sequence[ToolCall]) -> list[str]:
        """Return the results of the model's calls, as texts. Raises Broken."""
        return [self._result(each) for each in calls]

    def _result(self, call: ToolCall) -> str:
        try:
            line = json.dumps(["call", call.name, call.arguments])
        except (RecursionError, ValueError) as error:
            # An integer of too many digits, or lists in lists in lists.
            return f"Error during execution: {error}"
        result: str = self._answer(line)
        return result

    def end_turn(self, calls: Sequence[ToolCall]) -> tuple[list[str], list[str]]:
        """Return the results of the right calls, and what differs in the two worlds then."""
        right = [[each.name, each.arguments] for each in calls]
        made = self._answer(json.dumps(["end_turn", right]))
        return made[0], made[1]

    def _answer(self, line: str, seconds: float | None = None) -> Any:
        """Return the worker's answer to a line. Raises Broken."""
        asked, told = self._process.stdin, self._process.stdout
        assert asked is not None
        assert told is not None
        try:
            asked.write(f"{line}\n".encode())
            asked.flush()
            return json.loads(self._line(told.fileno(), seconds or _SECONDS))
        except (OSError, ValueError) as error:
            self.close()
            raise Broken(f"its worker ended: {error}") from error

    def _line(self, pipe: int, seconds: float) -> bytes:
        end, read = time.monotonic() + seconds, bytearray()
        # It writes one line for each that it reads, so that a line's end is the end of all.
        while not read.endswith(b"\n"):
            if not select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]:
                self.close()
                raise Broken(f"it took more than {seconds:.0f} s")
            more = os.read(pipe, 2**16)
            if not more:
                raise OSError("no answer")
            read += more
        return bytes(read)


def _end(process: subprocess.Popen[bytes]) -> None:
    # What it has not read when it dies cannot be written any more when its pipe is closed.
    with suppress(BrokenPipeError), process:
        process.kill()


_IDLE: list[Worlds] = []


def taken() -> Worlds:
    """Return a worker that nobody uses, or a new one."""
    return _IDLE.pop() if _IDLE else Worlds()


def give_back(worlds: Worlds) -> None:
    """Let others use a worker, whose worlds are made afresh then."""
    if worlds.close.alive:
        _IDLE.append(worlds)
