"""The commands on runs of many samples, whose engine answers at once: time and memory of each.

The engine and the rows are the tests' fakes, so that only ttsi takes time. At each size a run is
evaluated, continued (nothing is left to do), calibrated, reported, and compared with itself. Each
is a process of its own, of which the wall clock and the largest resident memory are measured.

    python -m perf.large
    python -m perf.large --sizes 2000,8000
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from perf.result import RESULTS, Machine, about, versions, write
from ttsi.records.provenance import environment

ROOT = Path(__file__).resolve().parent.parent

# A small process between: the largest memory of a child begins at that of its parent.
_LAUNCHER = """
import os, subprocess, sys, time
started = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
print(time.perf_counter() - started, usage.ru_maxrss, status)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="10000,100000", help="samples of each run, by commas")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results")
    given = parser.parse_args()
    table = [measured(int(size)) for size in given.sizes.split(",")]
    machine = Machine("scripted", "cpu", str(environment({})["processor"]), "none", 1)
    values = {"stage": "large", "device": "cpu", "model": "records", "sizes": table}
    values |= {"machine": about(machine), "versions": versions()}
    print(f"{write(values, given.out)} written")


def measured(samples: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        spec, runs = Path(folder) / "spec.json", Path(folder) / "runs"
        document = {
            "name": "large",
            "model": {"id": "scripted"},
            "engine": "ttsi-fakes/scripted",
            "benchmark": {"name": "ttsi-fakes/rows", "rows": samples},
            "estimator": {"name": "rss_margin", "threshold": 0.5},
            "inference": {"name": "direct", "decoding": "greedy"},
            "executor": {"name": "local", "wave": 64},
        }
        spec.write_text(json.dumps(document))
        found: dict[str, Any] = {"samples": samples}
        evaluate = ["eval", str(spec), "--out", str(runs), "-q"]
        found["eval"] = taken(evaluate)
        (run,) = (path for path in runs.iterdir() if path.is_dir())
        commands = {
            "continue": evaluate,
            "calibrate": ["calibrate", str(run), "-q"],
            "report": ["report", str(run), "-q"],
            "compare": ["compare", str(run), str(run)],
        }
        for name, command in commands.items():
            found[name] = taken(command)
        found["eval"]["ms_a_sample"] = 1e3 * found["eval"]["seconds"] / samples
        for name in ("eval", *commands):
            told = found[name]
            print(f"{samples} samples, {name}: {told['seconds']:.1f} s, {told['mib']:.0f} MiB")
        return found


def taken(command: list[str]) -> dict[str, float]:
    """Return the seconds and the largest resident memory of a command. Exits where it fails."""
    places = [str(ROOT / "tests" / "fakes"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCHER, sys.executable, "-m", "ttsi", *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds, kib, status = map(float, done.stdout.split())
    if status:
        sys.exit(f"ttsi {' '.join(command)} ended with status {status:.0f}")
    return {"seconds": seconds, "mib": kib / 1024}


if __name__ == "__main__":
    main()
