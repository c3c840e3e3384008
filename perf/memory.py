"""Peak memory of a wave through all four stages, beside the budget that the spec gives the engine.

Each budget has a process of its own: what is printed is the growth of the resident set (on a GPU,
of what torch has allocated) above that of the loaded model.

    python -m perf.memory
    python -m perf.memory --variant exact --budgets 2,4,8 --device cuda

On two CPU cores the first takes six minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any, get_args

from perf.common import Bench, arguments, samples
from perf.result import LEAST_PAIRS, about, versions, write
from perf.timing import begin_peak, peak
from perf.variants import Variant, pipeline

GIB = 2**30


def main() -> None:
    parser = arguments(__doc__ or "", samples=32, units="samples of the wave")
    parser.add_argument("--budgets", default="1,2", help="memory_gib of the engine, by commas")
    parser.add_argument("--variant", default="activated", choices=get_args(Variant))
    parser.add_argument("--child", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        print(json.dumps(one_wave(given, given.child)))
        return
    rows = [in_a_process(float(budget)) for budget in given.budgets.split(",")]
    for row in rows:
        print(
            f"budget {row['budget_bytes'] / GIB:.2f} GiB: peak "
            f"{row['peak_memory_bytes'] / GIB:.2f} GiB above the loaded model, "
            f"{row['adapted']} of {given.samples} adapted in {row['seconds']:.0f} s"
        )
    if given.pairs < LEAST_PAIRS:
        print(f"not kept: fewer than {LEAST_PAIRS} pairs were asked for")
        return
    values = {key: rows[0][key] for key in ("device", "model", "machine", "versions")}
    values |= {"stage": "memory", "samples": given.samples, "variant": given.variant}
    kept = ("budget_bytes", "peak_memory_bytes", "seconds", "adapted")
    values["waves"] = [{key: row[key] for key in kept} for row in rows]
    print(write(values, given.out), "written")


def in_a_process(budget: float) -> dict[str, Any]:
    """Run the wave in a new interpreter, which prints its findings as its last line."""
    command = [sys.executable, "-m", "perf.memory", "--child", str(budget), *sys.argv[1:]]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def one_wave(given: argparse.Namespace, budget: float) -> dict[str, Any]:
    """Run one wave; all samples count as uncertain, so that each goes through all stages it can."""
    bench = Bench(given.model, given.device, given.dtype, memory_gib=budget)
    made = pipeline(bench.engine, given.variant, threshold=1.0)
    rows = samples("sealtool", given.samples)
    before = begin_peak(bench.device)
    started = time.perf_counter()
    solutions = list(made.solve([row.task for row in rows]))
    seconds = time.perf_counter() - started
    failures = [each.error for each in solutions if each.error]
    if failures:
        sys.exit(f"{len(failures)} samples failed, first: {failures[0]}")
    return {
        **{key: asdict(bench.machine)[key] for key in ("device", "model")},
        "machine": about(bench.machine),
        "versions": versions(),
        "budget_bytes": int(budget * GIB),
        "peak_memory_bytes": peak(bench.device) - before,
        "seconds": seconds,
        "adapted": sum(each.adapted is not None for each in solutions),
    }


if __name__ == "__main__":
    main()
