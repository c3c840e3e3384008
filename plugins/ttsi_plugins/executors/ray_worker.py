"""What runs in Ray's processes: the workers, and a board that collects their progress."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from ttsi import JSON, Played, Record, RunnerFactory, Sample, WaveRunner

BEAT = 0.5
"""The least seconds between two reports of progress."""

News = list[tuple[tuple[str, str], float]]
"""Progress for a watcher: ((plan or advance, stage), samples)."""


class Actor:
    """A worker, which keeps its runner and model as long as it lives."""

    def __init__(self, factory: RunnerFactory, board: Any) -> None:
        self._factory = factory
        self._teller = _Teller(board) if board is not None else None
        self._runner: WaveRunner | None = None

    def machine(self) -> str:
        """Return Ray's id of the machine that this worker is on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def load(self) -> dict[str, JSON]:
        """Load the model; return the engine's identity.

        This is not in __init__, where Ray would report an error as the worker's death.
        """
        self._runner = self._factory(self._teller)
        return self._runner.identity()

    def run_wave(self, samples: Sequence[Sample]) -> Iterator[Record | Played]:
        assert self._runner is not None
        for made in self._runner.run_wave(samples):
            if self._teller is not None:
                self._teller.tell()
            yield made

    def close(self) -> dict[str, JSON]:
        assert self._runner is not None
        return self._runner.close()


class Board:
    """The progress of all workers, until the driver takes it."""

    def __init__(self) -> None:
        self._news: News = []

    def put(self, news: News) -> None:
        self._news += news

    def take(self) -> News:
        news, self._news = self._news, []
        return news


class _Teller:
    """A worker's watcher, which sums up and writes on the board at most once in BEAT seconds."""

    def __init__(self, board: Any) -> None:
        self._board = board
        self._news: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._told = 0.0

    def plan(self, stage: str, count: int) -> None:
        self._add(("plan", stage), count)

    def advance(self, stage: str, count: float) -> None:
        self._add(("advance", stage), count)

    def tell(self) -> None:
        if self._news:
            self._board.put.remote(list(self._news.items()))
            self._news.clear()
            self._told = time.monotonic()

    def _add(self, key: tuple[str, str], count: float) -> None:
        self._news[key] += count
        if time.monotonic() - self._told > BEAT:
            self.tell()
