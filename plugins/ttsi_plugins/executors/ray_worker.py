"""What runs in Ray's processes: a worker, and the board on which workers say how far they are."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from ttsi import JSON, Record, RunnerFactory, Sample, WaveRunner

BEAT = 0.5
"""Seconds between two words of progress, at least."""

News = list[tuple[tuple[str, str], float]]
"""What a watcher is to be told: ((plan or advance, stage), samples)."""


class Actor:
    """A worker: the runner, and the model in it, live as long as it does."""

    def __init__(self, factory: RunnerFactory, board: Any) -> None:
        self._factory = factory
        self._teller = _Teller(board) if board is not None else None
        self._runner: WaveRunner | None = None

    def machine(self) -> str:
        """Ray's id of the machine that this is on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def load(self) -> dict[str, JSON]:
        """Load the model; returns the engine's identity.

        Not in __init__: what is raised there, Ray tells as a death.
        """
        self._runner = self._factory(self._teller)
        return self._runner.identity()

    def run_wave(self, samples: Sequence[Sample]) -> Iterator[Record]:
        assert self._runner is not None
        for record in self._runner.run_wave(samples):
            if self._teller is not None:
                self._teller.tell()
            yield record

    def close(self) -> dict[str, JSON]:
        assert self._runner is not None
        return self._runner.close()


class Board:
    """Where workers say how far they are; the driver takes it from there."""

    def __init__(self) -> None:
        self._news: News = []

    def put(self, news: News) -> None:
        self._news += news

    def take(self) -> News:
        news, self._news = self._news, []
        return news


class _Teller:
    """The watcher of a worker: sums up, and writes on the board once a beat at most."""

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
