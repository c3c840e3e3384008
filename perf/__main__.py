"""Every measurement, one after another, each in a process of its own.

    python -m perf
    python -m perf --device cuda --model Qwen/Qwen2.5-Coder-1.5B-Instruct

Options are passed on to each. On two CPU cores all of it takes two hours.
"""

from __future__ import annotations

import subprocess
import sys

STAGES: dict[str, list[str]] = {
    "perf.estimate": [],
    "perf.decode": ["--cold"],
    "perf.train": ["--exact-banks", "1,8"],
    "perf.whole": [],
    "perf.memory": [],
}


def main() -> None:
    given = sys.argv[1:]
    if "-h" in given or "--help" in given:
        print(__doc__)
        print("Stages:", ", ".join(STAGES), "(each has its own --help)")
        return
    failed = []
    for stage, options in STAGES.items():
        command = [sys.executable, "-m", stage, *options, *given]
        print("\n$", " ".join(command[1:]), flush=True)
        if subprocess.run(command, check=False).returncode:
            failed.append(stage)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
