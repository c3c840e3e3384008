"""What a record costs the process that journals it: with workers on Ray, and in one process.

The workers answer at once with made-up records of a real one's size, so that only the driver takes
time. Four ways take turns: `ray` as a run uses it, `ray, not kept` without the journal, `local`,
and `journal`, which only writes the records to the disk. Beside the wall clock, the CPU time of
this process is measured, which other processes on the machine hardly affect.

    python -m perf.driver
    python -m perf.driver --workers 4 --folder /mnt/runs --beside "an idle machine"

Give it the disk that runs will use. On two idle CPU cores it takes a minute or two.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import quantiles
from typing import Any

from perf.result import LEAST_PAIRS, RESULTS, Machine, about, versions, write
from ttsi.answers.calls.values import ToolCall, answer_with
from ttsi.errors import EngineError
from ttsi.protocols import Watcher
from ttsi.records.journal import Journal
from ttsi.records.lines import to_line
from ttsi.records.provenance import environment
from ttsi.types import (
    JSON,
    Completion,
    Estimate,
    Example,
    Record,
    Sample,
    Score,
    StageCost,
    Task,
    Tool,
)

Deliver = Callable[[Record], None]

_CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_TOOLS = tuple(Tool(f"get_weather_of_{n}", "The weather in a city, now.", _CITY) for n in range(5))
_CALL = ToolCall("get_weather_of_1", {"city": "Reykjavík"})
_ANSWER = Completion('[{"name": "get_weather_of_1"}]' * 2, answer_with([_CALL]), 740, 24, -9.25)


@dataclass(frozen=True)
class Answers:
    """A runner factory whose workers have a ready record for every sample."""

    size: int

    def __call__(self, watcher: Watcher | None = None) -> Answers:
        return self

    def identity(self) -> dict[str, JSON]:
        return {}

    def run_wave(self, samples: Sequence[Sample]) -> Iterator[Record]:
        for sample in samples:
            yield record_of(sample.id, self.size)

    def close(self) -> dict[str, JSON]:
        return {}

    def abandon(self) -> None: ...

    def failed(self, sample: Sample, why: str) -> Record:
        raise EngineError(f"{sample.id}: {why}")


@dataclass(frozen=True)
class Kept:
    """A session that takes records and does not check the workers."""

    deliver: Deliver

    def admit(self, worker: str, identity: Mapping[str, JSON]) -> None: ...

    def enough(self) -> bool:
        return False

    def warn(self, text: str) -> None:
        print(text)


@dataclass
class Way:
    """One way to take records from workers."""

    name: str
    executor: Any
    kept: bool = True
    turns: list[Turn] = field(default_factory=list)


@dataclass(frozen=True)
class Turn:
    """Milliseconds a record: by the wall clock, of this process's CPU time, and of disk waits.

    `disk` is the lower quartile over the records, since other processes delay the rest.
    """

    wall: float
    computing: float
    disk: float


def main() -> None:
    from ttsi_plugins.executors.ray_cluster import cluster

    given = arguments()
    samples = [sample_of(number) for number in range(given.samples)]
    ways = ways_of(given)
    before = os.getloadavg()[0]
    with cluster(None):
        for number in range(given.pairs + 1):
            for way in ways:
                turn = measure(way, samples, given)
                if number:  # the first is a warm-up
                    way.turns.append(turn)
                    print(
                        f"  {number}/{given.pairs}  {way.name:<14} {turn.wall:8.3f} ms a record, "
                        f"{turn.computing:.3f} computing, {turn.disk:.3f} for the disk",
                        flush=True,
                    )
    if given.pairs < LEAST_PAIRS:
        print(f"not kept: fewer than {LEAST_PAIRS} turns")
        return
    print(write(values(given, ways, before), given.out), "written")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--samples", type=int, default=1000, help="records a run (default: 1000)")
    add("--size", type=int, default=3800, help="bytes of a record (default: 3800)")
    add("--workers", type=int, default=2, help="workers on Ray (default: 2)")
    add("--wave", type=int, default=32, help="samples handed out together (default: 32)")
    add("--pairs", type=int, default=5, help=f"turns; under {LEAST_PAIRS} nothing is kept")
    add("--folder", type=Path, help="where journals are written (default: here)", default=Path())
    add("--beside", default="", metavar="TEXT", help="what else the machine was doing")
    add("--out", type=Path, default=RESULTS, help="folder of results (default: perf/results)")
    return parser.parse_args()


def ways_of(given: argparse.Namespace) -> list[Way]:
    from ttsi_plugins.executors.local import Local
    from ttsi_plugins.executors.ray import Ray

    ray = Ray(workers=given.workers, wave=given.wave, num_cpus=0)
    return [
        Way("ray", ray),
        Way("ray, not kept", ray, kept=False),
        Way("local", Local(wave=given.wave)),
        Way("journal", None),
    ]


def measure(way: Way, samples: Sequence[Sample], given: argparse.Namespace) -> Turn:
    """Measure a run without its first record: until that arrives, workers are started."""
    arrivals: list[tuple[float, float]] = []
    waits = []
    folder = Path(tempfile.mkdtemp(prefix=".driver-", dir=given.folder))
    try:
        with Journal(folder) as journal:

            def deliver(record: Record) -> None:
                before = clocks()
                if way.kept:
                    journal.append(record)
                after = clocks()
                waits.append(after[0] - before[0] - (after[1] - before[1]))
                arrivals.append(after)

            answers = Answers(given.size)
            if way.executor is None:
                for record in list(answers.run_wave(samples)):
                    deliver(record)
            else:
                way.executor.run(answers, samples, Kept(deliver))
    finally:
        shutil.rmtree(folder)
    if len(arrivals) != len(samples):
        raise EngineError(f"{len(arrivals)} records of {len(samples)} samples arrived.")
    spent = zip(arrivals[0], arrivals[-1], strict=True)
    wall, computing = (1000 * (end - start) / (len(samples) - 1) for start, end in spent)
    return Turn(wall, computing, 1000 * max(0.0, quantiles(waits, n=4)[0]))


def clocks() -> tuple[float, float]:
    """Return the seconds of the wall clock, and of this process's CPU time in all threads."""
    return time.perf_counter(), time.process_time()


def values(given: argparse.Namespace, ways: Sequence[Way], before: float) -> dict[str, JSON]:
    """Return what is kept; `load` is the load average over a minute, before and after."""
    machine = Machine("records", "cpu", str(environment({})["processor"]), "none", 1)
    return {
        "stage": "driver",
        "device": machine.device,
        "model": machine.model,
        "samples": given.samples,
        "workers": given.workers,
        "wave": given.wave,
        "record_bytes": len(to_line(record_of("rows/0", given.size))) + 1,
        "milliseconds_a_record": {way.name: [asdict(turn) for turn in way.turns] for way in ways},
        "load": [before, os.getloadavg()[0]],
        "beside": given.beside,
        "machine": about(machine),
        "versions": {**versions(), "ray": _ray_version()},
    }


def sample_of(number: int) -> Sample:
    """Return a sample with a prompt of some 700 tokens, which a chunk ships for each sample."""
    instruction = "\n".join(f"{tool.name}: {tool.description}" * 8 for tool in _TOOLS)
    task = Task(f"rows/{number}", _TOOLS, instruction, f"Is it raining in City{number}?")
    return Sample(task, answer_with([_CALL]))


def record_of(name: str, size: int) -> Record:
    """Return an adapted sample's record of about `size` bytes of JSON, if that is enough for it."""
    task = Task(f"{name}#0", (), "", "Will it snow in Tromsø on Friday?")
    made = Record(
        id=name,
        digest="sha256:" + 64 * "0",
        seed=0,
        estimate=Estimate(0.4, True, {tool.name: -1.5 * n for n, tool in enumerate(_TOOLS)}),
        examples=(Example(task, answer_with([_CALL]), "", 1),),
        receipt={"kind": "lora", "digest": "sha256:" + 64 * "0", "losses": [1.25, 1.25, 1.125]},
        base=_ANSWER,
        base_score=Score(True),
        final=_ANSWER,
        final_score=Score(True),
        adapted=True,
        costs={stage: StageCost(0.5, 740.0, 24.0) for stage in ("estimate", "answer", "learn")},
    )
    # Filled with many short keys, like an adapter's config in a real record.
    missing = max(0, size - len(to_line(made)))
    config = {f"option_{number:04}": None for number in range(missing // 20)}
    return replace(made, receipt={**(made.receipt or {}), "config": config})


def _ray_version() -> str:
    from importlib.metadata import version

    return version("ray")


if __name__ == "__main__":
    main()
