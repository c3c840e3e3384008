"""`call_likelihood` and `call_agreement` against their definitions."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi.answers import form_of
from ttsi.answers.completions import read_completion
from ttsi.digests import draw_seed
from ttsi.errors import UsageError
from ttsi.types import Completion, Generation, Request, Task, Token
from ttsi_fakes import ScriptedEngine, make_sample
from ttsi_plugins.estimators._likelihood import likelihood
from ttsi_plugins.estimators.call_agreement import CallAgreement
from ttsi_plugins.estimators.call_likelihood import CallLikelihood
from ttsi_plugins.estimators.self_consistency import SelfConsistency
from ttsi_plugins.inference._agreement import shares

TASK = make_sample(0).task


def call(name: str = "get_time", **arguments: Any) -> str:
    return json.dumps([{"name": name, "arguments": arguments or {"city": "Rome"}}])


# ---------------------------------------------------------------- which tokens count


def written(*tokens: tuple[str, float] | tuple[str, float, bool]) -> Generation:
    made = tuple(Token(*each) for each in tokens)
    text = "".join(token.text for token in made)
    return Generation(text, 9, len(made), sum(t.logprob for t in made), "stop", made)


def value(made: Generation, over: Any = "all", reduce: Any = "mean", task: Task = TASK) -> float:
    return likelihood(made, read_completion(task, made), over, reduce)


MADE = written(
    ('[{"', -9.0, True),
    ("name", -9.0),
    ('": "', -9.0),
    ("get", -0.5),
    ("_", -9.0),
    ("time", -0.25, True),
    ('", "', -9.0),
    ("arguments", -9.0),
    ('": {"', -9.0),
    ("city", -0.75),
    ('": "', -9.0),
    ("Ro", -1.0),
    ('me"', -2.0),
    ("}}]", -9.0),
    ("", -9.0),
)


def test_tokens_of_names_and_values_count_and_notation_and_forced_ones_do_not() -> None:
    assert value(MADE) == pytest.approx(math.exp(-(0.5 + 0.75 + 1 + 2) / 4))
    assert value(MADE, "names") == pytest.approx(math.exp(-(0.5 + 0.75) / 2))
    assert value(MADE, "values") == pytest.approx(math.exp(-1.5))
    assert value(MADE, reduce="min") == pytest.approx(math.exp(-2))
    assert value(MADE, "names", "min") == pytest.approx(math.exp(-0.75))


@pytest.mark.parametrize(
    "text",
    [
        call(),
        "get_time(city='Rome')",
        f"<think>get_weather in Rome? No: get_time.</think>\n{call()}",
        f"<tool_call>\n{call()[1:-1]}\n</tool_call>",
        "<function=get_time><parameter=city>Rome</parameter></function>",
    ],
)
def test_the_parts_are_found_in_every_notation_and_not_in_thoughts(text: str) -> None:
    at = text.rindex("get_time")
    city = text.index("city", at)
    rome = text.index("Rome", city)
    tokens = [
        (char, -1.0 if any(s <= i < s + n for s, n in ((at, 8), (city, 4), (rome, 4))) else -50.0)
        for i, char in enumerate(text)
    ]
    assert value(written(*tokens)) == pytest.approx(math.exp(-1.0))


def test_values_that_are_spelt_in_another_way_are_found() -> None:
    for city in ('"quoted" \\ é', "東京", "x\ny"):
        for ascii in (True, False):
            name = {"name": "get_time", "arguments": {"city": city}}
            text = json.dumps([name], ensure_ascii=ascii)
            begin = text.index(": {") + len(': {"city": "')
            made = written((text[:begin], -1.0), (text[begin:-4], -3.0), (text[-4:], -50.0))
            assert value(made, "values") == pytest.approx(math.exp(-3.0))


def test_numbers_words_and_nested_values_count() -> None:
    text = call(a=12, b=[True, None, {"deep": "x1"}], c=-0.5)
    made = written(*((char, -float(char.isalnum())) for char in text))
    parts = ["get_time", "a", "12", "b", "true", "null", "deep", "x1", "c", "05"]
    letters = [char for part in parts for char in part if char.isalnum()]
    assert len(letters) > 20
    (only,) = {round(value(made, over), 12) for over in ("all", "names", "values")}
    assert only == pytest.approx(math.exp(-1))


def test_an_answer_that_declines_counts_whole_and_one_that_cannot_be_read_is_0() -> None:
    refusal = written(("I", -1.0), (" cannot", -3.0), (".", -9.0), ("", -9.0))
    assert value(refusal) == value(refusal, "values") == pytest.approx(math.exp(-2))
    nothing = written(("None", -0.1), (" of these tools can", -3.0))
    assert value(nothing) == pytest.approx(math.exp(-1.55))
    broken = written(('[{"name": "get_time", "argum', -0.1))
    assert value(broken) == 0
    assert value(replace(MADE, finish="length")) > 0
    assert value(replace(refusal, finish="length")) == 0
    assert value(written(("[]", 0.0, True))) == 1.0


def test_the_last_number_is_that_of_the_answer() -> None:
    task = Task("t", (), "Answer.", "How many?", "number")
    made = written(("7", -5.0), (" and so", -5.0), (" the answer is ", -5.0), ("7", -1.0))
    assert value(made, task=task) == pytest.approx(math.exp(-1))


def test_an_engine_that_does_not_tell_its_tokens_is_refused() -> None:
    made = replace(MADE, tokens=())
    with pytest.raises(UsageError, match="log-probabilities of its tokens") as caught:
        value(made)
    assert "perplexity" in caught.value.cure


def test_hostile_answers_take_linear_time() -> None:
    def seconds(size: int) -> float:
        many = {f"k{n}": f"\u00e9{n}" for n in range(size)}
        text = call(**many).replace("\\u00e9", "\\u00E9")
        made = written(*((char, -1.0) for char in text))
        started = time.process_time()
        value(made)
        return time.process_time() - started

    assert seconds(4000) < 20 * max(seconds(1000), 0.05)


# ---------------------------------------------------------------- call_likelihood


def test_call_likelihood_is_of_the_greedy_answer() -> None:
    class Telling(ScriptedEngine):
        def generate(self, requests: Sequence[Request]) -> list[Generation]:
            self.asked += requests
            return [MADE] * len(requests)

    engine = Telling()
    tasks = [make_sample(number).task for number in range(2)]
    estimator = CallLikelihood(format="tool_calls", max_calls=1, reduce="min", threshold=0.2)
    first, _ = estimator.estimate(tasks, engine, 3)
    assert first.confidence == pytest.approx(math.exp(-2))
    assert first.uncertain
    assert not CallLikelihood(threshold=0.1).estimate(tasks, engine, 3)[0].uncertain
    assert [request.sampling.temperature for request in engine.asked] == [0] * 4
    assert engine.asked[0].grammar == form_of(TASK).schema(TASK, most=1)
    assert engine.asked[2].grammar is None


# ---------------------------------------------------------------- soft agreement

TEXTS = [
    call(city="Rome"),
    call(city=" Rome "),
    call(city="Oslo"),
    call("get_weather", city="Rome"),
    call(city="Rome", day="now"),
    json.dumps([*json.loads(call(city="Rome")), *json.loads(call(city="Oslo"))]),
    json.dumps([*json.loads(call(city="Oslo")), *json.loads(call(city="Rome"))]),
    "I cannot help with that.",
    "[]",
    '[{"name": "get_time", "argum',
]


def completions(texts: Sequence[str]) -> list[Completion]:
    return [read_completion(TASK, Generation(text, 9, 4, -1.0, "stop")) for text in texts]


def confidence(*texts: str, **options: Any) -> float:
    draws = {draw_seed(5, TASK.id, "estimate", draw): text for draw, text in enumerate(texts)}
    engine = ScriptedEngine(script=lambda request: draws[request.seed])
    estimator = CallAgreement(samples=len(texts), **options)
    (estimate,) = estimator.estimate([TASK], engine, 5)
    assert estimate.uncertain == (estimate.confidence < 0.95)
    return estimate.confidence


def test_each_part_counts_by_itself() -> None:
    rome, spaced, oslo, weather, dated, both, turned, refusal, none, broken = TEXTS
    assert confidence(rome, spaced, rome) == 1.0
    # The tool is agreed upon by all, the city by three of four.
    assert confidence(rome, rome, rome, oslo) == pytest.approx(fmean([1, 3 / 4]))
    assert confidence(rome, rome, rome, oslo, reduce="min") == 3 / 4
    # get_time and its city, and the absence of get_weather and its city.
    assert confidence(rome, rome, rome, weather) == 3 / 4
    # An argument that the others leave out.
    assert confidence(rome, rome, rome, dated) == pytest.approx(fmean([1, 1, 3 / 4]))
    assert confidence(both, turned) == 1.0
    assert confidence(refusal, none) == 1.0
    assert confidence(rome, rome, broken) == 2 / 3
    assert confidence(broken, broken) == 0.0


@given(st.lists(st.sampled_from(TEXTS), min_size=2, max_size=8))
def test_soft_agreement_is_bounded_by_whole_agreement(texts: list[str]) -> None:
    draws = iter(texts)
    engine = ScriptedEngine(script=lambda request: next(draws))
    (whole,) = SelfConsistency(samples=len(texts)).estimate([TASK], engine, 5)
    soft, least = confidence(*texts), confidence(*texts, reduce="min")
    assert 0 <= least <= soft <= 1
    if any(each.readable for each in completions(texts)):
        assert least >= whole.confidence - 1e-12
    assert (soft == 1) == (whole.confidence == 1)


@given(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=6), st.sampled_from(TEXTS))
def test_the_order_of_answers_and_calls_changes_no_share(texts: list[str], own: str) -> None:
    (answer,) = completions([own])
    one = sorted(shares(TASK, answer, completions(texts)))
    assert one == sorted(shares(TASK, answer, completions(texts[::-1])))
    other = {TEXTS[5]: TEXTS[6], TEXTS[6]: TEXTS[5]}
    turned = completions([other.get(text, text) for text in texts])
    assert one == sorted(shares(TASK, answer, turned))


def test_a_form_of_one_part_agrees_whole() -> None:
    task = Task("t", (), "Answer.", "How many?", "number")
    answers = [
        read_completion(task, Generation(text, 9, 4, -1.0, "stop"))
        for text in ("6", "The answer is 6.0.", "8", "none")
    ]
    assert shares(task, answers[0], answers) == [0.5]


def test_agreement_may_be_multiplied_by_the_likelihood_of_the_chosen() -> None:
    class Telling(ScriptedEngine):
        def generate(self, requests: Sequence[Request]) -> list[Generation]:
            return [MADE] * len(requests)

    (estimate,) = CallAgreement(likelihood=True).estimate([TASK], Telling(), 0)
    assert estimate.confidence == pytest.approx(value(MADE))
