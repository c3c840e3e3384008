"""H, G, T and voting against their definitions, on a scripted engine."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi.answers.calls.parse import parse_calls
from ttsi.answers.calls.values import ToolCall, answer_with, calls_in
from ttsi.answers.calls.writing import TOOL_CALL, Wrapper, calls_schema
from ttsi.types import (
    DECLINED,
    UNPARSABLE,
    Answer,
    AnswerStatus,
    Completion,
    Likelihood,
    Prompt,
    Request,
    Task,
    TrainJob,
)
from ttsi_fakes import TOOLS, ScriptedEngine, make_sample
from ttsi_plugins.estimators.constant import Always, Never, Random
from ttsi_plugins.estimators.perplexity import Perplexity
from ttsi_plugins.estimators.rss_margin import RssMargin, softmax_margin
from ttsi_plugins.generators.self_generator import SelfGenerator
from ttsi_plugins.inference._votes import majority
from ttsi_plugins.inference.best_of import BestOf
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners.lora_sft import LoraSft

TASKS = [make_sample(number).task for number in range(5)]

# ---------------------------------------------------------------- H


@given(st.lists(st.floats(-2000, 0), min_size=2, max_size=12))
def test_the_margin_is_the_float64_softmax_difference(logprobs: list[float]) -> None:
    values = np.array(logprobs, dtype=np.float64)
    p = np.exp(values - values.max())
    p /= p.sum()
    top = np.sort(p)[::-1]
    margin = softmax_margin(logprobs)
    assert margin == pytest.approx(top[0] - top[1], abs=1e-12)
    assert 0 <= margin <= 1


def test_one_tool_leaves_nothing_to_be_uncertain_about() -> None:
    assert softmax_margin([-3.0]) == 1.0
    assert softmax_margin([]) == 1.0


class Likelihoods(ScriptedEngine):
    """The first name is likelier by `gap` nats; the second has twice the tokens."""

    gap = 1.0

    def loglikelihoods(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[Likelihood]]:
        self.asked += [*zip(prompts, continuations, strict=True)]
        return [[Likelihood(-2.0, 2), Likelihood(-2.0 - self.gap, 4)] for _ in prompts]


def test_rss_margin_scores_names_with_their_closing_quote_in_the_opening_of_a_call() -> None:
    engine = Likelihoods()
    (estimate,) = RssMargin().estimate(TASKS[:1], engine, 0)
    prompt, names = engine.asked[0]
    assert prompt.opening == '<tool_call>\n{"name": "'
    assert list(names) == ['get_weather"', 'get_time"']
    assert estimate.confidence == pytest.approx(math.tanh(0.5))
    assert estimate.scores == {"get_weather": -2.0, "get_time": -3.0}
    assert estimate.uncertain


def test_the_threshold_is_strict_and_the_mean_is_a_tokens() -> None:
    engine = Likelihoods()
    margin = RssMargin().estimate(TASKS[:1], engine, 0)[0].confidence
    assert not RssMargin(threshold=margin).estimate(TASKS[:1], engine, 0)[0].uncertain
    mean = RssMargin(normalise="mean").estimate(TASKS[:1], engine, 0)[0]
    assert mean.scores == {"get_weather": -1.0, "get_time": -0.75}


def test_bare_names_and_the_candidate_of_no_call() -> None:
    engine = ScriptedEngine()
    estimate = RssMargin(context="bare", no_call_candidate=True).estimate(TASKS[:1], engine, 0)[0]
    assert engine.asked[0].opening == ""
    assert set(estimate.scores) == {"get_weather", "get_time", "none"}


def test_as_answered_scores_inside_the_wrapper_of_the_models_own_draft() -> None:
    def fenced(request: Request) -> str:
        return '```json\n[{"name": "get_time", "arguments": {"city": "X"}}]\n```'

    engine = ScriptedEngine(script=fenced)
    RssMargin(context="as_answered").estimate(TASKS[:1], engine, 0)
    assert engine.asked[-1].opening == '```json\n[{"name": "'


def test_perplexity_is_of_the_greedy_answer() -> None:
    estimates = Perplexity(threshold=0.9).estimate(TASKS, ScriptedEngine(), 0)
    assert [estimate.confidence for estimate in estimates] == [pytest.approx(math.exp(-1 / 5))] * 5
    assert all(estimate.uncertain for estimate in estimates)


def test_random_draws_are_the_samples_own() -> None:
    engine = ScriptedEngine()
    together = Random(rate=0.5).estimate(TASKS, engine, 3)
    alone = [Random(rate=0.5).estimate([task], engine, 3)[0] for task in TASKS]
    assert together == alone
    many = [make_sample(number).task for number in range(2000)]
    share = sum(e.uncertain for e in Random(rate=0.3).estimate(many, engine, 0)) / 2000
    assert 0.25 < share < 0.35
    assert all(e.uncertain for e in Always().estimate(TASKS, engine, 0))
    assert not any(e.uncertain for e in Never().estimate(TASKS, engine, 0))


# ---------------------------------------------------------------- G


def written(input: str = "Time in Rome?", name: str = "get_time", **arguments: Any) -> str:
    call = {"name": name, "arguments": arguments or {"city": "Rome"}}
    return json.dumps({"input": input, "output": [call]})


def generated(outputs: dict[int, str] | str, **options: Any) -> tuple[list[Any], ScriptedEngine]:
    """Return the examples of one task if its n-th request is answered by outputs[n]."""
    asked: list[int] = []

    def script(request: Request) -> str:
        if request.seed not in asked:
            asked.append(request.seed)
        return outputs if isinstance(outputs, str) else outputs[asked.index(request.seed)]

    engine = ScriptedEngine(script=script)
    (examples,) = SelfGenerator(**options).generate(TASKS[:1], engine, 0)
    return examples, engine


def test_a_valid_output_becomes_an_example_with_the_tasks_tools() -> None:
    examples, engine = generated("Sure! " + written())
    (example,) = examples
    assert example.task.input == "Time in Rome?"
    assert example.task.instruction == TASKS[0].instruction
    assert calls_in(example.answer) == (ToolCall("get_time", {"city": "Rome"}),)
    assert example.attempts == 1
    system, ask = engine.asked[0].prompt.messages
    assert TASKS[0].input in ask.content
    assert TASKS[0].instruction in ask.content
    assert TASKS[0].instruction not in system.content


def test_seed_first_keeps_the_tasks_own_system_turn() -> None:
    _, engine = generated(written(), prompt="seed_first")
    system, ask = engine.asked[0].prompt.messages
    assert system == TASKS[0].messages[0]
    assert TASKS[0].input in ask.content


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "no JSON here",
        '{"input": "x"}',
        '{"input": 3, "output": []}',
        '{"input": "x", "output": []}',
        written(input="  "),
        written(input=f"  {TASKS[0].input.upper()} "),
        written(name="get_news"),
        written(town="Rome"),
        written(city=5),
        written()[:-3],
    ],
)
def test_what_breaks_the_contract_is_not_an_example(bad: str) -> None:
    examples, engine = generated(bad)
    assert examples == []
    assert len(engine.asked) == 5


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_the_first_valid_attempt_is_kept_however_many_are_drawn_at_once(at_once: int) -> None:
    texts = {0: "x", 1: "x", 2: written("third"), 3: written("fourth"), 4: written("fifth")}
    examples, engine = generated(texts, at_once=at_once)
    assert [(example.task.input, example.attempts) for example in examples] == [("third", 3)]
    assert len(engine.asked) == {1: 3, 2: 4, 5: 5}[at_once]


def test_k_examples_have_their_own_draws_and_equal_ones_count_once() -> None:
    texts = {i: written(f"variant {i}") for i in range(4)}
    examples, _ = generated(texts, samples=4, attempts=1)
    assert [example.task.input for example in examples] == [f"variant {i}" for i in range(4)]
    same, _ = generated(written(), samples=3)
    assert len(same) == 1


# ---------------------------------------------------------------- T

WRITTEN = '```json\n[{"name": "f", "arguments": {}}]\n```'
ANSWER = '```json\n[{"name": "get_time", "arguments": {"city": "X"}}]\n```'
GET_TIME = answer_with([ToolCall("get_time", {"city": "X"})])


@pytest.mark.parametrize(
    ("answer", "calls", "expected"),
    [
        (ANSWER, 1, WRITTEN),
        (
            '[{"name": "a", "arguments": {}}]',
            2,
            '[{"name": "f", "arguments": {}}, {"name": "f", "arguments": {}}]',
        ),
        ('{"name": "a"}', 1, '{"name": "f", "arguments": {}}'),
        (
            '<tool_call>{"name": "a"}</tool_call>',
            1,
            '<tool_call>{"name": "f", "arguments": {}}</tool_call>',
        ),
        (f"<think>Well [1].</think>\n\n{ANSWER}", 1, WRITTEN),
        (f"Well</think>\n\n{ANSWER}", 1, WRITTEN),
        ('{"name": "a"}\nThis tells you the time in Paris.', 1, '{"name": "f", "arguments": {}}'),
    ],
)
def test_a_target_can_keep_the_wrapper_of_the_models_answer(
    answer: str, calls: int, expected: str
) -> None:
    wrapper = Wrapper.of(answer, ["a", "b"])
    assert wrapper is not None
    assert wrapper.write([ToolCall("f", {})] * calls) == expected


def test_a_wrapper_holds_no_other_call() -> None:
    answer = 'First b(x=1), then\n{"name": "a"}'
    assert Wrapper.of(answer, ["a", "b"]) is None
    assert Wrapper.of(answer, ["a"]) == Wrapper("First b(x=1), then\n", "", listed=False)


@pytest.mark.parametrize("channel", ["<|end|><|start|>assistant", "<|end|>", ""])
def test_a_wrapper_behind_thoughts_begins_with_a_whole_mark(channel: str) -> None:
    final = "<|channel|>final<|message|>"
    answer = f'<|channel|>analysis<|message|>x{channel}{final}[{{"name": "a"}}]'
    assert Wrapper.of(answer, ["a", "b"]) == Wrapper(final, "", listed=True)


def test_an_answer_without_calls_has_no_wrapper() -> None:
    assert Wrapper.of("I cannot help.", ["a", "b"]) is None
    assert Wrapper.of("[]", ["a", "b"]) is None
    assert Wrapper.of('<think>{"name": "a"}', ["a", "b"]) is None


@pytest.mark.parametrize(
    "answer",
    [
        '{"name": "a"}\n{"name": "b"}',
        '[{"name": "a"}] or [{"name": "b"}]',
        '<tool_call>{"name": "a"}</tool_call><tool_call>{"name": "b"}</tool_call>',
        '<tool_call><function=a>{"b": 1}</function></tool_call>',
        "<|tool_call_start|>[a(b=1)]<|tool_call_end|>",
        '[TOOL_CALLS]a[ARGS]{"b": 1}',
    ],
)
def test_several_blocks_and_other_notations_have_no_wrapper_to_imitate(answer: str) -> None:
    assert parse_calls(answer).calls
    assert Wrapper.of(answer, ["a", "b"]) is None


def test_calls_are_written_in_tags_by_default() -> None:
    expected = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    assert TOOL_CALL.write([ToolCall("f", {})]) == expected


def test_lora_trains_on_the_examples_rendered_as_the_task_is() -> None:
    engine = ScriptedEngine()
    examples = SelfGenerator().generate(TASKS[:2], engine, 0)
    base = [Completion(ANSWER, GET_TIME), None]
    LoraSft(target="as_answered").learn(TASKS[:2], examples, base, engine, 0)
    fenced, plain = [job for job in engine.asked if isinstance(job, TrainJob)]
    (prompt, target), *_ = fenced.pairs
    assert prompt.messages[0].content == TASKS[0].instruction
    assert target.startswith("```json\n[")
    assert plain.pairs[0][1].startswith("<tool_call>\n")
    assert fenced.seed != plain.seed


# ---------------------------------------------------------------- answers


def test_the_grammar_allows_the_offered_calls_and_no_other() -> None:
    from jsonschema import Draft202012Validator

    check = Draft202012Validator(calls_schema(TOOLS, most=2)).is_valid
    call = {"name": "get_time", "arguments": {"city": "Rome"}}
    assert check([call])
    assert check([call, call])
    assert not check([call] * 3)
    assert not check([])
    assert not check([{"name": "get_news", "arguments": {}}])
    assert not check([{"name": "get_time", "arguments": {"city": "Rome", "day": "now"}}])
    assert not check([{"name": "get_time", "arguments": {}}])


def test_base_and_adapted_answers_share_their_seed_and_free_text_has_no_grammar() -> None:
    engine = ScriptedEngine()
    Direct().answer(TASKS[:1], [None], engine, 0)
    Direct(format="tool_calls").answer(TASKS[:1], [None], engine, 0)
    free, constrained = engine.asked
    assert free.seed == constrained.seed
    assert free.grammar is None
    assert constrained.grammar is not None


def answer(text: str, logprob: float, read: Answer | None = None) -> Completion:
    """Return an answer of two tokens: a call of the tool `text`, unless `read` is given."""
    called = answer_with([ToolCall(text, {"city": "Rome"})])
    return Completion(text, read or called, completion_tokens=2, logprob=logprob)


def vote(task: Task, answers: Sequence[Completion]) -> Completion:
    return majority(task, answers)[0]


def test_the_majority_wins_and_ties_go_to_the_likelier() -> None:
    a, b = answer("get_time", -9), answer("get_weather", -1)
    assert vote(TASKS[0], [b, a, a]).text == "get_time"
    assert vote(TASKS[0], [a, b]).text == "get_weather"


def test_what_cannot_be_parsed_votes_only_among_its_like() -> None:
    bad = answer("garbage", -0.1, UNPARSABLE)
    assert vote(TASKS[0], [bad, bad, answer("get_time", -50)]).text == "get_time"
    assert vote(TASKS[0], [bad, bad]).answer == UNPARSABLE


def test_abstentions_vote() -> None:
    refusal = answer("I cannot.", -5, DECLINED)
    empty = answer("[]", -5, Answer.of([]))
    call = answer("get_time", -0.1)
    assert vote(TASKS[0], [call, *[refusal] * 4]).answer == DECLINED
    assert calls_in(vote(TASKS[0], [call, call, refusal, empty, refusal]).answer) == ()
    assert vote(TASKS[0], [call, call, refusal]).text == "get_time"
    bad = answer("garbage", -0.1, UNPARSABLE)
    assert vote(TASKS[0], [bad, bad, bad, refusal, call, refusal]).answer == DECLINED


def test_four_refusals_and_a_call_are_answered_by_a_refusal() -> None:
    call = '[{"name": "get_time", "arguments": {"city": "Rome"}}]'
    texts = iter([call, "I cannot.", "[]", "No tool does that.", "Sorry."])
    engine = ScriptedEngine(script=lambda request: next(texts))
    (said,) = BestOf(samples=5).answer(TASKS[:1], [None], engine, 0)
    assert said.answer.status is AnswerStatus.DECLINED
    assert said.answer.value is None


def test_answers_in_other_notations_are_read_with_the_names_on_offer() -> None:
    engine = ScriptedEngine(script=lambda request: "get_time(city='Rome')")
    wanted = (ToolCall("get_time", {"city": "Rome"}),)
    for inference in (Direct(), BestOf(samples=2)):
        (said,) = inference.answer(TASKS[:1], [None], engine, 0)
        assert calls_in(said.answer) == wanted


def test_votes_are_over_normalised_calls() -> None:
    def of(text: str, city: str, logprob: float) -> Completion:
        made = answer_with([ToolCall("get_time", {"city": city})])
        return Completion(text, made, 1, 1, logprob)

    one, two, other = of("1", " Rome", -1), of("2", "Rome", -1), of("3", "Oslo", -0.1)
    assert vote(TASKS[0], [other, one, two]).text == "1"


def test_a_vote_draws_every_sample_with_a_seed_of_its_own() -> None:
    engine = ScriptedEngine()
    BestOf(samples=3).answer(TASKS[:2], [None, None], engine, 0)
    assert len({request.seed for request in engine.asked}) == 6
