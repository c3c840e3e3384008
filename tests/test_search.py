"""Search beside adaptation: the best of several answers, and a routing before the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi.answers import form_of
from ttsi.answers.calls.values import ToolCall, answer_with, calls_in
from ttsi.answers.completions import read_completion
from ttsi.settings import Asked
from ttsi.types import (
    DECLINED,
    UNPARSABLE,
    Answer,
    AnswerStatus,
    Completion,
    Generation,
    Likelihood,
    Request,
    Task,
)
from ttsi_fakes import ScriptedEngine, make_sample
from ttsi_plugins.inference.best_of import BestOf
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.inference.routed import Routed

TASKS = [make_sample(number).task for number in range(3)]
TASK = TASKS[0]
ROME, OSLO = (
    json.dumps([{"name": "get_time", "arguments": {"city": city}}]) for city in ("Rome", "Oslo")
)


class Saying(ScriptedEngine):
    """An engine that writes the given texts in turn, with the given sums of log-probabilities."""

    def __init__(self, *said: tuple[str, float]) -> None:
        super().__init__()
        self.said: Iterator[tuple[str, float]] = iter(said)

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.asked += requests
        return [Generation(*self._next(), "stop") for _ in requests]

    def _next(self) -> tuple[str, int, int, float]:
        text, logprob = next(self.said)
        return text, 9, 4, logprob


# ---------------------------------------------------------------- best_of


def best(*said: tuple[str, float], **options: Any) -> Completion:
    (answer,) = BestOf(samples=len(said), **options).answer([TASK], [None], Saying(*said), 0)
    return answer


def test_the_first_answer_is_greedy_and_the_others_are_drawn() -> None:
    engine = ScriptedEngine()
    BestOf(samples=3, format="tool_calls").answer(TASKS[:2], [None, None], engine, 5)
    assert [request.sampling.temperature for request in engine.asked] == [0, 0.7, 0.7] * 2
    assert len({request.seed for request in engine.asked}) == 6
    greedy = ScriptedEngine()
    Direct(decoding="greedy", format="tool_calls").answer([TASK], [None], greedy, 5)
    assert engine.asked[0].sampling == greedy.asked[0].sampling
    assert engine.asked[0].prompt == greedy.asked[0].prompt
    drawn = ScriptedEngine()
    BestOf(samples=3, greedy_first=False).answer([TASK], [None], drawn, 5)
    assert [request.sampling.temperature for request in drawn.asked] == [0.7] * 3
    assert [request.seed for request in drawn.asked] == [r.seed for r in engine.asked[:3]]


def test_likelihood_takes_the_likeliest_and_votes_the_commonest() -> None:
    said = [(OSLO, -4.0), (ROME, -3.0), (OSLO, -9.0), (ROME, -2.0), (OSLO, -8.0)]
    assert best(*said).text == OSLO
    chosen = best(*said, by="likelihood")
    assert (chosen.text, chosen.logprob, chosen.completion_tokens) == (ROME, -2.0, 20)


def test_of_equally_likely_answers_votes_decide_and_then_the_order() -> None:
    said = [(ROME, -2.0), (OSLO, -2.0), (OSLO, -5.0)]
    assert best(*said, by="likelihood").text == OSLO
    assert best(*said[:2], by="likelihood").text == ROME


def test_what_cannot_be_read_is_chosen_only_among_its_like() -> None:
    broken = '[{"name": "get_time", "argum'
    assert best((broken, -0.1), (ROME, -50.0), by="likelihood").text == ROME
    assert best((broken, -0.2), (broken, -0.1), by="likelihood").answer == UNPARSABLE


def supported(*texts: str, likelihood: Any = None, **options: Any) -> tuple[Completion, Saying]:
    """Return the best answer by support to a request for the time in Oslo."""
    task = replace(TASK, input="What time is it in Oslo?")
    engine = Saying(*[(text, -1.0) for text in texts])
    if likelihood is not None:
        engine.loglikelihoods = likelihood  # type: ignore[method-assign]
    inference = BestOf(samples=len(texts), by="support", **options)
    (answer,) = inference.answer([task], [None], engine, 0)
    return answer, engine


def test_support_takes_the_answer_whose_values_stand_in_the_request() -> None:
    assert supported(ROME, ROME, OSLO, support="lexical")[0].text == OSLO
    assert supported(ROME, "No tool.", "None.", support="lexical")[0].text == "No tool."
    two = json.dumps([*json.loads(OSLO), *json.loads(ROME)])
    assert supported(two, OSLO, support="lexical")[0].text == OSLO


def test_of_equally_supported_answers_votes_decide_and_then_the_order() -> None:
    lima = ROME.replace("Rome", "Lima")
    assert supported(ROME, lima, lima, support="lexical")[0].text == lima
    assert supported(ROME, lima, support="lexical")[0].text == ROME
    number = Task("t", (), "Answer.", "How many legs has an ant?", "number")
    engine = Saying(("8", -1.0), ("6", -9.0), ("6", -9.0))
    (answer,) = BestOf(samples=3, by="support").answer([number], [None], engine, 0)
    assert answer.text == "6"


def test_support_by_likelihood_asks_once_for_all_and_once_for_each_different_answer() -> None:
    calls: list[int] = []

    def likelihood(prompts: Any, texts: Any) -> list[list[Likelihood]]:
        calls.append(len(prompts))
        blank = [not prompt.messages[1].content for prompt in prompts]
        rome = ["Rome" in text for (text,) in texts]
        # The request makes Rome likelier, and Oslo as likely as it is without it.
        likely = [r and not b for b, r in zip(blank, rome, strict=True)]
        return [[Likelihood(-1.0 if each else -5.0, 2)] for each in likely]

    answer, _ = supported(OSLO, ROME, OSLO, OSLO, likelihood=likelihood, support="likelihood")
    assert answer.text == ROME
    assert calls == [4]


def test_only_support_that_asks_the_model_needs_likelihoods() -> None:
    assert "loglikelihood" in BestOf(by="support").needs
    assert "loglikelihood" not in BestOf(by="support", support="lexical").needs
    assert BestOf().needs == Direct().needs


CHOICES = [(ROME, DECLINED), (OSLO, DECLINED), ("No tool does that.", DECLINED), ("[{", UNPARSABLE)]


@given(
    st.lists(
        st.tuples(st.sampled_from([text for text, _ in CHOICES]), st.integers(-40, 0)),
        min_size=1,
        max_size=7,
    )
)
def test_the_best_by_likelihood_is_the_best_of_all_by_brute_force(
    said: list[tuple[str, float]],
) -> None:
    chosen = best(*said, by="likelihood")
    form = form_of(TASK)
    answers = [form.parse(TASK, text) for text, _ in said]
    known = [at for at, each in enumerate(answers) if each.status is not AnswerStatus.UNPARSABLE]
    known = known or list(range(len(said)))
    votes = [sum(answers[at] == answers[other] for other in known) for at in range(len(said))]
    ranked = sorted(known, key=lambda at: (-said[at][1], -votes[at], at))
    assert (chosen.text, chosen.logprob) == said[ranked[0]]


# ---------------------------------------------------------------- routed


def routed(route: str, answer: str = ROME, task: Task = TASK, **options: Any) -> tuple[Any, Any]:
    engine = Saying((route, -3.0), (answer, -1.0))
    (made,) = Routed(**options).answer([task], [None], engine, 0)
    return made, engine


def test_a_routing_is_written_freely_and_the_call_after_it() -> None:
    made, engine = routed(" get_time, since the user asks for the time.\nThen more.")
    first, then = engine.asked
    assert first.grammar is None
    assert first.prompt.opening == "The tool to call is"
    assert first.sampling.max_tokens == 24
    said = "The tool to call is get_time, since the user asks for the time."
    assert then.prompt.opening == f"{said}\n\n"
    assert then.prompt.messages == first.prompt.messages == TASK.messages
    assert then.grammar == form_of(TASK).schema(TASK)
    assert then.sampling.max_tokens == 256
    assert first.seed != then.seed
    assert made.text == f"<think>\n{said}\n</think>\n\n{ROME}"
    assert calls_in(made.answer) == (ToolCall("get_time", {"city": "Rome"}),)
    assert (made.completion_tokens, made.logprob) == (8, -4.0)


def test_a_routed_answer_ends_at_the_client_s_stop() -> None:
    task = replace(TASK, asked=Asked(stop=("END",)))
    engine = Saying((" get_time\n", -1.0), (f"{ROME} ENDED", -1.0))
    (made,) = Routed().answer([task], [None], engine, 0)
    assert made.text.endswith(f"\n\n{ROME} ")
    assert calls_in(made.answer) == (ToolCall("get_time", {"city": "Rome"}),)


def test_stops_within_a_thought_and_line_breaks_behind_it_do_not_count() -> None:
    task = replace(TASK, asked=Asked(stop=("\n",)))
    thought = "<think>\nWhich tool?\n</think>\n\n"
    read = read_completion(task, Generation(f"{thought}{ROME}\nDone.", 9, 4, -1.0, "stop"))
    assert read.text == f"{thought}{ROME}"


@pytest.mark.parametrize(
    ("route", "said"),
    [
        (" get_time\n[...]", "The tool to call is get_time"),
        (" get_time(city='Rome')", "The tool to call is get_time"),
        ("get_time and so on", "The tool to call isget_time"),
        ("  \n ", ""),
        ("", ""),
        (' {"name": "get_weather"}', ""),
    ],
)
def test_a_routing_by_name_is_one_word_or_nothing(route: str, said: str) -> None:
    made, engine = routed(route, routing="name")
    assert engine.asked[1].prompt.opening == (f"{said}\n\n" if said else "")
    assert made.text == (f"<think>\n{said}\n</think>\n\n{ROME}" if said else ROME)


def test_a_task_without_tools_gets_a_draft() -> None:
    task = Task("t", (), "Answer.", "How many legs has an ant?", "number")
    made, engine = routed("Ants are insects,\nwhich have 6 legs.", "6", task)
    assert engine.asked[0].prompt.opening == ""
    assert engine.asked[1].prompt.opening == "Ants are insects,\nwhich have 6 legs.\n\n"
    assert engine.asked[1].grammar == form_of(task).schema(task)
    assert made.answer.value == "6"


pieces = st.sampled_from(
    [" get_time", "<think>", "</think>", "[THINK]", "</THOUGHT >", "<tool_call>", "{", '"', "\n",
     "<|channel|>analysis", " since", "◁think▷", "Here is my thought process:", ROME,
     "</seed:think>", "< think>", "<", "/think>"]
)  # fmt: skip


@given(
    st.lists(pieces, max_size=6).map("".join),
    st.lists(pieces, max_size=4).map("".join),
    st.sampled_from(["why", "name"]),
    st.sampled_from([TASK, Task("t", (), "Answer.", "How many?", "number")]),
)
def test_whatever_the_routing_says_the_answer_is_read_from_what_follows(
    route: str, answer: str, routing: str, task: Task
) -> None:
    made, _ = routed(route, answer, task, routing=routing)
    assert made.answer == form_of(task).parse(task, answer)
    assert made.answer == form_of(task).parse(task, made.text)


def test_a_routing_takes_the_place_of_a_thought() -> None:
    _, engine = routed(" get_time.")
    assert [request.prompt.thinking for request in engine.asked] == [False, False]


def test_answers_do_not_depend_on_the_wave() -> None:
    engine = ScriptedEngine()
    inference = Routed(decoding="greedy")
    together = inference.answer(TASKS, [None] * 3, engine, 1)
    assert len(engine.asked) == 6
    assert together == [inference.answer([task], [None], engine, 1)[0] for task in TASKS]


def test_targets_are_written_without_the_routing() -> None:
    made, _ = routed(" get_time.")
    other: Answer = answer_with([ToolCall("get_weather", {"city": "Oslo"})])
    written = form_of(TASK).write(TASK, other, made.text)
    assert written == '[{"name": "get_weather", "arguments": {"city": "Oslo"}}]'
