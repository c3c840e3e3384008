"""What a record keeps of an episode's steps: enough to show the conversation and to play it again.

The answers are whole. What the environment said is cut where it is long, since it can be made again
from the answers; the digest of each task says whether it was the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ttsi.solving.solution import Solution
from ttsi.spec import Episodes
from ttsi.types import Estimate, Message, Score, Step, Task

_LONGEST, _END = 2000, 500
"""Characters of a message that are kept, and how many of them are its last ones."""


def step_of(solution: Solution, *, first: bool, asked: bool = True) -> Step:
    """Return the step of a solution that has an answer.

    `first`: it is its episode's first one. `asked`: H was asked.
    """
    assert solution.answer is not None  # a step without an answer ends the episode
    return Step(
        said=tuple(map(_cut, _said(solution.task, first=first))),
        estimate=solution.estimate if asked else None,
        examples=solution.examples,
        receipt=solution.receipt,
        answer=solution.answer,
        adapted=solution.adapted is not None,
        digest=solution.task.digest,
        rejected=solution.rejected,
    )


def limit_reached(rules: Episodes, steps: Sequence[Step], seconds: float) -> str:
    """Say which limit of the rules a play has reached that took `seconds`; "" if none.

    Tokens are those of the answers: what other stages read and wrote is known for a wave as a
    whole, and an end must not depend on who shares it.
    """
    answers = [step.answer for step in steps]
    spent = {
        "most_steps": len(steps),
        "most_tokens": sum(each.prompt_tokens + each.completion_tokens for each in answers),
        "most_seconds": seconds,
    }
    for name, much in spent.items():
        most = getattr(rules, name)
        if most is not None and much >= most:
            return f"ended by {name} ({most})"
    return ""


def least_sure(steps: Sequence[Step]) -> Estimate | None:
    """Return the estimate of the step of which the model was least sure, the first of equals.

    So an episode is uncertain if one of its steps was.
    """
    found = [step.estimate for step in steps if step.estimate is not None]
    return min(found, key=lambda each: (not each.uncertain, each.confidence), default=None)


def by_turn(steps: Sequence[Step]) -> list[Sequence[Step]]:
    """Return the steps of each turn.

    Where what was said is withheld, only what the environment says of its turns tells them apart.
    """
    told = {at for at, step in enumerate(steps) if step.turn is not None}
    ends = sorted({*last_of_turns([_speaker(step) for step in steps]), *told})
    begins = [0, *(end + 1 for end in ends)]
    return [steps[begin : end + 1] for begin, end in zip(begins, ends, strict=False)]


def with_turns(steps: Sequence[Step], turns: Sequence[Score]) -> tuple[Step, ...]:
    """Return the steps of a play with the scores of its turns, each at the turn's last step."""
    told = dict(zip(last_of_turns([_speaker(step) for step in steps]), turns, strict=False))
    return tuple(replace(step, turn=told.get(at)) for at, step in enumerate(steps))


def last_of_turns(speakers: Sequence[str]) -> list[int]:
    """Return the place of each turn's last step; `speakers`: by step, the role that spoke last.

    A turn begins at the first step, and where the user has spoken.
    """
    begun = [at for at, role in enumerate(speakers) if at and role == "user"]
    return [at - 1 for at in (*begun, len(speakers))]


def _speaker(step: Step) -> str:
    return step.said[-1].role if step.said else ""


def _said(task: Task, *, first: bool) -> tuple[Message, ...]:
    """Return what was said since the last answer: at the first step, all but the system turn."""
    if first:
        return task.said
    answered = [at for at, turn in enumerate(task.said, start=1) if turn.role == "assistant"]
    return task.said[answered[-1] :] if answered else task.said


def _cut(message: Message) -> Message:
    text = message.content
    if len(text) <= _LONGEST:
        return message
    left_out = f"\n[... {len(text) - _LONGEST:,} characters ...]\n"
    return replace(message, content=text[: _LONGEST - _END] + left_out + text[-_END:])
