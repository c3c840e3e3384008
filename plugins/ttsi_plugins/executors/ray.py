"""Waves on the workers of a Ray cluster, each with a model and the whole pipeline of its own.

This process hands out chunks of samples, a wave each, gets every record back as soon as its sample
is finished, and writes the journal. When a worker dies, those samples of its chunk that were not
finished are handed out again. The waves are those of `local`, and so are the results.
"""

from __future__ import annotations

import importlib.util
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ttsi import (
    JSON,
    DeviceLost,
    MissingAsset,
    Played,
    RunError,
    RunnerFactory,
    Sample,
    Session,
    Watcher,
    option,
)
from ttsi._common import console
from ttsi_plugins.executors.ray_cluster import cluster, in_short, machine_for_one, room
from ttsi_plugins.executors.ray_worker import BEAT, Actor, Board


@dataclass(frozen=True)
class Ray:
    """Waves on several workers: the GPUs of a machine, or of a cluster of Ray.

    Each worker has one wave at a time, and any may get any wave.
    """

    workers: int = option(1, "How many workers, each with a model of its own.", minimum=1)
    wave: int = option(16, "How many samples pass the stages together on a worker.", minimum=1)
    address: Literal["auto"] | None = option(
        None,
        "auto: the cluster of this machine. null: that at RAY_ADDRESS, or else one on this machine "
        "for as long as the run takes. A spec may name no other address: whoever runs it decides "
        "where its code goes.",
    )
    num_cpus: float = option(
        1, "CPU cores that a worker asks for; on a CPU also its threads.", minimum=0
    )
    num_gpus: float = option(
        0, "GPUs that a worker asks for: one, or a share of one.", minimum=0, maximum=1
    )
    retries: int = option(
        2,
        "How often a sample is handed out again after its worker died. After that it counts as an "
        "error, and the run goes on.",
        minimum=0,
    )

    def run(
        self,
        factory: RunnerFactory,
        samples: Sequence[Sample],
        session: Session,
        watcher: Watcher | None = None,
    ) -> list[dict[str, JSON]]:
        """Run all samples and return the workers' reports.

        Raises MissingAsset without ray, RunError if there is no room for a worker or none starts.
        """
        if importlib.util.find_spec("ray") is None:
            what = "The executor ray needs the package ray, which is not installed."
            raise MissingAsset(what, where="executor", cure="pip install 'ttsi[ray]'")
        chunks = [list(samples[at : at + self.wave]) for at in range(0, len(samples), self.wave)]
        with cluster(self.address):
            return _Driver(self, factory, session, watcher).run(chunks)


@dataclass
class _Chunk:
    """Samples that are handed out together, and how many workers have died while running them."""

    samples: list[Sample]
    deaths: int = 0


@dataclass
class _Worker:
    """An actor, and what is awaited from it: the loading of its model, or records of its chunk."""

    number: int
    actor: Any
    machine: Any
    awaited: Any
    loaded: bool = False
    chunk: _Chunk | None = None

    @property
    def name(self) -> str:
        return f"worker {self.number}"


@dataclass
class _Driver:
    """The state of one run: waiting chunks, workers, and machines that get no more workers.

    `load_failures` counts, by machine, the workers that died while loading since its last record.
    """

    executor: Ray
    factory: RunnerFactory
    session: Session
    watcher: Watcher | None
    waiting: deque[_Chunk] = field(default_factory=deque)
    workers: list[_Worker] = field(default_factory=list)
    load_failures: Counter[str] = field(default_factory=Counter)
    bad: set[str] = field(default_factory=set)
    shipped: Any = None
    board: Any = None
    told: float = 0.0

    def run(self, chunks: Sequence[list[Sample]]) -> list[dict[str, JSON]]:
        import ray

        possible = self._room()
        if possible < self.executor.workers:
            console.note(f"the cluster has room for {possible} of {self.executor.workers} workers")
        self.waiting.extend(_Chunk(samples) for samples in chunks)
        self.shipped = ray.put(self.factory)
        if self.watcher is not None:
            self.board = ray.remote(Board).options(num_cpus=0).remote()
        try:
            # Even without a sample one worker starts, to check that its model loads.
            for number in range(min(possible, len(chunks)) or 1):
                self._start(number)
            while self._hand_out() or not any(worker.loaded for worker in self.workers):
                self._receive()
                self._tell()
            return self._close()
        finally:
            for worker in self.workers:
                ray.kill(worker.actor)

    def _room(self) -> int:
        wanted = self.executor
        return room(wanted.workers, wanted.num_cpus, wanted.num_gpus)

    def _start(self, number: int, machine: str | None = None) -> None:
        """Start a worker on `machine`, or where Ray finds room."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        wanted, remote = self.executor, ray.remote(Actor)
        where = NodeAffinitySchedulingStrategy(machine, soft=False) if machine else "DEFAULT"
        options = remote.options(
            num_cpus=wanted.num_cpus, num_gpus=wanted.num_gpus, scheduling_strategy=where
        )
        actor = options.remote(self.shipped, self.board)
        machine_id = actor.machine.remote()
        self.workers.append(_Worker(number, actor, machine_id, actor.load.remote()))

    def _hand_out(self) -> bool:
        """Give each idle worker a chunk; return whether any sample is not finished.

        A worker that still waits for its resources or its model does not hold up the others.
        """
        if self.session.enough():
            self.waiting.clear()
        for worker in self.workers:
            if worker.awaited is None and self.waiting:
                worker.chunk = self.waiting.popleft()
                worker.awaited = worker.actor.run_wave.remote(worker.chunk.samples)
                self._plan(worker, len(worker.chunk.samples))
        return bool(self.waiting) or any(worker.chunk for worker in self.workers)

    def _receive(self) -> None:
        """Wait at most BEAT seconds for results of the workers, and take all that there are."""
        import ray

        if not any(worker.loaded for worker in self.workers):
            self._room()  # raises if the machines have gone
        busy = {worker.awaited: worker for worker in self.workers if worker.awaited is not None}
        ready, rest = ray.wait(list(busy), timeout=BEAT)
        if ready and rest:
            ready += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        for awaited in ready:
            worker = busy[awaited]
            try:
                self._take(worker)
            except ray.exceptions.RayError as error:
                self._replace_dead(worker, error)
            except DeviceLost as error:
                self._take_back(worker)
                self._give_up(worker, error)
            except Exception as error:
                if worker.loaded:
                    raise
                # This machine lacks something that others may have: a package, a model, memory.
                self._give_up(worker, error)

    def _take(self, worker: _Worker) -> None:
        """Take a worker's result: its identity, something of its chunk, or the chunk's end."""
        if worker.chunk is None:
            self.session.admit(worker.name, _get(worker.awaited))
            worker.loaded, worker.awaited = True, None
            return
        reference = next(worker.awaited, None)
        if reference is None:
            worker.chunk = worker.awaited = None
            return
        made = _get(reference)
        self.load_failures.pop(_machine(worker), None)
        if isinstance(made, Played):
            self.session.deliver(made)
            return
        left = [sample for sample in worker.chunk.samples if sample.id != made.id]
        worker.chunk.samples = left
        self.session.deliver(made)
        if self.watcher is not None:
            self.watcher.advance(worker.name, 1)

    def _replace_dead(self, worker: _Worker, error: Exception) -> None:
        """Hand out again what a dead worker had not finished, and start another in its place.

        A machine on which too many workers died while loading is given up.
        """
        machine = _machine(worker)
        if worker.chunk is not None:
            self._plan(worker, -len(worker.chunk.samples))
            self._hand_out_again(worker.chunk, in_short(error))
        else:
            self.load_failures[machine] += 1
        if _cannot_be_made(error) or self.load_failures[machine] > self.executor.retries:
            self._give_up(worker, error)
            return
        self._end(worker)
        console.note(f"{worker.name} died: {in_short(error)}")
        if self.waiting or not any(each.loaded for each in self.workers):
            self._start(worker.number, self._elsewhere() if self.bad else None)

    def _take_back(self, worker: _Worker) -> None:
        """Queue what the worker had not finished; a lost device does not count against samples."""
        if worker.chunk is not None:
            self._plan(worker, -len(worker.chunk.samples))
            self.waiting.appendleft(worker.chunk)

    def _give_up(self, worker: _Worker, error: Exception) -> None:
        """Start no more workers on this one's machine, and one on another if there is room.

        Raises the worker's error if no worker is left.
        """
        machine = _machine(worker)
        self._end(worker)
        self.bad.add(machine)
        # Without a machine, Ray could not make the worker anywhere: it is not tried again.
        instead = self._elsewhere() if machine else None
        if instead is None and not self.workers:
            raise _told(error, self.load_failures[machine]) from error
        self.session.warn(f"{worker.name} was given up: {in_short(error)}")
        if instead is not None:
            self._start(worker.number, instead)

    def _elsewhere(self) -> str | None:
        """Return a machine with room for one more worker that is not given up, or None."""
        wanted = self.executor
        taken = Counter(_machine(each) for each in self.workers)
        return machine_for_one(wanted.num_cpus, wanted.num_gpus, taken, self.bad)

    def _end(self, worker: _Worker) -> None:
        import ray

        ray.kill(worker.actor)
        self.workers.remove(worker)

    def _hand_out_again(self, chunk: _Chunk, why: str) -> None:
        """Queue a chunk again, or deliver its samples as failed after too many deaths.

        The last time they are queued one by one, so that a sample that kills its worker does not
        fail others.
        """
        deaths, retries = chunk.deaths + 1, self.executor.retries
        if deaths > retries:
            for sample in chunk.samples:
                text = f"its worker died, {deaths} times in all: {why}"
                self.session.deliver(self.factory.failed(sample, text))
            return
        alone = deaths == retries
        again = [[sample] for sample in chunk.samples] if alone else [chunk.samples]
        self.waiting.extendleft(_Chunk(samples, deaths) for samples in reversed(again) if samples)

    def _close(self) -> list[dict[str, JSON]]:
        """Close the workers and return their reports; a worker that has died gives a warning."""
        import ray

        loaded = [worker for worker in self.workers if worker.loaded]
        closing = [(worker, worker.actor.close.remote()) for worker in loaded]
        said: list[dict[str, JSON]] = []
        for worker, awaited in closing:
            try:
                said.append({**_get(awaited), "worker": worker.number})
            except ray.exceptions.RayError as error:
                self.session.warn(f"{worker.name} died at its end: {in_short(error)}")
        self._tell(at_once=True)
        return said

    def _plan(self, worker: _Worker, count: int) -> None:
        if self.watcher is not None:
            self.watcher.plan(worker.name, count)

    def _tell(self, at_once: bool = False) -> None:
        """Pass the workers' progress on to the watcher, at most once in BEAT seconds."""
        import ray

        if self.board is None or not (at_once or time.monotonic() - self.told > BEAT):
            return
        self.told = time.monotonic()
        try:
            news = ray.get(self.board.take.remote())
        except ray.exceptions.RayError:
            # The board's machine has gone, and progress with it; the run can do without.
            self.board = None
            return
        for (name, stage), count in news:
            getattr(self.watcher, name)(stage, count)


def _get(awaited: Any) -> Any:
    """Return what is awaited; raise a worker's error as it would be raised in one process."""
    import ray

    try:
        return ray.get(awaited)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error


def _machine(worker: _Worker) -> str:
    """Return Ray's id of the worker's machine; "" if it never got one."""
    import ray

    try:
        return str(ray.get(worker.machine, timeout=0))
    except ray.exceptions.RayError:
        return ""


def _told(error: Exception, times: int) -> Exception:
    """Return why no worker is left; Ray's own errors become RunError."""
    import ray

    if not isinstance(error, ray.exceptions.RayError):
        return error
    if _cannot_be_made(error):
        return RunError(
            "Ray cannot make a worker.",
            where=in_short(error),
            cure="Every machine of the cluster needs the same Python, Ray, ttsi and plugins.",
        )
    return RunError(
        f"A worker died before its model was loaded, {times} times.",
        where=in_short(error),
        cure="Most often memory ran out: take fewer workers a machine, or a smaller model.",
    )


def _cannot_be_made(error: Exception) -> bool:
    """Return whether the worker did not die, but could not be made for lack of something."""
    from ray import exceptions

    missing = exceptions.RuntimeEnvSetupError | exceptions.ActorUnschedulableError
    return isinstance(error, missing) or getattr(error, "actor_init_failed", False)
