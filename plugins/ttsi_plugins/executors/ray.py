"""Waves on the workers of a Ray cluster, each with a model and the whole pipeline of its own.

This process hands out chunks of samples, a wave each, and gets every record back as soon as its
sample is finished; the journal is here. The chunk of a worker that dies is handed out again without
what had arrived. The waves are those of `local`, and so are the results.
"""

from __future__ import annotations

import importlib.util
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ttsi import console
from ttsi.errors import MissingAsset, RunError
from ttsi.options import option
from ttsi.protocols import RunnerFactory, Watcher, WaveRunner
from ttsi.types import JSON, Record, Sample

# Told to the workers' processes, wherever they are.
_SHIPPED = ("TTSI_", "HF_", "OMP_")
_PATIENCE = 0.5


@dataclass(frozen=True)
class Ray:
    """As many waves are under way at once as there are workers, whichever has which."""

    workers: int = option(1, "How many workers, each with a model of its own.", minimum=1)
    wave: int = option(16, "How many samples pass the stages together on a worker.", minimum=1)
    address: str | None = option(
        None,
        "Where a cluster is: auto, HOST:PORT or ray://HOST:PORT. null: RAY_ADDRESS, or else a "
        "cluster on this machine for as long as the run takes.",
    )
    num_cpus: float = option(1, "CPU cores that a worker asks the cluster for.", minimum=0)
    num_gpus: float = option(0, "GPUs that a worker asks for; a share is one, too.", minimum=0)
    retries: int = option(
        2,
        "How often a sample may be handed out again after its worker died; after that it has "
        "failed, and the run goes on.",
        minimum=0,
    )

    def run(
        self,
        factory: RunnerFactory,
        samples: Sequence[Sample],
        deliver: Callable[[Record], None],
        watcher: Watcher | None = None,
    ) -> list[dict[str, JSON]]:
        """Raises MissingAsset without ray, RunError where no worker can be had or made."""
        if importlib.util.find_spec("ray") is None:
            what = "The executor ray needs the package ray, which is not installed."
            raise MissingAsset(what, where="executor", cure="pip install 'ttsi[ray]'")
        chunks = [samples[at : at + self.wave] for at in range(0, len(samples), self.wave)]
        with _cluster(self):
            return _Driver(self, factory, deliver, watcher).run(chunks)


@dataclass
class _Chunk:
    """Samples that are handed out together, and how many workers died of them before."""

    samples: list[Sample]
    deaths: int = 0


@dataclass
class _Worker:
    """An actor, what it is at, and where its records come from; idle without a chunk."""

    number: int
    actor: Any
    chunk: _Chunk | None = None
    records: Any = None


@dataclass
class _Driver:
    """One run: what waits, who works, and what was delivered."""

    executor: Ray
    factory: RunnerFactory
    deliver: Callable[[Record], None]
    watcher: Watcher | None
    waiting: deque[_Chunk] = field(default_factory=deque)
    workers: list[_Worker] = field(default_factory=list)
    board: Any = None

    def run(self, chunks: Sequence[Sequence[Sample]]) -> list[dict[str, JSON]]:
        import ray

        self.waiting.extend(_Chunk(list(chunk)) for chunk in chunks)
        self.board = ray.remote(_Board).options(num_cpus=0).remote() if self.watcher else None
        for number in range(min(_room(self.executor), len(self.waiting))):
            self.workers.append(_Worker(number, self._actor(number)))
        while self._hand_out():
            busy = {worker.records: worker for worker in self.workers if worker.chunk}
            ready, _ = ray.wait(list(busy), timeout=_PATIENCE)
            for records in ready:
                self._receive(busy[records])
            self._tell()
        closed = [self._closed(worker) for worker in self.workers]
        return [about for about in closed if about is not None]

    def _hand_out(self) -> bool:
        """Idle workers get a chunk each; whether anybody is at work."""
        for worker in self.workers:
            if worker.chunk is None and self.waiting:
                worker.chunk = self.waiting.popleft()
                self._plan(worker)
                worker.records = worker.actor.run_wave.remote(worker.chunk.samples)
        return any(worker.chunk for worker in self.workers)

    def _receive(self, worker: _Worker) -> None:
        """The worker's next record, its chunk's end, or its death."""
        import ray

        assert worker.chunk is not None
        try:
            record = ray.get(next(worker.records))
        except StopIteration:
            self._requeue(worker.chunk)
            worker.chunk = None
        except ray.exceptions.RayActorError as error:
            self._bury(worker, error)
        except ray.exceptions.RayTaskError as error:
            # What is not a sample's fault ends the run, as it does in one process.
            raise error.cause if isinstance(error.cause, Exception) else error from None
        else:
            left = [sample for sample in worker.chunk.samples if sample.id != record.id]
            worker.chunk.samples = left
            self.deliver(record)
            if self.watcher is not None:
                self.watcher.advance(_label(worker), 1)

    def _bury(self, worker: _Worker, error: Exception) -> None:
        """Hand out again what a dead worker had not finished, and put another one in its place."""
        chunk = worker.chunk
        assert chunk is not None
        chunk.deaths += 1
        if len(chunk.samples) > 1 and chunk.deaths > 1:
            # One of them may be what kills workers: it is found by halves.
            middle = len(chunk.samples) // 2
            for half in (chunk.samples[middle:], chunk.samples[:middle]):
                self.waiting.appendleft(_Chunk(half, chunk.deaths - 1))
        elif chunk.deaths <= self.executor.retries:
            self.waiting.appendleft(chunk)
        else:
            why = f"its worker died {chunk.deaths} times: {' '.join(str(error).split())[:300]}"
            for sample in chunk.samples:
                self.deliver(self.factory.failed(sample, why))
        worker.chunk, worker.actor = None, self._actor(worker.number)

    def _requeue(self, chunk: _Chunk) -> None:
        """A wave yields a record for each of its samples; what it left out is an error."""
        if chunk.samples:
            names = ", ".join(sample.id for sample in chunk.samples[:3])
            raise RunError(
                f"A worker ended a wave without {len(chunk.samples)} of its samples: {names}.",
                cure="Run the same command: it resumes.",
            )

    def _actor(self, number: int) -> Any:
        import ray

        wanted = self.executor
        remote: Any = ray.remote(_Actor)
        return remote.options(num_cpus=wanted.num_cpus, num_gpus=wanted.num_gpus).remote(
            self.factory, number, self.board
        )

    def _closed(self, worker: _Worker) -> dict[str, JSON] | None:
        import ray

        try:
            closed: dict[str, JSON] | None = ray.get(worker.actor.close.remote())
        except ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from None
        except ray.exceptions.RayActorError as error:
            # It had delivered all it was given; only what it would have said of itself is lost.
            raise RunError(
                f"Worker {worker.number} died before it could prove that its base weights are "
                "what they were.",
                where=" ".join(str(error).split())[:300],
                cure="Run the same command: finished samples are kept, and it ends well or says "
                "why not.",
            ) from None
        return closed

    def _plan(self, worker: _Worker) -> None:
        if self.watcher is not None and worker.chunk is not None:
            self.watcher.plan(_label(worker), len(worker.chunk.samples))

    def _tell(self) -> None:
        """Pass on what the workers have said of their stages."""
        import ray

        if self.watcher is None:
            return
        for name, stage, count in ray.get(self.board.take.remote()):
            getattr(self.watcher, name)(stage, count)


class _Board:
    """Where workers say how far they are; the driver takes it from there."""

    def __init__(self) -> None:
        self._news: list[tuple[str, str, float]] = []

    def put(self, name: str, stage: str, count: float) -> None:
        self._news.append((name, stage, count))

    def take(self) -> list[tuple[str, str, float]]:
        news, self._news = self._news, []
        return news


class _Teller:
    """The watcher of a worker: it writes on the board."""

    def __init__(self, board: Any) -> None:
        self._board = board

    def plan(self, stage: str, count: int) -> None:
        self._board.put.remote("plan", stage, count)

    def advance(self, stage: str, count: float) -> None:
        self._board.put.remote("advance", stage, count)


class _Actor:
    """A worker: the runner, and the model in it, live as long as it does.

    It is made at the first wave: what an actor's own beginning raises, Ray tells as a death.
    """

    def __init__(self, factory: RunnerFactory, number: int, board: Any) -> None:
        self._factory, self._number, self._board = factory, number, board
        self._runner: WaveRunner | None = None

    def run_wave(self, samples: Sequence[Sample]) -> Iterator[Record]:
        if self._runner is None:
            self._runner = self._factory(_Teller(self._board) if self._board else None)
        yield from self._runner.run_wave(samples)

    def close(self) -> dict[str, JSON] | None:
        """None where it never had anything to do: it took the place of one that died at the end."""
        return {**self._runner.close(), "worker": self._number} if self._runner else None


def _room(executor: Ray) -> int:
    """How many of the workers the cluster has room for, at least one. Raises RunError for none."""
    import ray

    there = ray.cluster_resources()
    wanted = {"CPU": executor.num_cpus, "GPU": executor.num_gpus}
    rooms = [int(there.get(name, 0) / count) for name, count in wanted.items() if count]
    room = min([executor.workers, *rooms])
    if room == 0:
        asked = " and ".join(f"{count:g} {name}" for name, count in wanted.items() if count)
        has = ", ".join(f"{there.get(name, 0):g} {name}" for name in wanted)
        raise RunError(
            f"A worker asks for {asked}; the whole cluster has {has}.",
            where="executor.num_cpus, executor.num_gpus",
            cure="Ask for less, or start Ray on a machine that has it.",
        )
    if room < executor.workers:
        console.note(f"the cluster has room for {room} of {executor.workers} workers")
    return room


def _label(worker: _Worker) -> str:
    return f"worker {worker.number}"


@contextmanager
def _cluster(executor: Ray) -> Iterator[None]:
    """Connected to a cluster; a local one is there only inside. What is up already is used."""
    import ray

    if ray.is_initialized():
        yield
        return
    # Otherwise ray overrides what torch may use: a worker has the cores that it asks for.
    shipped: Mapping[str, str] = {
        name: value for name, value in os.environ.items() if name.startswith(_SHIPPED)
    }
    try:
        ray.init(
            address=executor.address,
            runtime_env={"env_vars": dict(shipped)},
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RunError(
            f"There is no Ray cluster to be had: {' '.join(str(error).split())[:300]}",
            where=f"executor.address {executor.address!r}",
            cure="Start one with `ray start --head` and give its address, or leave address out.",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()
