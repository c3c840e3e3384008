"""Checks of episodes: both plays are played again with the answers of the record.

What the environment asks depends on the answers before. So each recorded step has to be what a new
environment asks there, by its digest, and the score has to be the one that it gives in the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ttsi.errors import MissingAsset, TtsiError
from ttsi.leaderboard.check_method import method_faults
from ttsi.leaderboard.check_records import Case, adapted_faults, reading_faults, verdict
from ttsi.leaderboard.faults import UNAVAILABLE, Fault
from ttsi.leaderboard.replay import Replay, replay
from ttsi.running.steps import last_of_turns, least_sure, limit_reached
from ttsi.solving.costs import STAGES
from ttsi.spec import Episodes
from ttsi.types import Record, Score, Step, Task

_WITHHOLD = "Submit with `ttsi leaderboard submit`, which takes it out."


def episode_faults(case: Case) -> Iterator[Fault]:
    """Yield the faults of an episode's record: of its steps, its answers and its scores."""
    record = case.record
    if record.error:
        return
    yield from _story(case)
    yield from _play(case, "final", record.steps, record.final_score)
    if record.adapted:
        yield from _play(case, "base", record.base_steps, record.base_score)


def _story(case: Case) -> Iterator[Fault]:
    """Yield faults where parts of a record contradict each other, whatever the method."""
    record, row = case.record, case.row
    adapted = any(step.adapted for step in record.steps)
    for what, wrong in (
        ("is an episode, and has no steps.", not record.steps),
        ("has examples or a receipt outside of its steps.", _worked(record)),
        (
            "has an estimate that is not its least sure step's.",
            least_sure(record.steps) != record.estimate,
        ),
        ("was adapted, and none of its steps was, or the reverse.", adapted != record.adapted),
        ("has a final answer that is not its last step's.", not _ends(row, "steps", "final")),
        ("has no score of one of its plays.", None in (record.base_score, record.final_score)),
        (
            "was not adapted, and has another base play, answer or score.",
            not record.adapted and _two_plays(row),
        ),
        (
            "has a base answer that is not the last one of its base steps.",
            record.adapted and not _ends(row, "base_steps", "base"),
        ),
        (
            "has base steps that were adapted, or have examples.",
            any(step.adapted or _worked(step) for step in record.base_steps),
        ),
        (
            # Costs of further stages are allowed: a failed attempt may have reached them.
            "lacks costs of a stage that it passed, or has some of no known stage.",
            not _stages(record) <= record.costs.keys() <= set(STAGES),
        ),
    ):
        if wrong:
            yield case.fault("story", what)


def _worked(part: Record | Step) -> bool:
    return bool(part.examples) or part.receipt is not None


def _ends(row: Mapping[str, Any], steps: str, answer: str) -> bool:
    """Return whether the last of the steps gave the record's answer."""
    played = row.get(steps) or []
    return bool(played) and played[-1]["answer"] == row[answer]


def _two_plays(row: Mapping[str, Any]) -> bool:
    same = (row["final"], row["final_score"]) == (row["base"], row["base_score"])
    return not same or bool(row.get("base_steps"))


def _stages(record: Record) -> set[str]:
    trained = {"learn", "adapted"} if any(step.receipt for step in record.steps) else set()
    return {"answer"} | trained


# ---------------------------------------------------------------- playing again


def _play(case: Case, name: str, steps: Sequence[Step], score: Score | None) -> Iterator[Fault]:
    try:
        again = replay(case.sample, steps)
    except TtsiError as error:
        kind = UNAVAILABLE if error.exit_code == MissingAsset.exit_code else "episode"
        yield case.fault(kind, f"cannot be played again here: {error.what}", error.cure)
        return
    yield from _course(case, name, steps, again)
    yield from _scores(case, name, steps, score, again)
    rows = case.row.get("steps" if name == "final" else "base_steps", ())
    kept = False
    for task, step, row in zip(again.tasks, steps, rows, strict=False):
        at = _case_of(case, task, step, row)
        yield from _step(at, name, step)
        if name == "final":
            kept = kept and not _begins_turn(at)
            yield from _adaptation(at, step, kept=kept)
            kept = kept or (_rules(case).keep == "turn" and step.adapted)


def _course(case: Case, name: str, steps: Sequence[Step], again: Replay) -> Iterator[Fault]:
    """Yield a fault where the play has another number of steps, or another input.

    After the first input that differs all others do.
    """
    asked = len(again.tasks)
    for at, (task, step) in enumerate(zip(again.tasks, steps, strict=False)):
        if step.digest != task.digest:
            what = f"the {name} play was asked something else at step {at} than its environment "
            yield case.fault("input", f"{what}asks after these answers.")
            return
    if again.error:
        what = f"the {name} play cannot be played again: its environment raised {again.error}."
        yield case.fault("episode", what)
    elif asked < len(steps):
        what = f"the {name} play has {len(steps)} steps; its environment ends after {asked}."
        yield case.fault("steps", what)
    elif asked > len(steps) and not _may_end(case, steps):
        what = f"the {name} play has {len(steps)} steps, and its environment goes on after them."
        yield case.fault("steps", what)
    # Not the limit of seconds: no record says when a step was played.
    if limit_reached(_rules(case), steps[:-1], seconds=0.0):
        what = f"the {name} play has {len(steps)} steps, beyond a limit of the spec."
        yield case.fault("steps", what)


def _rules(case: Case) -> Episodes:
    return Episodes(**case.spec.get("episodes", {}))


def _may_end(case: Case, steps: Sequence[Step]) -> bool:
    """Return whether a limit can have ended the play; seconds are known of both plays together."""
    spent = sum(cost.seconds for cost in case.record.costs.values())
    return bool(limit_reached(_rules(case), steps, spent))


def _scores(
    case: Case, name: str, steps: Sequence[Step], score: Score | None, again: Replay
) -> Iterator[Fault]:
    anew = again.score
    if anew is None or score is None:
        return
    if (score.correct, score.reason) != (anew.correct, anew.reason):
        what = f"the {name} play is scored as {verdict(score)}; played again it is {verdict(anew)}."
        yield case.fault("score", what)
    if score.credit != anew.credit:
        what = f"the {name} play has a credit of {score.credit}; played again it is {anew.credit}."
        yield case.fault("score", what)
    speakers = [task.messages[-1].role for task in again.tasks[: len(steps)]]
    turns = dict(zip(last_of_turns(speakers), again.turns, strict=False))
    for at, step in enumerate(steps):
        said, true = _told(step.turn), _told(turns.get(at))
        if said != true:
            what = f"the turn that ends at step {at} of the {name} play is judged as {said}; "
            yield case.fault("score", f"{what}played again it is {true}.")


def _told(turn: Score | None) -> str:
    return verdict(turn) if turn is not None else "nothing"


# ---------------------------------------------------------------- one step


def _case_of(case: Case, task: Task, step: Step, row: Mapping[str, Any]) -> Case:
    """Return a step as a case of its own."""
    record = replace(
        case.record,
        id=task.id,
        estimate=step.estimate,
        examples=step.examples,
        receipt=step.receipt,
        base=None,
        adapted=step.adapted,
        steps=(),
        base_steps=(),
    )
    return replace(case, record=record, row=row, sample=replace(case.sample, task=task))


def _step(case: Case, name: str, step: Step) -> Iterator[Fault]:
    if step.said:
        yield case.fault("benchmark-text", "holds what the environment said.", _WITHHOLD)
    if step.turn is not None and step.turn.detail:
        yield case.fault("quote", "a turn's detail may quote the reference.", _WITHHOLD)
    yield from reading_faults(case, name, step.answer)


def _adaptation(case: Case, step: Step, *, kept: bool) -> Iterator[Fault]:
    """Yield faults of what H, G and T made of a step; `kept`: an adaptation is in force already."""
    if not kept and (_begins_turn(case) or _rules(case).estimate_at == "every_step"):
        yield from adapted_faults(case)
        yield from method_faults(case)
        return
    if step.estimate is not None or _worked(step):
        what = "has an estimate, examples or a receipt, at a step at which H is not asked."
        yield case.fault("estimate", what)
    if step.adapted != kept:
        what = "was adapted" if step.adapted else "was not adapted"
        yield case.fault("story", f"{what}, at a step at which H is not asked.")


def _begins_turn(case: Case) -> bool:
    """Return whether a step, as a case of its own, is the first one of a turn."""
    task = case.sample.task
    return task.id.endswith("@0") or task.messages[-1].role == "user"
