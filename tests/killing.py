"""Kill runs with -9 at random moments, and resume them with the same command.

This is a separate program, `python tests/killing.py TRIALS SEED`, because it forks: a fork needs no
imports, so that hundreds of runs take a minute. It prints, as JSON, the progress of the killed
runs. It raises if a record was lost, doubled or changed, a proof is missing, or a file was left
behind.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import ttsi
from ttsi.records import provenance

ROWS = 6
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"budget": 0.5},
    {"seeds": [0, 1]},
    {"benchmark": "ttsi-fakes/journeys", "estimator": "always"},
    {
        "benchmark": "ttsi-fakes/journeys",
        "episodes": {"keep": "turn", "most_steps": 3},
        "executor": {"name": "local", "wave": 1},
    },
)


def spec(**changed: Any) -> dict[str, Any]:
    return {
        "name": "killed",
        "model": {"id": "scripted"},
        "engine": {"name": "ttsi-fakes/scripted", "delay": 0.002},
        "benchmark": {"name": "ttsi-fakes/rows", "rows": ROWS},
        "estimator": {"name": "rss_margin", "threshold": 0.5},
        "inference": {"name": "direct", "decoding": "greedy"},
        "executor": {"name": "local", "wave": 2},
    } | changed


def start(document: Mapping[str, Any], out: Path) -> int:
    """Start a process that runs `document` in `out`, and return its id."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            ttsi.evaluate(document, out=out)
            code = 0
        finally:
            os._exit(code)
    return process


def finish(document: Mapping[str, Any], out: Path) -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(start(document, out), 0)[1]) == 0


def kill_after(seconds: float, document: Mapping[str, Any], out: Path) -> bool:
    """Whether the run was killed before it ended."""
    process = start(document, out)
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


def seeds_in(out: Path) -> list[Path]:
    return sorted(out.glob("*/seed-*"))


def records(seed: Path, name: str = "samples.jsonl") -> list[dict[str, Any]]:
    """Return the whole lines, without durations."""
    path = seed / name
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [{**json.loads(line), "costs": None} for line in lines]


def results(seed: Path) -> dict[str, Any]:
    """Return results.json without times and process ids."""
    found = json.loads((seed / "results.json").read_text())
    for engine in found["engines"]:
        assert engine["weights_digest"] == engine["weights_digest_after"]
        del engine["pid"]
    return {**found, "finished": None, "stages": None, "engines": found["engines"][-1:]}


def state(out: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def trial(document: Mapping[str, Any], whole: Path, draw: random.Random, lasts: float) -> str:
    """Kill one run, once or several times, and finish it; return the progress when killed."""
    out = Path(tempfile.mkdtemp(prefix="killed-"))
    late = draw.random() < 0.5
    killed = kill_after(lasts * draw.uniform(0.7 if late else 0, 1.05), document, out)
    while draw.random() < 0.3:
        kill_after(lasts * draw.uniform(0, 1), document, out)
    before = {seed.name: records(seed) for seed in seeds_in(out)}
    proofs = [len(_proofs(seed)) for seed in seeds_in(out)]
    halves = list(out.rglob("*.part"))
    steps = list(out.rglob("steps.jsonl"))
    finish(document, out)
    for seed, like in zip(seeds_in(out), seeds_in(whole), strict=True):
        assert records(seed) == records(like), seed
        assert all(record in records(seed) for record in before.get(seed.name, [])), seed
        assert results(seed) == results(like), seed
        assert _proofs(seed), seed
        assert json.loads((seed / "results.json").read_text())["engines"] == _proofs(seed)
    assert not [*out.rglob("*.part"), *out.rglob("steps.jsonl")]
    after = state(out)
    finish(document, out)
    assert state(out) == after, "a complete run was changed"
    count = sum(len(each) for each in before.values())
    shutil.rmtree(out)
    if not killed:
        return "ended before"
    told = ["nothing" if not count else "some records"]
    if count == ROWS * len(document.get("seeds", [0])):
        told = ["all records", "no proof" if not all(proofs) else "proof"]
    told += ["steps"] if steps else []
    return ", ".join([*told, *(["half a file"] if halves else [])])


def _proofs(seed: Path) -> list[Any]:
    path = seed / "sessions.json"
    sessions = json.loads(path.read_text())["sessions"] if path.exists() else []
    return list(sessions[-1]["engines"] or []) if sessions else []


def main(trials: int, seed: int) -> None:
    # Skip git, which takes longer than a run; and import everything before the first fork.
    provenance.commit = lambda: None
    with tempfile.TemporaryDirectory() as first:
        ttsi.evaluate(spec(), out=first)
    draw, found = random.Random(seed), Counter[str]()
    whole: list[tuple[Path, float]] = []
    for number in range(trials):
        document = spec(**VARIANTS[number % len(VARIANTS)])
        if number < len(VARIANTS):
            out, begun = Path(tempfile.mkdtemp(prefix="whole-")), time.perf_counter()
            finish(document, out)
            whole.append((out, time.perf_counter() - begun))
        like, lasts = whole[number % len(VARIANTS)]
        found[trial(document, like, draw, lasts)] += 1
    for out, _ in whole:
        shutil.rmtree(out)
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
