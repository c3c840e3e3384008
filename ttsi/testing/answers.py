"""Checks of answers: inference reads them by their form's rule, and votes count abstentions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from ttsi.answers import form_of
from ttsi.testing.call_texts import CALL, FORMS, OTHER, REFUSAL
from ttsi.testing.checks import Check, require
from ttsi.testing.exercise import default_wave, run_stage
from ttsi.testing.fake_engine import FakeEngine
from ttsi.testing.faults import FAULTS_OF
from ttsi.testing.subject import Subject
from ttsi.types import Answer, AnswerStatus, Generation, Request

_LIKELY, _UNLIKELY = -0.01, -50.0


class _Draws(FakeEngine):
    """A fake engine that answers the n-th request of each question with `draw(n)`, n from 0.

    All answers have the same logprob, except refusals with `likelier`, whose logprob is higher.
    """

    def __init__(self, draw: Callable[[int], str], *, likelier: bool = False) -> None:
        super().__init__(script=self._next)
        self._likelier = likelier
        self.drawn: Counter[str] = Counter()
        self._draw = draw

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        return [
            replace(each, logprob=_LIKELY if self._is_likelier(each.text) else _UNLIKELY)
            for each in super().generate(requests)
        ]

    def _is_likelier(self, text: str) -> bool:
        return self._likelier and text == REFUSAL

    def _next(self, request: Request) -> str:
        asked = request.prompt.messages[-1].content
        self.drawn[asked] += 1
        return self._draw(self.drawn[asked] - 1)


def answers_are_read_by_the_rule(subject: Subject) -> None:
    if subject.kind != "inference":
        return
    for form in FORMS:
        made = subject.make()
        wave = default_wave(made)
        answers = run_stage(subject.kind, made, wave, _Draws(partial(_same, form)))
        for task, answer in zip(wave.tasks, answers, strict=False):
            if FAULTS_OF[subject.kind](made, task, answer):
                return  # The check `results` reports this.
            read, given = _said(form_of(task).parse(task, answer.text)), _said(answer.answer)
            told = f"{task.id}: {answer.text[:80]!r} was read as {given}, not {read}"
            require(given == read, told)


def abstentions_count(subject: Subject) -> None:
    """Check that an answer without a call counts as one in votes and in confidence."""
    if subject.kind == "inference":
        _abstentions_win_votes(subject)
    if subject.kind == "estimators":
        _abstentions_are_dissent(subject)


def _abstentions_win_votes(subject: Subject) -> None:
    made = subject.make()
    wave = default_wave(made)
    engine = _Draws(lambda n: CALL if n == 1 else REFUSAL, likelier=True)
    answers = run_stage(subject.kind, made, wave, engine)
    if not engine.drawn or min(engine.drawn.values()) < 3:
        return
    for task, answer in zip(wave.tasks, answers, strict=False):
        refused = not answer.answer.value and answer.answer.status is not AnswerStatus.UNPARSABLE
        told = "all answers but one made no call, they are the likelier ones, and it made a call"
        require(refused, f"{task.id}: {told}")


def _abstentions_are_dissent(subject: Subject) -> None:
    """Check that abstentions lower an estimator's confidence, where different calls lower it."""

    def confidences(other: str) -> list[float] | None:
        made = subject.make()
        engine = _Draws(lambda n: other if n % 2 else CALL)
        results = run_stage(subject.kind, made, wave, engine)
        pairs = list(zip(wave.tasks, results, strict=False))
        sound = len(results) == len(wave.tasks) and not any(
            FAULTS_OF[subject.kind](made, task, each) for task, each in pairs
        )
        return [each.confidence for each in results] if sound else None

    wave = default_wave(subject.make())
    unanimous, divided, abstaining = map(confidences, (CALL, OTHER, REFUSAL))
    if unanimous is None or divided is None or abstaining is None:
        return  # The checks `parallel` and `results` report this.
    told = "half of the answers made no call, and it is as sure as if all had made the same"
    for at, name in enumerate(wave.names):
        if divided[at] < unanimous[at]:
            require(abstaining[at] < unanimous[at], f"{name}: {told}")


def _same(text: str, draw: int) -> str:
    return text


def _said(answer: Answer) -> str:
    return f"{answer.status.value} {json.dumps(answer.value)}"


CHECKS = (
    Check(
        "reading",
        "An answer is what its text says by the rule of its form: boards read it again.",
        answers_are_read_by_the_rule,
    ),
    Check(
        "abstentions",
        "To make no call is an answer: where several are drawn, it has a vote.",
        abstentions_count,
    ),
)
