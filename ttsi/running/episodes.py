"""Episodes in lockstep: each step of a wave of episodes is a wave of tasks for the solver.

An episode is a benchmark's environment. It gives a task, takes the model's answer, gives the next
task, and says in the end whether all went right; its reference stays inside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ttsi.running.plays import Play
from ttsi.running.steps import least_sure, with_turns
from ttsi.solving.costs import add_costs
from ttsi.solving.pipeline import Pipeline
from ttsi.spec import Episodes
from ttsi.types import Completion, Played, Record, Sample


def play(
    pipeline: Pipeline,
    samples: Sequence[Sample],
    seed: int,
    *,
    rules: Episodes,
    played: Mapping[str, Sequence[Played]],
    baseline: bool,
) -> Iterator[Record | Played]:
    """Yield each step once it is played, and a record for each episode once it has ended.

    The steps in `played`, by sample id, are taken from there and not yielded again. With `baseline`
    an episode in which something was adapted is played again by the base model alone, for the score
    that it has without adaptation.
    """

    def begun(sample: Sample, alone: bool) -> Play:
        steps = [each for each in played.get(sample.id, ()) if each.alone == alone]
        return Play.begin(sample, rules, steps, alone=alone)

    adapted = {}
    for made in _lockstep(pipeline, [begun(sample, alone=False) for sample in samples]):
        if isinstance(made, Played):
            yield made
        elif baseline and made.adapted and not made.error:
            adapted[made.sample.id] = made
        else:
            yield _record(made, None, seed)
    again = [begun(each.sample, alone=True) for each in adapted.values()]
    for made in _lockstep(pipeline, again):
        if isinstance(made, Played):
            yield made
        else:
            yield _record(adapted[made.sample.id], made, seed)


def _lockstep(pipeline: Pipeline, active: list[Play]) -> Iterator[Play | Played]:
    """Advance the episodes together; yield each step, and each episode once it has ended."""
    while True:
        yield from (play for play in active if play.task is None)
        active = [play for play in active if play.task is not None]
        if not active:
            return
        by_task = {play.task.id: play for play in active if play.task is not None}
        tasks = [play.task for play in active if play.task is not None]
        known = {name: told for name, play in by_task.items() if (told := play.known) is not None}
        for solution in pipeline.solve(tasks, known):
            step = by_task[solution.task.id].take(solution)
            if step is not None:
                yield step


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
        estimate=least_sure(ended.steps),
        base=_last(before),
        base_score=before.score if before is not None else None,
        final=_last(ended),
        final_score=ended.score,
        adapted=ended.adapted,
        note="; ".join(filter(None, notes)),
        steps=with_turns(ended.steps, ended.turns),
        base_steps=with_turns(base.steps, base.turns) if base is not None else (),
    )


def _last(play: Play | None) -> Completion | None:
    return play.steps[-1].answer if play is not None else None
