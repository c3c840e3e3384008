"""Check semantic entropy against scipy's entropy over classes that the scorer makes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy as reference_entropy
from ttsi import AnswerStatus, Completion, Generation, Request, Task, Tool, form_of, registry

from ttsi_several.semantic_entropy import SemanticEntropy, meaning

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
TOOLS = (Tool("get_weather", "Weather", CITY), Tool("get_time", "Local time", CITY))
TASK = Task("rows/0", TOOLS, "Call a tool.", "Weather in Rome?")


def call(name: str = "get_weather", **arguments: Any) -> str:
    return json.dumps({"name": name, "arguments": arguments or {"city": "Rome"}})


TEXTS = [
    call(),
    f"[{call()}]",
    f"<tool_call>\n{call(city=' Rome ')}\n</tool_call>",
    call(city="Rome", days=3),
    call(days="3", city="Rome"),
    call(city="Oslo"),
    call("get_time"),
    f"[{call('get_time')}, {call()}]",
    f"[{call()}, {call('get_time')}]",
    "I cannot help with that.",
    "Nor can I.",
    "[]",
    '<tool_call>\n{"name": "get_time", "argum',
    '<tool_call>\n{"name": "get_wea',
]


class Saying:
    """An engine that returns the given texts in turn, with the given likelihoods."""

    capabilities = frozenset({"generate"})

    def __init__(self, texts: Sequence[str], logprobs: Sequence[float] | None = None) -> None:
        self.said = list(zip(texts, logprobs or [-1.0] * len(texts), strict=True))
        self.asked: list[Request] = []

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.asked += requests
        turns = [self.said[number % len(self.said)] for number in range(len(requests))]
        return [Generation(text, 9, 4, logprob, "stop") for text, logprob in turns]


def confidence(
    texts: Sequence[str], logprobs: Sequence[float] | None = None, **options: Any
) -> float:
    estimator = SemanticEntropy(samples=len(texts), **options)
    (estimate,) = estimator.estimate([TASK], Saying(texts, logprobs), 0)
    return estimate.confidence


def same(one: str, other: str) -> bool:
    """Whether the scorer accepts one answer with the other as the reference."""
    read, reference = (form_of(TASK).parse(TASK, text) for text in (one, other))
    if AnswerStatus.UNPARSABLE in (read.status, reference.status):
        return one == other
    completion = Completion(one, read)
    return registry.load("scorers", "exact")().score(TASK, reference, completion).correct


def classes(texts: Sequence[str]) -> list[list[int]]:
    """Return classes of indices of texts with the same meaning, found pair by pair."""
    found: list[list[int]] = []
    for at, text in enumerate(texts):
        known = next((one for one in found if same(texts[one[0]], text)), None)
        if known is None:
            found.append([at])
        else:
            known.append(at)
    return found


@given(st.lists(st.sampled_from(TEXTS), min_size=2, max_size=12))
def test_by_counts_it_is_the_entropy_of_the_scorers_classes(texts: list[str]) -> None:
    counts = [len(members) for members in classes(texts)]
    expected = 1 - reference_entropy(counts) / math.log(len(texts))
    assert confidence(texts) == pytest.approx(expected, abs=1e-12)


@given(
    st.lists(st.sampled_from(TEXTS), min_size=2, max_size=12),
    st.lists(st.floats(-900, 0), min_size=len(TEXTS), max_size=len(TEXTS)),
)
def test_by_likelihoods_each_text_weighs_its_probability_once(
    texts: list[str], likelihoods: list[float]
) -> None:
    logprobs = [likelihoods[TEXTS.index(text)] for text in texts]
    top = max(logprobs)
    masses = []
    for members in classes(texts):
        different = {texts[at]: math.exp(logprobs[at] - top) for at in members}
        masses.append(math.fsum(different.values()))
    expected = 1 - reference_entropy(masses) / math.log(len(texts))
    found = confidence(texts, logprobs, weights="likelihoods")
    assert found == pytest.approx(min(1.0, max(0.0, expected)), abs=1e-9)


@given(st.lists(st.sampled_from(TEXTS), min_size=2, max_size=8), st.randoms())
def test_the_order_of_the_answers_changes_nothing(texts: list[str], random: Any) -> None:
    shuffled = random.sample(texts, len(texts))
    assert confidence(shuffled) == pytest.approx(confidence(texts), abs=1e-12)


def test_known_values() -> None:
    rome, oslo = call(), call(city="Oslo")
    assert confidence([rome] * 4) == 1.0
    assert confidence([rome, oslo, call("get_time"), "No."]) == pytest.approx(0.0, abs=1e-12)
    assert confidence([rome, oslo]) == pytest.approx(0.0, abs=1e-12)
    assert confidence([rome, rome, oslo, oslo]) == pytest.approx(0.5)
    # The tenth answer is a thousand times less likely than each of the other nine.
    once = [0.0] * 9 + [-math.log(1000)]
    assert confidence([rome] * 9 + [oslo], once) == pytest.approx(0.859, abs=1e-3)
    found = confidence([rome] * 9 + [oslo], once, weights="likelihoods")
    assert found == pytest.approx(0.9966, abs=1e-4)


def test_wrapper_spelling_and_order_of_calls_do_not_count() -> None:
    for alike in (TEXTS[0:3], TEXTS[3:5], TEXTS[7:9], TEXTS[9:12]):
        assert len({meaning(TASK, text) for text in alike}) == 1
    different = [TEXTS[at] for at in (0, 3, 5, 6, 7, 9, 12, 13)]
    assert len({meaning(TASK, text) for text in different}) == len(different)


def test_by_default_one_dissenter_in_ten_is_tolerated_and_two_are_not() -> None:
    for dissenting, uncertain in ((0, False), (1, False), (2, True)):
        texts = [call()] * (10 - dissenting) + [call(city="Oslo")] * dissenting
        (estimate,) = SemanticEntropy().estimate([TASK], Saying(texts), 0)
        assert estimate.uncertain is uncertain


def test_each_draw_has_its_own_seed_and_the_wave_decides_none() -> None:
    tasks = [TASK, Task("rows/1", TOOLS, "Call a tool.", "Time in Oslo?")]
    together, alone = Saying(TEXTS[:1]), Saying(TEXTS[:1])
    estimator = SemanticEntropy(samples=3, format="tool_calls", max_calls=2)
    estimator.estimate(tasks, together, 7)
    for task in tasks:
        estimator.estimate([task], alone, 7)
    assert together.asked == alone.asked
    assert len({request.seed for request in together.asked}) == 6
    for request in together.asked:
        assert request.grammar is not None
        assert request.grammar["maxItems"] == 2
        assert (request.sampling.temperature, request.sampling.top_p) == (1.0, 1.0)
