"""Contract checks of executors, with runners that only record their samples."""

from __future__ import annotations

import os
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ttsi.digests import bytes_digest
from ttsi.errors import RunError
from ttsi.protocols import Watcher
from ttsi.testing.checks import Check, Violation, require
from ttsi.testing.fake_benchmark import FakeBenchmark
from ttsi.testing.subject import Subject
from ttsi.types import DECLINED, JSON, Completion, Played, Record, Sample, Step

_ROWS = 23
FAILING = ("fake/3", "fake/17")
FATAL = "fake/20"
_STEPS = 2
"""How many steps each sample has."""


_DIGEST = bytes_digest(b"weights")
_OPEN: set[str] = set()
"""Ids of this process's runners that are neither closed nor abandoned."""


@dataclass(frozen=True)
class CountingFactory:
    """A factory of runners that can be pickled.

    Samples in `failing` end in an error; the sample `fatal` raises RunError.
    """

    failing: tuple[str, ...] = ()
    fatal: str = ""

    def __call__(self, watcher: Watcher | None = None) -> CountingRunner:
        return CountingRunner(self)

    def failed(self, sample: Sample, why: str) -> Record:
        return Record(id=sample.id, digest=sample.digest, seed=0, error=why)


class CountingRunner:
    """A worker's runner; its `close` returns the worker's id and the samples that it ran."""

    def __init__(self, factory: CountingFactory) -> None:
        self._factory = factory
        self._worker = uuid.uuid4().hex
        self._samples: list[str] = []
        self._closed = 0
        _OPEN.add(self._worker)

    def identity(self) -> dict[str, JSON]:
        return {"weights_digest": _DIGEST}

    def run_wave(self, samples: Sequence[Sample]) -> Iterator[Record | Played]:
        for sample in samples:
            if sample.id == self._factory.fatal:
                raise RunError("A run that cannot go on.", where=sample.id, cure="None: a check.")
            yield from (_step(sample, number) for number in range(_STEPS))
            self._samples.append(sample.id)
            if sample.id in self._factory.failing:
                yield self._factory.failed(sample, "told to fail")
            else:
                yield Record(id=sample.id, digest=sample.digest, seed=0)

    def close(self) -> dict[str, JSON]:
        self._closed += 1
        _OPEN.discard(self._worker)
        return {
            "worker": self._worker,
            "samples": list(self._samples),
            "closed": self._closed,
            "weights_digest": _DIGEST,
            "weights_digest_after": _DIGEST,
        }

    def abandon(self) -> None:
        _OPEN.discard(self._worker)


def _step(sample: Sample, number: int) -> Played:
    said = sample.task.said
    step = Step(said, None, (), None, Completion("", DECLINED), False)
    return Played(sample.id, sample.digest, False, number, step, {}, False)


@dataclass
class Run:
    """A run as the executor sees it; it keeps what is admitted and delivered.

    `refusing`: it refuses every worker. `satisfied`: it wants no wave. `stopped_after`: the number
    of records after which it raises KeyboardInterrupt. `places`: processes and threads that
    delivered records.
    """

    refusing: bool = False
    satisfied: bool = False
    stopped_after: int | None = None
    admitted: list[Any] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    made: list[Record | Played] = field(default_factory=list)
    places: set[tuple[int, int]] = field(default_factory=set)
    closed: Any = None

    def admit(self, worker: str, identity: Mapping[str, JSON]) -> None:
        self.admitted.append((worker, identity))
        if self.refusing:
            raise RunError("Another engine than the run's.", where=worker, cure="None: a check.")

    def deliver(self, made: Record | Played) -> None:
        self.made.append(made)
        if isinstance(made, Played):
            return
        self.records.append(made)
        self.places.add((os.getpid(), threading.get_ident()))
        if len(self.records) == self.stopped_after:
            raise KeyboardInterrupt

    def enough(self) -> bool:
        return self.satisfied

    def warn(self, text: str) -> None:
        """Ignore warnings: no check looks at them."""


def _run(
    executor: Any, factory: CountingFactory, run: Run | None = None, *, rows: int = _ROWS
) -> Run:
    """Execute one run; an expected RunError or KeyboardInterrupt ends it."""
    run = run or Run()
    samples = list(FakeBenchmark(rows=_ROWS).samples())[:rows]
    try:
        run.closed = executor.run(factory, samples, run, None)
    except RunError:
        if not (factory.fatal or run.refusing):
            raise
    except KeyboardInterrupt:
        if run.stopped_after is None:
            raise
    return run


def records(executor: Any) -> list[Record]:
    """Return the records that the executor delivers in a run without faults."""
    return _run(executor, CountingFactory()).records


def every_sample_once(subject: Subject) -> None:
    counts = Counter(record.id for record in records(subject.make()))
    wanted = {sample.id for sample in FakeBenchmark(rows=_ROWS).samples()}
    lost = sorted(wanted - set(counts))
    require(not lost, f"no record of {', '.join(lost[:3])} was delivered")
    twice = sorted(name for name, count in counts.items() if count > 1)
    require(not twice, f"more than one record of {', '.join(twice[:3])} was delivered")


def steps_come_before_their_record(subject: Subject) -> None:
    of_sample: dict[str, list[int | None]] = {}
    for made in _run(subject.make(), CountingFactory()).made:
        number = made.number if isinstance(made, Played) else None
        of_sample.setdefault(made.id, []).append(number)
    wrong = [name for name, some in of_sample.items() if some != [*range(_STEPS), None]]
    told = f"not every step of {', '.join(wrong[:3])} was delivered once, before the record"
    require(not wrong, told)


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
    except Exception as error:  # an error of any other type breaks the contract
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


def others_are_not_admitted(subject: Subject) -> None:
    run = _run(subject.make(), CountingFactory())
    told = f"admit() was told of {run.admitted!r:.200}, not of a worker and its engine's identity"
    sound = all(
        isinstance(worker, str) and worker and identity == {"weights_digest": _DIGEST}
        for worker, identity in run.admitted
    )
    require(sound and run.admitted, told)
    refused = _run(subject.make(), CountingFactory(), Run(refusing=True))
    require(not refused.records, "a worker that was not admitted delivered records")
    require(refused.closed is None, "that no worker was admitted did not end the run")


def without_samples_an_engine_is_proven(subject: Subject) -> None:
    run = _run(subject.make(), CountingFactory(), rows=0)
    told = f"without samples, run() returned {run.closed!r:.200}, not what one worker's close did"
    sound = isinstance(run.closed, list) and run.closed and all("worker" in c for c in run.closed)
    require(sound, told)


def enough_is_enough(subject: Subject) -> None:
    run = _run(subject.make(), CountingFactory(), Run(satisfied=True))
    told = f"{len(run.records)} samples were run although the session had said that it is enough"
    require(not run.records, told)
    told = f"it returned {run.closed!r:.200} then, not what one worker's close did"
    require(isinstance(run.closed, list) and run.closed, told)


def nothing_stays_open(subject: Subject) -> None:
    _OPEN.clear()
    for what, factory, run in (
        ("a fatal error", CountingFactory(fatal=FATAL), Run()),
        ("a refusal", CountingFactory(), Run(refusing=True)),
        ("Ctrl-C", CountingFactory(), Run(stopped_after=5)),
    ):
        _run(subject.make(), factory, run)
        require(not _OPEN, f"after {what} a runner was neither closed nor abandoned")


CHECKS = (
    Check(
        "once", "Every sample is run, and its record delivered, exactly once.", every_sample_once
    ),
    Check(
        "steps",
        "What was played of an episode is kept, for a run that is stopped before its record.",
        steps_come_before_their_record,
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
    Check(
        "admission",
        "A worker with another engine than the run's would mix two runs in one.",
        others_are_not_admitted,
    ),
    Check(
        "nothing",
        "Records may all be there and no proof of the engine: a run without samples makes it.",
        without_samples_an_engine_is_proven,
    ),
    Check(
        "enough",
        "A run that has spent what its spec allows begins no further wave, and ends soundly.",
        enough_is_enough,
    ),
    Check(
        "open",
        "A model that nobody closes keeps its memory, and its processes.",
        nothing_stays_open,
    ),
)
