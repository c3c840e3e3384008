"""An episode as a conversation: turn by turn, the base model beside the adapted one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Any

from ttsi.pages import text
from ttsi.report.figures import reason
from ttsi.report.parts import example_view, rejected_view, training_view, value_of, why
from ttsi.running.steps import by_turn
from ttsi.types import Message, Record, Score, Step

_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Result"}
_BASE, _ADAPTED = "Base model", "After adaptation"


@dataclass(frozen=True)
class StepView:
    """A step: the answer, what H, G and T made of it, and what was said in return.

    `parts`: here for the first time the adapted play's answer is not the base model's.
    """

    value: str
    text: str
    status: str
    about: str
    parts: bool
    examples: Sequence[Mapping[str, Any]]
    rejected: Mapping[str, Any] | None
    training: Mapping[str, Any] | None
    replies: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Side:
    """A turn of one play. `astray`: it is the first one that is wrong."""

    title: str
    said: Sequence[tuple[str, str]]
    steps: Sequence[StepView]
    correct: bool | None
    why: str
    astray: bool


@dataclass(frozen=True)
class Turn:
    """A turn of both plays, None for one that had ended. `said`: what begins it in both."""

    said: Sequence[tuple[str, str]]
    sides: Sequence[Side | None]


@dataclass(frozen=True)
class Conversation:
    """The plays of an episode. `plays`: (title, right, why) of each."""

    plays: Sequence[tuple[str, bool, str]]
    turns: Sequence[Turn]
    withheld: bool


def view(record: Record) -> Conversation | None:
    """Return the conversation of an episode's record; None of any other record."""
    if not record.steps:
        return None
    plays = [(_ADAPTED if record.adapted else _BASE, record.steps, record.final_score)]
    if record.base_steps:
        plays.insert(0, (_BASE, record.base_steps, record.base_score))
    parting = _parting(record)
    sides = [_sides(title, steps, parting) for title, steps, _ in plays]
    return Conversation(
        plays=[_play(title, score) for title, _, score in plays if score is not None],
        turns=[_turn(each) for each in zip_longest(*sides)],
        withheld=not any(step.said for step in record.steps),
    )


def _play(title: str, score: Score) -> tuple[str, bool, str]:
    parts = [why(score)]
    if score.credit is not None:
        parts.append(f"{text.percent(score.credit)} of the turns right")
    return title, score.correct, "; ".join(filter(None, parts))


def _parting(record: Record) -> int | None:
    """Return the first step of the adapted play whose answer is not the base model's, if any."""
    if not record.base_steps:
        return None
    texts = [[step.answer.text for step in steps] for steps in (record.steps, record.base_steps)]
    pairs = enumerate(zip_longest(*texts))
    return next((at for at, (ours, theirs) in pairs if ours != theirs), None)


def _turn(sides: Sequence[Side | None]) -> Turn:
    begun = [side.said for side in sides if side is not None]
    return Turn(begun[0] if all(said == begun[0] for said in begun) else (), sides)


def _sides(title: str, steps: Sequence[Step], parting: int | None) -> list[Side]:
    """Return the turns of one play."""
    views = [
        _step(step, then, parts=title == _ADAPTED and at == parting)
        for at, (step, then) in enumerate(zip_longest(steps, steps[1:]))
    ]
    made: list[Side] = []
    left = iter(views)
    for turn in by_turn(steps):
        said = _of(turn[0].said, user=True) if made else turn[0].said
        score = turn[-1].turn
        wrong = score is not None and not score.correct
        made.append(
            Side(
                title=title,
                said=spoken(said),
                steps=list(islice(left, len(turn))),
                correct=score.correct if score is not None else None,
                why=why(score),
                astray=wrong and all(side.correct is not False for side in made),
            )
        )
    return made


def _step(step: Step, then: Step | None, *, parts: bool) -> StepView:
    """Return the view of a step; `then`: the next one, which was asked what came of it."""
    return StepView(
        value=value_of(step.answer.answer),
        text=step.answer.text,
        status=reason(step.answer.answer.status.value),
        about=_about(step),
        parts=parts,
        examples=[example_view(example) for example in step.examples],
        rejected=rejected_view(step.rejected),
        training=training_view(step.receipt),
        replies=spoken(_of(then.said, user=False)) if then is not None else (),
    )


def _about(step: Step) -> str:
    """Return a step's confidence, where H was asked, and what came of it."""
    told, estimate = [], step.estimate
    if estimate is not None and (estimate.uncertain or estimate.scores):
        told.append(f"u {text.rate(estimate.confidence)}")
        told.append("uncertain" if estimate.uncertain else "certain")
    if step.adapted:
        told.append("adapted")
    if step.answer.cut:
        told.append("cut off at max_tokens")
    return ", ".join(told)


def _of(said: Iterable[Message], *, user: bool) -> list[Message]:
    return [message for message in said if (message.role == "user") == user]


def spoken(said: Iterable[Message]) -> list[tuple[str, str]]:
    """Return who says what, turn by turn."""
    return [(_SPEAKERS[message.role], message.content) for message in said]
