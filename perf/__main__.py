"""Every measurement, one after another, each in a process of its own.

    python -m perf
    python -m perf --device cuda --model Qwen/Qwen2.5-Coder-1.5B-Instruct
    python -m perf --minutes 8

Options are passed on to each, but for --minutes: what is not done by then is not measured. On two
CPU cores all of it takes two hours.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

STAGES: dict[str, list[str]] = {
    "perf.estimate": [],
    "perf.decode": ["--cold"],
    "perf.train": ["--exact-banks", "1,8"],
    "perf.whole": [],
    "perf.memory": [],
    "perf.episodes": [],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"Stages: {', '.join(STAGES)} (each has its own --help).",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # An option's beginning may be that of another, of a stage.
        allow_abbrev=False,
    )
    parser.add_argument("--minutes", type=float, help="end after so many minutes")
    given, rest = parser.parse_known_args()
    end = None if given.minutes is None else time.monotonic() + 60 * given.minutes
    failed = []
    for stage, options in STAGES.items():
        command = [sys.executable, "-m", stage, *options, *rest]
        print("\n$", " ".join(command[1:]), flush=True)
        left = None if end is None else max(0.0, end - time.monotonic())
        if left == 0 or _run(command, left):
            failed.append(f"{stage} (no time left)" if end and time.monotonic() >= end else stage)
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


def _run(command: list[str], seconds: float | None) -> int:
    """Return the command's exit code; after `seconds` it ends, with all that it has started."""
    process = subprocess.Popen(command, process_group=0)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return 1
    finally:
        # Of ctrl-C, too, a process group of its own learns from here alone.
        for how, patience in ((signal.SIGINT, 10), (signal.SIGKILL, None)):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, how)
                process.wait(patience)


if __name__ == "__main__":
    main()
