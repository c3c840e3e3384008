"""The engine of this checkout against that of another commit, doing the same work in turn.

    python -m perf.commits HEAD~20
    python -m perf.commits a7d7abc --model qwen2.5-coder-0.5b.gguf

Each side is a process of its own that holds the model. Texts must be equal, likelihoods and losses
equal to a thousandth. A ratio above 1 says that this checkout is faster. Answers are decoded from
prompts that were read before, adapted ones after the base answers and the training, which are not
timed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from perf.common import Unequal, arguments
from perf.result import LEAST_PAIRS, Machine, about, write
from perf.timing import Side, speed_ratios, spread, take_turns
from perf.workers import Worker

ROOT = Path(__file__).resolve().parent.parent
WORKER = ROOT / "perf" / "commits_worker.py"
STAGES = (
    "H",
    "decoding, free",
    "decoding, constrained",
    "T, exact",
    "T, activated",
    "adapted answers, exact",
    "adapted answers, activated",
)
_APART = 1e-3


class Checkout(Worker):
    """A process that runs the engine of a checkout."""

    def __init__(self, checkout: Path, given: argparse.Namespace) -> None:
        places = [checkout, checkout / "plugins", checkout / "benchmarks"]
        path = os.pathsep.join(map(str, places))
        asked = [given.model, given.device, given.dtype, str(given.samples)]
        super().__init__(WORKER, asked, {**os.environ, "PYTHONPATH": path})
        if Path(self.told["ttsi"]).parent.parent != checkout:
            sys.exit(f"{self.told['ttsi']} was imported, not the one in {checkout}")


def main() -> None:
    parser = arguments(__doc__ or "", samples=16, units="Seal-Tools samples a stage")
    parser.add_argument("commit", help="what to compare with, as git names it")
    parser.add_argument("--stages", default=";".join(STAGES), help="which, by semicolons")
    given = parser.parse_args()
    stages = given.stages.split(";")
    if unknown := set(stages) - {*STAGES}:
        sys.exit(f"no such stages: {', '.join(sorted(unknown))}; there are {'; '.join(STAGES)}")
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder).resolve() / "other"
        _git("worktree", "add", "--detach", str(other), given.commit)
        workers: list[Checkout] = []
        try:
            workers += [Checkout(place, given) for place in (ROOT, other)]
            table = [_compared(stage, workers, given.pairs) for stage in stages]
        finally:
            for worker in workers:
                worker.close()
            _git("worktree", "remove", "--force", str(other))
    if given.pairs < LEAST_PAIRS:
        print(f"not kept: fewer than {LEAST_PAIRS} pairs")
        return
    told = workers[0].told
    machine = Machine(
        given.model, told["device"], told["name"], told["dtype"], torch.get_num_threads()
    )
    values = {
        **{key: asdict(machine)[key] for key in ("device", "model")},
        "stage": "commits",
        "commits": [_git("rev-parse", each) for each in ("HEAD", given.commit)],
        "machine": about(machine),
        "samples": given.samples,
        "stages": table,
    }
    print(f"{write(values, given.out / 'commits')} written")


def _compared(stage: str, workers: list[Checkout], pairs: int) -> dict[str, Any]:
    sides = [
        Side(
            f"{stage}: {name}",
            partial(worker.ask, "do", stage),
            prepare=partial(worker.ask, "prepare", stage),
        )
        for name, worker in zip(("ours", "the other"), workers, strict=True)
    ]
    take_turns(sides, pairs, torch.device("cpu"))
    ours, theirs = (side.result for side in sides)
    if not _equal(ours, theirs):
        raise Unequal(f"{stage}: the results of the two commits differ")
    ratio = spread(speed_ratios(*sides))
    print(f"{stage}: {ratio['median']:.2f}x [{ratio['min']:.2f}, {ratio['max']:.2f}]", flush=True)
    return {"stage": stage, "ratio": ratio, "seconds": [side.seconds for side in sides]}


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, float):
        return abs(one - other) <= _APART * max(1.0, abs(one))
    return bool(one == other)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
