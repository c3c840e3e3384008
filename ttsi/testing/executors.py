"""What an executor is held to, with runners that only count."""

from __future__ import annotations

import os
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ttsi.errors import RunError
from ttsi.protocols import Watcher
from ttsi.testing.checks import Check, Violation, require
from ttsi.testing.fake_benchmark import FakeBenchmark
from ttsi.testing.subject import Subject
from ttsi.types import JSON, Record, Sample

_ROWS = 23
FAILING = ("fake/3", "fake/17")
FATAL = "fake/20"


@dataclass(frozen=True)
class CountingFactory:
    """Makes runners; can be pickled. `failing` samples end as errors, `fatal` ends the run."""

    failing: tuple[str, ...] = ()
    fatal: str = ""

    def __call__(self, watcher: Watcher | None = None) -> CountingRunner:
        return CountingRunner(self)

    def failed(self, sample: Sample, why: str) -> Record:
        return Record(id=sample.id, digest=sample.digest, seed=0, error=why)


class CountingRunner:
    """A worker's runner whose `close` tells who it was and which samples it had."""

    def __init__(self, factory: CountingFactory) -> None:
        self._factory = factory
        self._worker = uuid.uuid4().hex
        self._samples: list[str] = []
        self._closed = 0

    def run_wave(self, samples: Sequence[Sample]) -> Iterator[Record]:
        for sample in samples:
            if sample.id == self._factory.fatal:
                raise RunError("A run that cannot go on.", where=sample.id, cure="None: a check.")
            self._samples.append(sample.id)
            if sample.id in self._factory.failing:
                yield self._factory.failed(sample, "told to fail")
            else:
                yield Record(id=sample.id, digest=sample.digest, seed=0)

    def close(self) -> dict[str, JSON]:
        self._closed += 1
        return {"worker": self._worker, "samples": list(self._samples), "closed": self._closed}


@dataclass
class Run:
    """What a run delivered, and how."""

    records: list[Record]
    places: set[tuple[int, int]]
    closed: Any = None


def _run(executor: Any, factory: CountingFactory) -> Run:
    run = Run([], set())

    def deliver(record: Record) -> None:
        run.records.append(record)
        run.places.add((os.getpid(), threading.get_ident()))

    try:
        run.closed = executor.run(factory, FakeBenchmark(rows=_ROWS).samples(), run, None)
    except RunError:
        if not factory.fatal:
            raise
    return run


def records(executor: Any) -> list[Record]:
    """Of an executor: all that a run without faults delivers."""
    return _run(executor, CountingFactory()).records


def every_sample_once(subject: Subject) -> None:
    counts = Counter(record.id for record in records(subject.make()))
    wanted = {sample.id for sample in FakeBenchmark(rows=_ROWS).samples()}
    lost = sorted(wanted - set(counts))
    require(not lost, f"no record of {', '.join(lost[:3])} was delivered")
    twice = sorted(name for name, count in counts.items() if count > 1)
    require(not twice, f"more than one record of {', '.join(twice[:3])} was delivered")


def delivery_is_here(subject: Subject) -> None:
    run = _run(subject.make(), CountingFactory())
    here = (os.getpid(), threading.get_ident())
    told = "records were delivered in another process or thread than run() was called in"
    require(run.places == {here}, told)


def failures_stay_alone(subject: Subject) -> None:
    run = _run(subject.make(), CountingFactory(failing=FAILING))
    others = {record.id for record in records(subject.make())}
    lost = sorted(others - {record.id for record in run.records})
    told = f"when {' and '.join(FAILING)} failed, no record of {', '.join(lost[:3])} was delivered"
    require(not lost, told)
    failed = {record.id for record in run.records if record.error}
    told = f"{sorted(FAILING)} failed, and delivered as failed were {sorted(failed)}"
    require(failed == set(FAILING), told)


def fatal_errors_end_the_run(subject: Subject) -> None:
    try:
        run = _run(subject.make(), CountingFactory(fatal=FATAL))
    except Exception as error:  # any other type is the fault looked for
        told = f"{type(error).__name__}: {error}"
        raise Violation(f"a runner's RunError came out as {told}") from error
    require(run.closed is None, "a runner's RunError did not end the run")


def workers_are_closed(subject: Subject) -> None:
    closed = _run(subject.make(), CountingFactory()).closed
    told = f"run() returned {closed!r:.200}, not a list of what each worker's close() returned"
    sound = isinstance(closed, list) and all(isinstance(each, dict) for each in closed)
    require(sound and closed and all("worker" in each for each in closed), told)
    workers = [each["worker"] for each in closed]
    once = len(set(workers)) == len(workers) and all(each["closed"] == 1 for each in closed)
    require(once, "a worker was closed twice, or told of twice")
    had = Counter(name for each in closed for name in each["samples"])
    wanted = {sample.id for sample in FakeBenchmark(rows=_ROWS).samples()}
    lost = sorted(wanted - set(had))
    require(not lost, f"no worker that was closed had {', '.join(lost[:3])}")


CHECKS = (
    Check(
        "once", "Every sample is run, and its record delivered, exactly once.", every_sample_once
    ),
    Check(
        "delivery",
        "The journal is this process's own: records are delivered where run() was called.",
        delivery_is_here,
    ),
    Check(
        "failures",
        "A sample that fails costs itself alone; its record says so.",
        failures_stay_alone,
    ),
    Check(
        "fatal",
        "An error that is no sample's ends the run as it is: going on would waste it.",
        fatal_errors_end_the_run,
    ),
    Check(
        "workers",
        "What each worker's close returned proves that its base weights were reset.",
        workers_are_closed,
    ),
)
