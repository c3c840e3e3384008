"""What a scorer is held to (DESIGN section 8): properties, on calls drawn by fixed seeds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from ttsi.answers.calls.parse import parse_calls
from ttsi.testing.checks import Check, NotApplicable, require
from ttsi.testing.child import elsewhere
from ttsi.testing.fake_benchmark import TOOLS, FakeBenchmark
from ttsi.testing.hostile import FAMILIES, carriers, payloads
from ttsi.testing.instances import instance
from ttsi.testing.subject import Subject
from ttsi.testing.work import lines_executed
from ttsi.types import Completion, ParseStatus, Reason, Score, Task, ToolCall

TASK = Task("fake/0", TOOLS, "instruction", "input")

_ODD: tuple[Any, ...] = (
    None, True, 0, -1, 2.5, 10**30, "", " x ", "007", "true", "it's", "</tool_call>", "é",
    "e\u0301", [], [1, [2]], {}, {"b": 1, "a": {"d": [], "c": None}},
)  # fmt: skip
_ABSTAINING = (
    Completion("[]", (), ParseStatus.OK),
    Completion("None of the tools can do that.", (), ParseStatus.NO_CALL),
)
_CASES = 100
_SIZE = 100
_GROWTH = 4
_LEEWAY = 1.25


def replay(subject: Subject) -> None:
    scorer = subject.make()
    for reference in _references():
        told = "the reference itself as the answer is wrong"
        require(_right(scorer, reference, reference), f"{told}: {_text(reference)}")


def order_of_calls(subject: Subject) -> None:
    scorer = subject.make()
    if getattr(scorer, "ordered", False):
        raise NotApplicable("its option `ordered` asks for the reference's order")
    for draw, reference, answer in _pairs():
        shuffled = draw.sample(answer, len(answer))
        same = _right(scorer, reference, answer) == _right(scorer, reference, shuffled)
        told = "the same calls in another order score differently"
        require(same, f"{told}: {_text(answer)} for {_text(reference)}")


def order_of_keys(subject: Subject) -> None:
    scorer = subject.make()
    for _, reference, answer in _pairs():
        turned = [ToolCall(call.name, _turned(call.arguments)) for call in answer]
        same = _right(scorer, reference, answer) == _right(scorer, reference, turned)
        told = "the same arguments in another order score differently"
        require(same, f"{told}: {_text(answer)} for {_text(reference)}")


def more_never_helps(subject: Subject) -> None:
    scorer = subject.make()
    for draw, reference, answer in _pairs():
        if len(answer) < len(reference):
            continue
        more = draw.choice([_call(draw), *reference])
        place = draw.randint(0, len(answer))
        longer = [*answer[:place], more, *answer[place:]]
        told = "an answer with a superfluous call is right"
        require(not _right(scorer, reference, longer), f"{told}: {_text(longer)}")


def verdict(subject: Subject) -> None:
    scorer = subject.make()
    for reference, completion in _completions():
        score = scorer.score(TASK, reference, completion)
        require(isinstance(score, Score), f"{type(score).__name__} is no Score")
        told = f"{score!r} for {completion.text[:80]!r}"
        require(type(score.correct) is bool, f"correct is neither True nor False: {told}")
        if score.correct:
            require(score.reason is None, f"right, and yet a reason why not: {told}")
            unread = completion.status is ParseStatus.UNPARSABLE
            require(not unread, f"what could not be parsed is right: {told}")
        else:
            require(isinstance(score.reason, Reason), f"wrong without a Reason why: {told}")
        require(isinstance(score.detail, str), f"the detail is no text: {told}")


def abstentions(subject: Subject) -> None:
    scorer = subject.make()
    wanted = [ToolCall("get_weather", {"city": "Oslo"})]
    for reference in ([], wanted):
        verdicts = [scorer.score(TASK, reference, answer).correct for answer in _ABSTAINING]
        told = f"prose without a call and [] score differently for {_text(reference)}"
        require(len(set(verdicts)) == 1, told)
        require(not reference or not any(verdicts), f"no call is right for {_text(reference)}")


def same_verdict_twice(subject: Subject) -> None:
    one, other = verdicts(subject.make()), verdicts(subject.make())
    require(one == other, "two instances score the same answers differently")
    from ttsi.testing.plain import fingerprint

    made = elsewhere(subject)["made"]
    told = "another process scores the same answers differently"
    require(made is None or made == fingerprint(one), told)


def hostile_text_is_never_executed(subject: Subject) -> None:
    scorer = subject.make()
    with tempfile.TemporaryDirectory() as folder:
        mark = Path(folder) / "owned"
        for payload in payloads(str(mark)):
            for text in carriers(payload):
                parsed = parse_calls(text, TASK.tool_names)
                calls = parsed.calls or (ToolCall("get_weather", {"city": payload}),)
                for status in (parsed.status, ParseStatus.OK):
                    answer = Completion(text, calls if status is ParseStatus.OK else (), status)
                    scorer.score(TASK, calls, answer)
                require(not mark.exists(), f"it executed {payload!r} of the answer {text[:80]!r}")


def work_is_linear(subject: Subject) -> None:
    """Work is counted in lines of Python executed, so no clock decides."""
    scorer = subject.make()
    reference = [ToolCall("get_weather", {"city": "Oslo"})]
    for name, family in FAMILIES.items():
        counts = []
        for size in (_SIZE, _GROWTH * _SIZE):
            text = family(size)
            parsed = parse_calls(text, TASK.tool_names)
            answer = Completion(text, parsed.calls, parsed.status)
            counts.append(lines_executed(scorer.score, TASK, reference, answer))
        told = f"of {name}, {_GROWTH} times the text took {counts[0]} and then {counts[1]} lines"
        require(counts[1] <= _GROWTH * _LEEWAY * counts[0] + 100, told)


def verdicts(scorer: Any) -> list[Score]:
    """Of a scorer: what it says of a hundred answers, right and wrong, sound and broken."""
    return [scorer.score(TASK, reference, answer) for reference, answer in _completions()]


# ---------------------------------------------------------------- calls and answers


def _call(draw: Random) -> ToolCall:
    """Valid for its tool, or with a value put in that may be of any type; sometimes unknown."""
    tool = draw.choice(TOOLS)
    arguments = instance(tool.parameters, draw)
    if draw.random() < 0.5:
        arguments[draw.choice([*tool.parameters["properties"], "other"])] = draw.choice(_ODD)
    return ToolCall(tool.name if draw.random() < 0.9 else "unknown", arguments)


def _references() -> Iterator[list[ToolCall]]:
    yield from (list(sample.reference) for sample in FakeBenchmark().samples())
    draw = Random(8)
    for _ in range(_CASES):
        yield [_call(draw) for _ in range(draw.randint(0, 4))]


def _pairs() -> Iterator[tuple[Random, list[ToolCall], list[ToolCall]]]:
    """A reference, and an answer that is it, is close to it, or has nothing to do with it."""
    draw = Random(9)
    for reference in _references():
        close = [call if draw.random() < 0.7 else _call(draw) for call in reference]
        for answer in (reference, close, [_call(draw) for _ in range(draw.randint(0, 4))]):
            yield draw, reference, answer


def _completions() -> Iterator[tuple[list[ToolCall], Completion]]:
    for place, (_, reference, answer) in enumerate(_pairs()):
        if place % 6 == 0:
            yield reference, Completion(_text(answer), tuple(answer), ParseStatus.OK)
    for family in FAMILIES.values():
        text = family(20)
        parsed = parse_calls(text, TASK.tool_names)
        yield (
            [ToolCall("get_weather", {"city": "Oslo"})],
            Completion(text, parsed.calls, parsed.status),
        )
    yield [], Completion("", (), ParseStatus.NO_CALL)
    yield [], Completion("{", (), ParseStatus.UNPARSABLE)


def _right(scorer: Any, reference: Sequence[ToolCall], calls: Sequence[ToolCall]) -> bool:
    answer = Completion(_text(calls), tuple(calls), ParseStatus.OK)
    return bool(scorer.score(TASK, reference, answer).correct)


def _text(calls: Sequence[ToolCall]) -> str:
    import json

    return json.dumps([call.as_json() for call in calls])


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
