"""Contract checks of scorers, on calls drawn with fixed seeds."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ttsi.answers import form_of
from ttsi.answers.calls.values import ToolCall, answer_with, calls_in
from ttsi.testing.checks import Check, NotApplicable, require
from ttsi.testing.child import elsewhere
from ttsi.testing.drawn_answers import (
    ABSTAINING,
    TASK,
    as_text,
    completion,
    completions,
    drawn_call,
    pairs,
    read,
    references,
    verdicts,
)
from ttsi.testing.hostile import FAMILIES, carriers, payloads
from ttsi.testing.plain import fingerprint
from ttsi.testing.subject import Subject
from ttsi.testing.work import lines_executed
from ttsi.types import AnswerStatus, Score

_SIZE = 100
_GROWTH = 4
_LEEWAY = 1.25


def replay(subject: Subject) -> None:
    scorer = subject.make()
    for reference in references():
        told = "the reference itself as the answer is wrong"
        require(_right(scorer, reference, reference), f"{told}: {as_text(reference)}")


def order_of_calls(subject: Subject) -> None:
    scorer = subject.make()
    if getattr(scorer, "ordered", False):
        raise NotApplicable("its option `ordered` asks for the reference's order")
    for draw, reference, answer in pairs():
        shuffled = draw.sample(answer, len(answer))
        same = _right(scorer, reference, answer) == _right(scorer, reference, shuffled)
        told = "the same calls in another order score differently"
        require(same, f"{told}: {as_text(answer)} for {as_text(reference)}")


def order_of_keys(subject: Subject) -> None:
    scorer = subject.make()
    for _, reference, answer in pairs():
        turned = [ToolCall(call.name, _turned(call.arguments)) for call in answer]
        same = _right(scorer, reference, answer) == _right(scorer, reference, turned)
        told = "the same arguments in another order score differently"
        require(same, f"{told}: {as_text(answer)} for {as_text(reference)}")


def more_never_helps(subject: Subject) -> None:
    scorer = subject.make()
    for draw, reference, answer in pairs():
        if len(answer) < len(reference):
            continue
        more = draw.choice([drawn_call(draw), *reference])
        place = draw.randint(0, len(answer))
        longer = [*answer[:place], more, *answer[place:]]
        told = "an answer with a superfluous call is right"
        require(not _right(scorer, reference, longer), f"{told}: {as_text(longer)}")


def verdict(subject: Subject) -> None:
    scorer = subject.make()
    for reference, answer in completions():
        score = scorer.score(TASK, reference, answer)
        require(isinstance(score, Score), f"{type(score).__name__} is no Score")
        told = f"{score!r} for {answer.text[:80]!r}"
        require(type(score.correct) is bool, f"correct is neither True nor False: {told}")
        if score.correct:
            require(score.reason is None, f"right, and yet a reason why not: {told}")
            unread = answer.answer.status is AnswerStatus.UNPARSABLE
            require(not unread, f"what could not be parsed is right: {told}")
        else:
            require(
                score.reason in form_of(TASK).reasons,
                f"wrong without a reason why that the form has: {told}",
            )
        require(isinstance(score.detail, str), f"the detail is no text: {told}")


def abstentions(subject: Subject) -> None:
    scorer = subject.make()
    wanted = [ToolCall("get_weather", {"city": "Oslo"})]
    for reference in ([], wanted):
        given = answer_with(reference)
        verdicts = [scorer.score(TASK, given, answer).correct for answer in ABSTAINING]
        told = f"prose without a call and [] score differently for {as_text(reference)}"
        require(len(set(verdicts)) == 1, told)
        require(not reference or not any(verdicts), f"no call is right for {as_text(reference)}")


def same_verdict_twice(subject: Subject) -> None:
    one, other = verdicts(subject.make()), verdicts(subject.make())
    require(one == other, "two instances score the same answers differently")
    made = elsewhere(subject)["made"]
    told = "another process scores the same answers differently"
    require(made is None or made == fingerprint(one), told)


def hostile_text_is_never_executed(subject: Subject) -> None:
    scorer = subject.make()
    with tempfile.TemporaryDirectory() as folder:
        mark = Path(folder) / "owned"
        for payload in payloads(str(mark)):
            for text in carriers(payload):
                answer = read(text)
                calls = calls_in(answer.answer) or (ToolCall("get_weather", {"city": payload}),)
                for each in (answer, completion(calls)):
                    scorer.score(TASK, answer_with(calls), each)
                require(not mark.exists(), f"it executed {payload!r} of the answer {text[:80]!r}")


def work_is_linear(subject: Subject) -> None:
    """Check that work grows linearly with the text, counted in Python lines instead of seconds."""
    scorer = subject.make()
    reference = answer_with([ToolCall("get_weather", {"city": "Oslo"})])
    for name, family in FAMILIES.items():
        counts = []
        for size in (_SIZE, _GROWTH * _SIZE):
            text = family(size)
            answer = read(text)
            counts.append(lines_executed(scorer.score, TASK, reference, answer))
        told = f"of {name}, {_GROWTH} times the text took {counts[0]} and then {counts[1]} lines"
        require(counts[1] <= _GROWTH * _LEEWAY * counts[0] + 100, told)


def _right(scorer: Any, reference: Sequence[ToolCall], calls: Sequence[ToolCall]) -> bool:
    return bool(scorer.score(TASK, answer_with(reference), completion(calls)).correct)


def _turned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _turned(value[key]) for key in reversed(value)}
    return [_turned(item) for item in value] if isinstance(value, list) else value


CHECKS = (
    Check("replay", "The reference given back as the answer is right.", replay),
    Check("call-order", "Parallel calls have no order.", order_of_calls),
    Check("key-order", "The keys of a JSON object have no order.", order_of_keys),
    Check(
        "extra-call",
        "More calls than are asked for are wrong, or answers would hedge.",
        more_never_helps,
    ),
    Check(
        "verdict",
        "An answer is right, or wrong for a reason; whatever it is, scoring does not raise.",
        verdict,
    ),
    Check(
        "abstentions",
        "Prose and [] decline alike: to make no call is right where none is wanted.",
        abstentions,
    ),
    Check(
        "determinism",
        "Whoever verifies a result has to find the same scores.",
        same_verdict_twice,
    ),
    Check(
        "hostile",
        "Answers are a stranger's text: nothing in them is executed.",
        hostile_text_is_never_executed,
    ),
    Check(
        "linear",
        "An answer made to be slow must not hold a run up: work grows as the text does.",
        work_is_linear,
    ),
)
