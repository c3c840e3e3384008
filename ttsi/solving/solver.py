"""Algorithm 1 from Python: adapt to a task, answer it, forget.

with ttsi.Solver("spec.json") as solver:
    for solution in solver.solve(tasks):
        print(solution.answer.text, solution.adapted is not None)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from ttsi.errors import UsageError
from ttsi.solving import assemble
from ttsi.solving.pipeline import Pipeline
from ttsi.solving.solution import Solution
from ttsi.spec import Spec, load_spec
from ttsi.types import JSON, Task


class Solver:
    """H, G, T and inference of a spec on one loaded model; a context manager.

    `spec` is a path, a spec as a dict, or a loaded Spec. It needs no benchmark; if it has one, only
    rows for training are taken from it. Scorer and executor are not used. `seed` is by default the
    spec's first. The model is loaded at the first call of `solve` or `identity`.

    Raises SpecError for a bad spec, UsageError for one that has a matrix or a budget.
    """

    def __init__(
        self,
        spec: Spec | Mapping[str, JSON] | str | Path,
        *,
        seed: int | None = None,
        wave: int = 16,
    ) -> None:
        if wave < 1:
            raise UsageError(
                f"A wave must have at least 1 task, not {wave}.",
                where="Solver(wave=...)",
                cure="Give a number from 1 on.",
            )
        self._spec = solvable(spec)
        self._seed = self._spec.seeds[0] if seed is None else seed
        self._wave = wave
        self._pipeline: Pipeline | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def solve(self, tasks: Iterable[Task]) -> Iterator[Solution]:
        """Yield a solution for each task, in the order in which they are finished.

        `wave` tasks pass the stages together. A task that fails has a solution with an `error`.
        Raises errors that would affect every later task, such as MissingAsset and DeviceLost, and
        UsageError if two tasks of a wave have the same id.
        """
        left = iter(tasks)
        while wave := list(islice(left, self._wave)):
            _check_ids(wave)
            for solution in self._loaded().solve(wave):
                yield replace(solution, adaptation=None)  # nothing of it stays behind

    def identity(self) -> dict[str, JSON]:
        """Return what is loaded: digests of weights, tokenizer, chat template; dtype, device."""
        return self._loaded().identity()

    def close(self) -> dict[str, JSON]:
        """Free the model and return what the engine reports about itself; {} on later calls.

        Raises RunError if the base weights have changed; the model is freed in that case, too.
        """
        pipeline = self._pipeline
        try:
            return {} if pipeline is None else pipeline.close()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Free the model, in whatever state it is; checks nothing and raises nothing."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.abandon()

    def _loaded(self) -> Pipeline:
        if self._pipeline is None:
            engines = assemble.Engines(keep=False)
            self._pipeline = assemble.pipeline(self._spec, engines, seed=self._seed)
        return self._pipeline


def solvable(
    spec: Spec | Mapping[str, JSON] | str | Path, overrides: Mapping[str, JSON] | None = None
) -> Spec:
    """Return the one spec by which tasks can be solved as they come; it may have no benchmark.

    `overrides` are those of `load_spec`. Raises SpecError, and UsageError for a matrix or a budget.
    """
    made = [spec] if isinstance(spec, Spec) else load_spec(spec, overrides, benchmark=False)
    if len(made) != 1:
        raise UsageError(
            f"Tasks are solved by one spec, and this has a matrix of {len(made)} cells.",
            where=str(spec) if isinstance(spec, str | Path) else "matrix",
            cure="Take the matrix out, or give one of the Specs that ttsi.load_spec returns.",
        )
    if made[0].budget is not None:
        raise UsageError(
            "A budget is a share of all samples, and who solves tasks as they come does not know "
            "all of them.",
            where="budget",
            cure="Take it out; the estimator's threshold then says which tasks are uncertain.",
        )
    return made[0]


def _check_ids(wave: Sequence[Task]) -> None:
    """Raise UsageError for a repeated id: results, costs and draws are keyed by the task's id."""
    seen: set[str] = set()
    for task in wave:
        if task.id in seen:
            raise UsageError(
                f"Two tasks have the id {task.id!r}.",
                where="Solver.solve(tasks)",
                cure="Give each task an id of its own.",
            )
        seen.add(task.id)
