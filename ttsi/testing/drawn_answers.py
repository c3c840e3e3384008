"""Answers drawn with fixed seeds to test scorers: right and wrong, valid and broken."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from ttsi.answers import form_of
from ttsi.answers.calls.values import ToolCall, answer_with, calls_in
from ttsi.testing.fake_benchmark import TOOLS, FakeBenchmark
from ttsi.testing.hostile import FAMILIES
from ttsi.testing.instances import instance
from ttsi.types import DECLINED, UNPARSABLE, Answer, Completion, Score, Task

TASK = Task("fake/0", TOOLS, "instruction", "input")

_ODD: tuple[Any, ...] = (
    None, True, 0, -1, 2.5, 10**30, "", " x ", "007", "true", "it's", "</tool_call>", "é",
    "e\u0301", [], [1, [2]], {}, {"b": 1, "a": {"d": [], "c": None}},
)  # fmt: skip
ABSTAINING = (
    Completion("[]", answer_with([])),
    Completion("None of the tools can do that.", DECLINED),
)
_CASES = 100


def verdicts(scorer: Any) -> list[Score]:
    """Return a scorer's scores of the answers of `completions`."""
    return [scorer.score(TASK, reference, answer) for reference, answer in completions()]


# ---------------------------------------------------------------- calls and answers


def drawn_call(draw: Random) -> ToolCall:
    """Draw a call: half have one odd argument, and a tenth name an unknown tool."""
    tool = draw.choice(TOOLS)
    arguments = instance(tool.parameters, draw)
    if draw.random() < 0.5:
        arguments[draw.choice([*tool.parameters["properties"], "other"])] = draw.choice(_ODD)
    return ToolCall(tool.name if draw.random() < 0.9 else "unknown", arguments)


def references() -> Iterator[list[ToolCall]]:
    yield from (list(calls_in(sample.reference)) for sample in FakeBenchmark().samples())
    draw = Random(8)
    for _ in range(_CASES):
        yield [drawn_call(draw) for _ in range(draw.randint(0, 4))]


def pairs() -> Iterator[tuple[Random, list[ToolCall], list[ToolCall]]]:
    """Yield (generator, reference, answer); the answer is equal, similar or unrelated."""
    draw = Random(9)
    for reference in references():
        close = [call if draw.random() < 0.7 else drawn_call(draw) for call in reference]
        for answer in (reference, close, [drawn_call(draw) for _ in range(draw.randint(0, 4))]):
            yield draw, reference, answer


def completions() -> Iterator[tuple[Answer, Completion]]:
    """Yield (reference, completion) pairs."""
    for place, (_, reference, answer) in enumerate(pairs()):
        if place % 6 == 0:
            yield answer_with(reference), completion(answer)
    for family in FAMILIES.values():
        yield answer_with([ToolCall("get_weather", {"city": "Oslo"})]), read(family(20))
    yield answer_with([]), Completion("", DECLINED)
    yield answer_with([]), Completion("{", UNPARSABLE)


def completion(calls: Sequence[ToolCall]) -> Completion:
    return Completion(as_text(calls), answer_with(calls))


def read(text: str) -> Completion:
    return Completion(text, form_of(TASK).parse(TASK, text))


def as_text(calls: Sequence[ToolCall]) -> str:
    return json.dumps([call.as_json() for call in calls])
