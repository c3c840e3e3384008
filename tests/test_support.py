"""Claims, the words of a request, and likelihood gains, against their definitions."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

import pytest
from engines import shared_engine
from hypothesis import example, given
from hypothesis import strategies as st

from ttsi.answers import form_of
from ttsi.answers.calls.values import calls_in
from ttsi.answers.stated import Request
from ttsi.types import Answer, AnswerStatus, Likelihood, Message, Prompt, Task, Tool
from ttsi_fakes import ScriptedEngine
from ttsi_plugins._support import STATED, Claimed, gains, logistic, supports

PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "default": 3},
        "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
        "hourly": {"type": "boolean"},
        "ids": {"type": "array", "items": {"type": "number"}},
    },
    "required": ["city"],
}
FORECAST = Tool("forecast", "Weather", PARAMETERS)
LIST = '[{"name": "forecast", "arguments": {}}]'
TAGS = '<tool_call>\n{"name": "forecast", "arguments": {}}\n</tool_call>'


def asked(request: str) -> Task:
    return Task("a/0", (FORECAST,), "Call tools.", request)


def answered(task: Task, *arguments: dict[str, Any], name: str = "forecast") -> Answer:
    return form_of(task).read(task, [{"name": name, "arguments": each} for each in arguments])


def claims(task: Task, answer: Answer, like: str | None = None) -> list[Any]:
    return list(form_of(task).claims(task, answer, like) or ())


# ---------------------------------------------------------------- the words of a request

REQUEST = (
    "Book two rooms in New York for $1,500 from May 3rd to the 4th at 2:30 pm for twenty five "
    "guests of São Paulo, 20% off, 5k points, 3.50 a day, with multi-player gaming and cities."
)
STATED_VALUES: list[tuple[Any, str]] = [
    ("New York", "city"), ("new_york", "city"), ("NewYork", "city"), ("NY", "city"),
    ("Sao Paulo", "city"), ("room", "kind"), ("games", "what"),
    ("york city", "city"), (2, "n"), ("2", "n"), (1500, "n"), ("1500", "n"), (-1500, "n"),
    (14, "hour"), ("14:30", "time"), (25, "n"), (0.2, "share"), (20, "share"), (5000, "n"),
    (3.5, "n"), ("3.5", "n"), ("05-03", "date"), ("2 rooms", "n"), (["room", "guest"], "l"),
    ({"rooms": 2, "guests": 25}, "o"), (True, "multiplayer"), (False, "include_points"),
]  # fmt: skip
INVENTED_VALUES: list[tuple[Any, str]] = [
    ("Boston", "city"), ("York Boston", "city"), ("", "city"), (None, "city"), (7, "n"), ("7", "n"),
    (10**400, "n"), (1501, "n"), ("2024-05-03", "date"), ([], "l"), (["room", "Rome"], "l"),
    ({}, "o"), ({"rooms": 9}, "o"), (True, "verbose"), (True, "include"), (False, ""),
    ("city", "city_name"), ("---", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "name"), STATED_VALUES)
def test_a_request_states_a_value_however_it_is_spelt(value: Any, name: str) -> None:
    request = REQUEST.replace(" and cities", "") if value == "city" else REQUEST
    assert Request(request).states(value, name)


@pytest.mark.parametrize(("value", "name"), INVENTED_VALUES)
def test_a_request_states_no_other_value(value: Any, name: str) -> None:
    assert not Request(REQUEST.replace(" and cities", "")).states(value, name)


@example("", "0aB", "")
@example("an", "aBc", "of it")
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=20))
def test_a_value_is_stated_by_a_request_that_holds_it(before: str, value: str, after: str) -> None:
    words = Request(value).states(value)
    assert Request(f"{before} {value} {after}").states(value) >= words
    assert words or not any(char.isascii() and char.isalnum() for char in value)


@given(st.integers(-(10**12), 10**12) | st.floats(-1e9, 1e9, allow_subnormal=False))
def test_numbers_are_stated_as_json_and_with_groups_writes_them(number: float) -> None:
    for text in (json.dumps(number), f"{number:,}"):
        assert Request(f"about {text} of them").states(number)


def test_hostile_requests_take_linear_time() -> None:
    """In quadratic time any of these texts would take minutes."""
    start = time.process_time()
    for text in ("9" * 10**5, "1" + ",000" * 10**5, "a" + "\u0301\u0323" * 10**5, "x1" * 10**5):
        request = Request(text)
        request.states(text, text)
        request.states([text], text)
    assert time.process_time() - start < 20


# ---------------------------------------------------------------- claims of calls


def test_each_argument_is_a_claim_where_it_stands_in_the_text() -> None:
    task = asked("Weather in Rome, hourly")
    answer = answered(
        task, {"city": "Rome", "days": 5, "ids": [1]}, {"city": "Oslo", "hourly": True}
    )
    for like in (LIST, TAGS, None):
        found = claims(task, answer, like)
        assert [claim.where for claim in found] == [
            "/0/arguments/city", "/0/arguments/days", "/0/arguments/ids",
            "/1/arguments/city", "/1/arguments/hourly",
        ]  # fmt: skip
        assert [claim.text for claim in found] == [' "Rome', " 5", " [1", ' "Oslo', " true"]
        assert [claim.optional for claim in found] == [False, True, True, False, True]
        assert [claim.stated for claim in found] == [True, False, False, False, True]
        written = form_of(task).write(task, answer, like)
        assert all(written.startswith(claim.opening + claim.text) for claim in found)
        assert found[-1].opening.endswith('{"city": "Oslo", "hourly":')


def test_what_a_request_need_not_say_is_no_claim() -> None:
    task = asked("Weather in Rome")
    answer = answered(task, {"city": "Rome", "days": 3, "unit": None}, {"city": "API_call_0"})
    assert [claim.where for claim in claims(task, answer)] == ["/0/arguments/city"]
    ahead = answered(task, {"city": "API_call_0", "days": "3"})
    assert [claim.where for claim in claims(task, ahead)] == ["/0/arguments/city"]


def test_values_count_by_the_type_that_the_tool_declares() -> None:
    task = asked("Hourly weather in Rome for 1,000 days")
    (_, days, hourly) = claims(
        task, answered(task, {"city": "Rome", "days": "1000", "hourly": "true"})
    )
    assert days.stated
    assert hourly.stated


def test_undeclared_arguments_are_optional_and_those_of_unknown_tools_are_not() -> None:
    task = asked("Weather in Rome")
    odd = {"city": "Rome", "a/b~c": "x"}
    (_, claim) = claims(task, answered(task, odd))
    assert claim.optional
    rest = form_of(task).without(task, answered(task, odd), [claim])
    assert calls_in(rest)[0].arguments == {"city": "Rome"}
    assert not any(claim.optional for claim in claims(task, answered(task, odd, name="other")))


def test_earlier_turns_are_part_of_the_request() -> None:
    turns = (
        Message("user", "I am in Rome."),
        Message("assistant", "So?"),
        Message("user", "Weather"),
    )
    task = Task("a/0", (FORECAST,), "Call tools.", "Weather", turns=turns)
    assert claims(task, answered(task, {"city": "Rome"}))[0].stated


def test_forms_whose_answers_follow_from_the_request_have_no_claims() -> None:
    for name in ("choice", "number", "text"):
        task = Task("a/0", (), "Answer.", "2 or 3?", name, ("2", "3"))
        assert form_of(task).claims(task, Answer.of("2")) is None


@given(
    st.dictionaries(st.text(max_size=6), st.text(max_size=6) | st.integers(), max_size=4), st.data()
)
def test_arguments_are_left_out_whatever_their_names(arguments: dict[str, Any], data: Any) -> None:
    task = asked("x")
    answer = Answer(AnswerStatus.OK, [{"name": "forecast", "arguments": arguments}])
    found = claims(task, answer)
    dropped = data.draw(st.lists(st.sampled_from(found), unique=True)) if found else []
    (call,) = calls_in(form_of(task).without(task, answer, dropped))
    names = [claim.where.split("/")[-1].replace("~1", "/").replace("~0", "~") for claim in dropped]
    assert call.arguments == {k: v for k, v in arguments.items() if k not in names}


# ---------------------------------------------------------------- gains and support


class Given(ScriptedEngine):
    """log P is 3 nats higher with a request that holds the value than without."""

    def loglikelihoods(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[Likelihood]]:
        self.asked += [prompts]
        bonus = [3.0 * (own[0].strip(' "') in prompt.messages[-1].content)
                 for prompt, own in zip(prompts, continuations, strict=True)]  # fmt: skip
        return [[Likelihood(gain - 5.0, 2)] for gain in bonus]


def test_a_gain_is_what_the_request_adds_in_one_call_for_all() -> None:
    tasks = [asked("Weather in Rome"), asked("Nothing"), asked("In Oslo")]
    answers = [answered(tasks[0], {"city": "Rome", "days": 9}), Answer.of([]),
               answered(tasks[2], {"city": "Rome"})]  # fmt: skip
    made = [Claimed(task, claims(task, each)) for task, each in zip(tasks, answers, strict=True)]
    engine = Given()
    assert gains(made, engine) == [[3.0, 0.0], [], [0.0]]
    assert len(engine.asked) == 1
    first, *_, last = engine.asked[0]
    assert first.messages == tasks[0].messages
    assert last.messages == (tasks[0].messages[0], Message("user", ""))
    assert supports(made, engine, "lexical") == [[1.0, 0.0], [], [0.0]]
    likely = logistic(3.0)
    assert supports(made, engine, "likelihood") == [[likely, 0.5], [], [0.5]]
    strong, weak = logistic(3.0 + STATED), logistic(-STATED)
    assert supports(made, engine, "both") == [[strong, weak], [], [weak]]
    asked_before = len(engine.asked)
    assert supports(made[1:2], engine, "both") == [[]]
    assert len(engine.asked) == asked_before


@given(st.floats(-1e6, 1e6))
def test_the_logistic_function_neither_overflows_nor_turns(x: float) -> None:
    assert logistic(x) + logistic(-x) == pytest.approx(1)
    assert 0 <= logistic(x) <= 1
    assert abs(x) > 30 or logistic(x) == pytest.approx(1 / (1 + math.exp(-x)))


@pytest.mark.model
def test_gains_of_a_real_model_are_differences_of_its_likelihoods() -> None:
    task = asked("What is the weather in Reykjavik?")
    (claim,) = claims(task, answered(task, {"city": "Reykjavik"}), LIST)
    engine = shared_engine()
    engine.forget()
    ((gain,),) = gains([Claimed(task, [claim])], engine)
    values = []
    for request in (task.input, ""):
        prompt = Prompt((Message("system", "Call tools."), Message("user", request)), claim.opening)
        engine.forget()
        values.append(engine.loglikelihoods([prompt], [[' "Reykjavik']])[0][0].logprob)
    assert gain == pytest.approx(values[0] - values[1], abs=1e-3)
    assert gain > 3
