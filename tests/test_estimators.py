"""Entropy, mutual information and self-consistency against their definitions."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from engines import shared_engine
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ttsi.answers.completions import read_completion
from ttsi.digests import draw_seed
from ttsi.types import UNPARSABLE, Completion, Likelihood, Prompt, Request, Task, Tool
from ttsi_fakes import ScriptedEngine, make_sample
from ttsi_plugins.estimators._candidates import softmax
from ttsi_plugins.estimators.entropy import Entropy, evenness
from ttsi_plugins.estimators.mutual_information import MutualInformation, mutual_information
from ttsi_plugins.estimators.rss_margin import RssMargin, softmax_margin
from ttsi_plugins.estimators.self_consistency import SelfConsistency, agreement
from ttsi_plugins.scorers.exact import Exact

TASK = make_sample(0).task
Value = Callable[[Prompt, str], float]


class GivenLikelihoods(ScriptedEngine):
    """An engine in which log P of a name is `value(prompt, name)`; it records (prompt, names)."""

    def __init__(self, value: Value) -> None:
        super().__init__()
        self.value = value

    def loglikelihoods(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[Likelihood]]:
        self.asked += [*zip(prompts, continuations, strict=True)]
        return [
            [Likelihood(self.value(prompt, text.removesuffix('"')), 2) for text in some]
            for prompt, some in zip(prompts, continuations, strict=True)
        ]


def offering(names: Sequence[str], task: Task = TASK) -> Task:
    tools = tuple(Tool(name, f"Does {name}", {"type": "object"}) for name in names)
    return dataclasses.replace(task, tools=tools)


def told_of(prompt: Prompt) -> str | None:
    """Return the name that the prompt says another answer called."""
    found = re.search(r"another answer .* called (\S+)\.$", prompt.messages[-1].content, re.I)
    return found[1] if found else None


def as_probabilities(logprobs: Any) -> Any:
    values = np.asarray(logprobs, dtype=np.float64)
    p = np.exp(values - values.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def information(first: Any, then: Any) -> float:
    """Return I = H(first answer) + H(second answer) - H(both), from the whole table."""
    joint = first[:, None] * then
    return float(
        stats.entropy(joint.sum(1)) + stats.entropy(joint.sum(0)) - stats.entropy(joint.ravel())
    )


near = st.floats(-12, 0)
far = st.floats(-2000, 0)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[float], list[list[float]]]:
    """Draw log-likelihoods of n names: at first, and when told of each."""
    n = draw(st.integers(2, 6))
    values = st.lists(draw(st.sampled_from([near, far])), min_size=n, max_size=n)
    return draw(values), draw(st.lists(values, min_size=n, max_size=n))


def engine_of(world: tuple[list[float], list[list[float]]]) -> tuple[Task, GivenLikelihoods]:
    first, then = world
    names = [f"tool{i}" for i in range(len(first))]

    def value(prompt: Prompt, name: str) -> float:
        told = told_of(prompt)
        row = first if told is None else then[names.index(told)]
        return row[names.index(name)]

    return offering(names), GivenLikelihoods(value)


# ---------------------------------------------------------------- entropy


@given(st.one_of(st.lists(near, min_size=2, max_size=12), st.lists(far, min_size=2, max_size=12)))
def test_entropy_is_scipys_over_the_most_there_can_be(logprobs: list[float]) -> None:
    names = [f"tool{i}" for i in range(len(logprobs))]
    engine = GivenLikelihoods(lambda prompt, name: logprobs[names.index(name)])
    (estimate,) = Entropy(threshold=0.5).estimate([offering(names)], engine, 0)
    p = as_probabilities(logprobs)
    assert estimate.confidence == pytest.approx(
        1 - stats.entropy(p) / math.log(len(names)), abs=1e-9
    )
    assert 0 <= estimate.confidence <= 1
    assert estimate.uncertain == (estimate.confidence < 0.5)
    assert estimate.scores == dict(zip(names, logprobs, strict=True))


def test_entropy_at_its_ends() -> None:
    assert evenness([-3.0] * 7) == pytest.approx(1.0, abs=1e-12)
    assert evenness([0.0, -5000.0]) == 0.0
    assert evenness([-3.0]) == evenness([]) == 0.0


def test_the_default_threshold_lies_where_the_papers_margin_does_among_five_tools() -> None:
    one_other = [math.log(0.975), math.log(0.025), *[-1000.0] * 3]
    all_others = [math.log(0.96), *[math.log(0.01)] * 4]
    assert softmax_margin(one_other) == pytest.approx(0.95)
    assert softmax_margin(all_others) == pytest.approx(0.95)
    assert 1 - evenness(all_others) < Entropy().threshold < 1 - evenness(one_other)


@pytest.mark.parametrize("kind", [Entropy, MutualInformation])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"context": "bare"},
        {"context": "as_answered"},
        {"normalise": "mean"},
        {"no_call_candidate": True},
    ],
)
def test_names_are_scored_as_the_margin_scores_them(kind: Any, options: dict[str, Any]) -> None:
    margins, others = (GivenLikelihoods(lambda prompt, name: -len(name) / 3) for _ in range(2))
    (expected,) = RssMargin(**options).estimate([TASK], margins, 0)
    (found,) = kind(**options).estimate([TASK], others, 0)
    assert others.asked[: len(margins.asked)] == margins.asked
    assert found.scores == expected.scores


# ---------------------------------------------------------------- mutual information


@given(worlds())
def test_mutual_information_is_what_one_answer_says_of_the_other(
    world: tuple[list[float], list[list[float]]],
) -> None:
    task, engine = engine_of(world)
    (estimate,) = MutualInformation(threshold=0.5).estimate([task], engine, 0)
    first, then = (as_probabilities(values) for values in world)
    found = mutual_information(first.tolist(), then.tolist())
    assert found == pytest.approx(information(first, then), abs=1e-9)
    assert estimate.confidence == pytest.approx(1 - found / math.log(len(first)), abs=1e-9)
    assert estimate.uncertain == (estimate.confidence < 0.5)
    assert estimate.scores == dict(zip(task.tool_names, world[0], strict=True))


@given(worlds())
def test_mutual_information_is_bounded_by_the_entropy_of_the_first_answer(
    world: tuple[list[float], list[list[float]]],
) -> None:
    task, engine = engine_of(world)
    first, then = (as_probabilities(values) for values in world)
    assert 0 <= mutual_information(first.tolist(), then.tolist()) <= stats.entropy(first) + 1e-9
    (ours,) = MutualInformation().estimate([task], engine, 0)
    (plain,) = Entropy().estimate([task], engine, 0)
    assert 0 <= plain.confidence <= ours.confidence + 1e-9 <= 1 + 1e-9


@given(st.lists(near, min_size=2, max_size=6), st.data())
def test_what_was_said_before_changes_nothing_or_everything(
    first: list[float], data: st.DataObject
) -> None:
    n = len(first)
    row = data.draw(st.lists(near, min_size=n, max_size=n))
    p = softmax(first)
    assert mutual_information(p, [softmax(row)] * n) == pytest.approx(0, abs=1e-12)
    copies = [[float(i == j) for j in range(n)] for i in range(n)]
    assert mutual_information(p, copies) == pytest.approx(stats.entropy(p), abs=1e-9)


@given(worlds(), st.randoms())
def test_the_order_of_the_tools_changes_nothing(
    world: tuple[list[float], list[list[float]]], random: Any
) -> None:
    task, engine = engine_of(world)
    shuffled = list(task.tools)
    random.shuffle(shuffled)
    (one,) = MutualInformation().estimate([task], engine, 0)
    (other,) = MutualInformation().estimate(
        [dataclasses.replace(task, tools=tuple(shuffled))], engine, 0
    )
    assert other.confidence == pytest.approx(one.confidence, abs=1e-9)
    assert other.scores == one.scores


def test_each_prompt_adds_a_line_at_the_end_of_the_users_turn() -> None:
    tasks = [offering(["one", "two", "three"]), offering(["only"]), offering([])]
    engine = GivenLikelihoods(lambda prompt, name: -1.0)
    estimates = MutualInformation(no_call_candidate=False).estimate(tasks, engine, 0)
    prompts = [prompt for prompt, _ in engine.asked]
    assert [told_of(prompt) for prompt in prompts] == [None, "one", "two", "three", None, None]
    assert [len(names) for _, names in engine.asked] == [3, 3, 3, 3, 1, 0]
    plain, *extended = prompts[:4]
    for prompt in extended:
        assert prompt.opening == plain.opening
        assert prompt.messages[0] == plain.messages[0]
        assert prompt.messages[1].content.startswith(plain.messages[1].content + "\n\n")
    assert [estimate.confidence for estimate in estimates] == [1.0, 1.0, 1.0]


def test_no_call_is_told_of_in_words_of_its_own() -> None:
    engine = GivenLikelihoods(lambda prompt, name: -1.0)
    MutualInformation(no_call_candidate=True).estimate([offering(["one"])], engine, 0)
    *_, (prompt, names) = engine.asked
    assert prompt.messages[-1].content.endswith("called no tool.")
    assert list(names) == ['one"', 'none"']


# ---------------------------------------------------------------- self-consistency

ROME = '[{"name": "get_time", "arguments": {"city": "Rome"}}]'
TEXTS = [
    ROME,
    ROME.replace("Rome", " Rome "),
    f"<tool_call>\n{ROME[1:-1]}\n</tool_call>",
    ROME.replace("Rome", "Oslo"),
    ROME.replace("get_time", "get_weather"),
    "I cannot help with that.",
    "Nor can I.",
    "[]",
    '<tool_call>\n{"name": "get_time", "argum',
    '<tool_call>\n{"name": "get_wea',
]


def agreeing(task: Task, answers: Sequence[Completion]) -> float:
    """Return the most answers that any one, as the reference, makes right; itself included."""
    scorer = Exact()

    def agrees(one: Completion, other: Completion) -> bool:
        if one.answer == UNPARSABLE:
            return other is one
        return scorer.score(task, one.answer, other).correct

    return max(sum(agrees(one, other) for other in answers) for one in answers) / len(answers)


@given(st.lists(st.sampled_from(TEXTS), min_size=2, max_size=9), st.integers(0, 5))
def test_the_confidence_is_the_largest_share_that_scores_alike(texts: list[str], seed: int) -> None:
    draws = {draw_seed(seed, TASK.id, "estimate", draw): text for draw, text in enumerate(texts)}
    engine = ScriptedEngine(script=lambda request: draws[request.seed])
    estimator = SelfConsistency(samples=len(texts), threshold=0.6)
    (estimate,) = estimator.estimate([TASK], engine, seed)
    answers = [read_completion(TASK, each) for each in engine.generate(engine.asked[:])]
    assert estimate.confidence == agreeing(TASK, answers) == agreement(TASK, answers)
    assert estimate.uncertain == (estimate.confidence < 0.6)
    assert estimate.scores == {}


def test_answers_that_cannot_be_read_agree_with_nothing_and_refusals_with_each_other() -> None:
    def confidence(*texts: str) -> float:
        draws = iter(texts)
        engine = ScriptedEngine(script=lambda request: next(draws))
        return SelfConsistency(samples=len(texts)).estimate([TASK], engine, 0)[0].confidence

    refusal, other_refusal, none, broken = TEXTS[5:9]
    assert confidence(broken, broken, broken, broken) == 0.25
    assert confidence(refusal, other_refusal, broken, ROME) == 0.5
    assert confidence(refusal, none, broken, ROME) == 0.5
    assert confidence(ROME, ROME, broken, broken) == 0.5


def test_draws_do_not_depend_on_the_wave_and_decode_as_the_answers_do() -> None:
    tasks = [make_sample(number).task for number in range(4)]
    together, alone = ScriptedEngine(), ScriptedEngine()
    estimator = SelfConsistency(samples=3, format="tool_calls", temperature=1.0)
    estimates = estimator.estimate(tasks, together, 2)
    assert estimates == [estimator.estimate([task], alone, 2)[0] for task in tasks]
    assert together.asked == alone.asked
    assert len({request.seed for request in together.asked}) == 12
    assert all(request.grammar is not None for request in together.asked)
    free = ScriptedEngine()
    SelfConsistency().estimate(tasks[:1], free, 0)
    assert len(free.asked) == 5
    assert free.asked[0].grammar is None
    assert free.asked[0].sampling.temperature == 0.7


def test_by_default_one_dissent_in_five_is_uncertain_and_none_is_not() -> None:
    for dissenting, uncertain in ((0, False), (1, True)):
        texts = iter([ROME] * (5 - dissenting) + [TEXTS[3]] * dissenting)
        engine = ScriptedEngine(script=lambda request, texts=texts: next(texts))
        assert SelfConsistency().estimate([TASK], engine, 0)[0].uncertain == uncertain


# ---------------------------------------------------------------- with a real model


def alone(prompt: Prompt, names: Sequence[str]) -> Any:
    """Return the names' probabilities, each scored in a separate call."""
    engine = shared_engine()
    engine.forget()
    values = []
    for name in names:
        ((found,),) = engine.loglikelihoods([prompt], [[f'{name}"']])
        values.append(found.logprob)
    return as_probabilities(values)


@pytest.mark.model
def test_entropy_and_mutual_information_of_a_real_model() -> None:
    names = ["get_weather", "get_time", "get_news"]
    task = offering(names)
    engine = shared_engine()
    engine.forget()
    (plain_estimate,) = Entropy().estimate([task], engine, 0)
    (estimate,) = MutualInformation().estimate([task], engine, 0)
    plain = Prompt(task.messages, '<tool_call>\n{"name": "')
    first = alone(plain, names)
    system, user = task.messages
    lines = [f"\n\nAnother answer to this request called {name}." for name in names]
    turns = [dataclasses.replace(user, content=user.content + line) for line in lines]
    then = np.stack([alone(Prompt((system, turn), plain.opening), names) for turn in turns])
    most = math.log(len(names))
    assert plain_estimate.confidence == pytest.approx(1 - stats.entropy(first) / most, abs=1e-4)
    assert estimate.confidence == pytest.approx(1 - information(first, then) / most, abs=1e-4)
    assert 0 < plain_estimate.confidence < estimate.confidence < 1


@pytest.mark.model
def test_self_consistency_of_a_real_model() -> None:
    task = offering(["get_weather", "get_time", "get_news"])
    engine = shared_engine()
    estimator = SelfConsistency(
        samples=4, format="tool_calls", max_calls=1, temperature=1.5, top_p=1.0, max_tokens=20
    )
    (estimate,) = estimator.estimate([task], engine, 0)
    answers = []
    for draw in range(4):
        seed = draw_seed(0, task.id, "estimate", draw)
        request: Request = estimator.request(task, None, seed)
        (made,) = engine.generate([request])
        answers.append(read_completion(task, made))
    assert estimate.confidence == agreeing(task, answers)
    assert 0.25 < estimate.confidence < 1, [answer.text for answer in answers]
