"""One answer to each task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ttsi import (
    Adaptation,
    Asked,
    Completion,
    Engine,
    Request,
    Sampling,
    Task,
    draw_seed,
    option,
    read_completion,
)
from ttsi_plugins.inference._requests import Decoding


@dataclass(frozen=True)
class Direct(Decoding):
    """One answer, sampled as in the paper, or greedy. Base and adapted answers share their seed."""

    decoding: Literal["sample", "greedy"] = option(
        "sample", "Draw tokens by temperature, top_p and top_k, or always take the likeliest."
    )

    def sampling(self) -> Sampling:
        return self.greedy() if self.decoding == "greedy" else super().sampling()

    def answer(
        self,
        tasks: Sequence[Task],
        adaptations: Sequence[Adaptation | None],
        engine: Engine,
        seed: int,
    ) -> list[Completion]:
        requests = self.asked(tasks, adaptations, seed)
        return [
            read_completion(task, generation)
            for task, generation in zip(tasks, engine.generate(requests), strict=True)
        ]

    def asked(
        self, tasks: Sequence[Task], adaptations: Sequence[Adaptation | None], seed: int
    ) -> list[Request]:
        """Return the request for the answer to each task."""
        requests = [
            self.request(task, adaptation, draw_seed(seed, task.id, "answer"))
            for task, adaptation in zip(tasks, adaptations, strict=True)
        ]
        return [_drawn(task, request) for task, request in zip(tasks, requests, strict=True)]


def _drawn(task: Task, request: Request) -> Request:
    """Return the request with the temperature and top_p that the task wants."""
    asked = task.asked or Asked()
    wanted = {"temperature": asked.temperature, "top_p": asked.top_p}
    given = {name: value for name, value in wanted.items() if value is not None}
    return replace(request, sampling=replace(request.sampling, **given)) if given else request
