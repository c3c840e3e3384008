"""Episodes in lockstep: each step of a wave of episodes is a wave of tasks for the solver.

An episode is a benchmark's environment. It gives a task, takes the model's answer, gives the next
task, and says in the end whether all went right; its reference stays inside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ttsi.running.plays import Play
from ttsi.solving.costs import add_costs
from ttsi.solving.pipeline import Pipeline
from ttsi.spec import Episodes
from ttsi.types import Completion, Record, Sample


def play(
    pipeline: Pipeline,
    samples: Sequence[Sample],
    seed: int,
    *,
    rules: Episodes,
    baseline: bool,
) -> Iterator[Record]:
    """Yield a record for each episode once it has ended.

    With `baseline` an episode in which something was adapted is played again by the base model
    alone, for the score that it has without adaptation.
    """
    adapted = {}
    for ended in _lockstep(pipeline, [Play.begin(sample, rules) for sample in samples]):
        if baseline and ended.adapted and not ended.error:
            adapted[ended.sample.id] = ended
        else:
            yield _record(ended, None, seed)
    again = [Play.begin(each.sample, rules, alone=True) for each in adapted.values()]
    for base in _lockstep(pipeline, again):
        yield _record(adapted[base.sample.id], base, seed)


def _lockstep(pipeline: Pipeline, active: list[Play]) -> Iterator[Play]:
    """Advance the episodes together, and yield each once it has ended."""
    while True:
        yield from (play for play in active if play.task is None)
        active = [play for play in active if play.task is not None]
        if not active:
            return
        by_task = {play.task.id: play for play in active if play.task is not None}
        tasks = [play.task for play in active if play.task is not None]
        known = {name: told for name, play in by_task.items() if (told := play.known) is not None}
        for solution in pipeline.solve(tasks, known):
            by_task[solution.task.id].take(solution)


def _record(ended: Play, base: Play | None, seed: int) -> Record:
    """Return the record of an episode: its last answers, its scores, and its steps."""
    plays = [ended, base] if base is not None else [ended]
    told = Record(
        ended.sample.id,
        ended.sample.digest,
        seed,
        costs=add_costs(*(each.costs for each in plays)),
    )
    error = next((each.error for each in plays if each.error), "")
    if error:
        return replace(told, error=error)
    before = base if ended.adapted else ended
    notes = [ended.note, f"the base model alone: {base.note}" if base and base.note else ""]
    return replace(
        told,
        estimate=ended.steps[0].estimate,
        base=_last(before),
        base_score=before.score if before is not None else None,
        final=_last(ended),
        final_score=ended.score,
        adapted=ended.adapted,
        note="; ".join(filter(None, notes)),
        steps=tuple(ended.steps),
    )


def _last(play: Play | None) -> Completion | None:
    return play.steps[-1].answer if play is not None else None
