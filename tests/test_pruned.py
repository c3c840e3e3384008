"""The inference `pruned` and the estimator `call_support` against their definitions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from ttsi.answers import form_of
from ttsi.answers.calls.values import calls_in
from ttsi.errors import UsageError
from ttsi.types import Likelihood, Prompt, Request, Task, Tool
from ttsi_fakes import ScriptedEngine
from ttsi_plugins._support import STATED, logistic
from ttsi_plugins.estimators.call_support import CallSupport
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.inference.pruned import Pruned

PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"type": "string"},
    },
    "required": ["city"],
}
TASK = Task("a/0", (Tool("forecast", "", PARAMETERS),), "Call.", "Weather in Rome for 5 days")
FULL = {"city": "Rome", "days": 5, "unit": "kelvin"}
FENCED = "```json\n[{}]\n```"


def call(arguments: dict[str, Any]) -> str:
    return json.dumps({"name": "forecast", "arguments": arguments})


class Weighing(ScriptedEngine):
    """The request adds to the likelihood of a value what `gains` says, or nothing."""

    def __init__(self, text: str, gains: dict[str, float] | None = None) -> None:
        super().__init__(script=lambda request: text)
        self.gains = gains or {}
        self.weighed: list[Prompt] = []

    def loglikelihoods(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[Likelihood]]:
        self.weighed += prompts
        found = zip(prompts, continuations, strict=True)
        return [
            [Likelihood(bool(p.messages[-1].content) * self.gains.get(own[0], 0.0) - 9, 1)]
            for p, own in found
        ]


def pruned(text: str, engine: ScriptedEngine | None = None, **options: Any) -> Any:
    engine = engine or Weighing(text)
    (completion,) = Pruned(**options).answer([TASK], [None], engine, 0)
    return completion


@pytest.mark.parametrize("wrapper", ["{}", "[{}]", FENCED, "<tool_call>\n{}\n</tool_call>"])
def test_optional_arguments_that_nobody_asked_for_are_left_out(wrapper: str) -> None:
    text = wrapper.replace("{}", call(FULL))
    made = pruned(text, support="lexical")
    assert made.text == wrapper.replace("{}", call({"city": "Rome", "days": 5}))
    assert made.answer == form_of(TASK).parse(TASK, made.text)


def test_required_arguments_stay_whatever_their_support() -> None:
    made = pruned(call({"city": "Oslo", "unit": "kelvin"}), support="lexical")
    assert calls_in(made.answer)[0].arguments == {"city": "Oslo"}


def test_what_is_borne_out_stays_as_it_was_written() -> None:
    text = f"Sure: {call({'city': 'Rome', 'days': 5})}  Bye."
    plain = Direct().answer([TASK], [None], Weighing(text), 0)[0]
    assert pruned(text, support="lexical") == plain


@pytest.mark.parametrize(
    ("support", "keep", "kept"),
    [
        ("lexical", 0.5, {"days"}),
        ("lexical", 0.0, {"days", "unit"}),
        ("likelihood", 0.5, {"days", "unit"}),
        ("likelihood", 0.6, {"unit"}),
        ("both", 0.5, {"days", "unit"}),
        ("both", 0.9, {"unit"}),
    ],
)
def test_what_counts_as_support_is_chosen(support: Any, keep: float, kept: set[str]) -> None:
    engine = Weighing(call(FULL), {' "kelvin': 5.0})
    made = pruned("", engine, support=support, keep=keep)
    assert set(calls_in(made.answer)[0].arguments) == {"city", *kept}
    assert len(engine.weighed) == (0 if support == "lexical" else 4)


@pytest.mark.parametrize("text", [call({"city": "Oslo"}), "No.", "[]", '[{"name": "fore', ""])
def test_nothing_is_weighed_where_nothing_is_optional(text: str) -> None:
    engine = Weighing(text)
    made = pruned(text, engine, support="both")
    assert engine.weighed == []
    assert made == Direct().answer([TASK], [None], Weighing(text), 0)[0]


def test_forms_without_claims_are_answered_as_they_are() -> None:
    task = Task("n/0", (), "Answer.", "2 + 3?", "number")
    engine = Weighing("#### 5")
    assert Pruned().answer([task], [None], engine, 0)[0].text == "#### 5"


# ---------------------------------------------------------------- H


def estimated(text: str, engine: Weighing | None = None, **options: Any) -> Any:
    (estimate,) = CallSupport(**options).estimate([TASK], engine or Weighing(text), 0)
    return estimate


def test_the_confidence_is_the_support_of_the_least_supported_argument() -> None:
    engine = Weighing(call(FULL), {' "Rome': 4.0, " 5": 1.0, ' "kelvin': 2.5})
    for support, least in (
        ("lexical", 0.0),
        ("likelihood", logistic(1.0)),
        ("both", logistic(2.5 - STATED)),
    ):
        estimate = estimated("", engine, support=support, threshold=0.7)
        assert estimate.confidence == pytest.approx(least)
        assert estimate.uncertain == (least < 0.7)


def test_answers_without_arguments_are_certain_and_those_without_reading_are_not() -> None:
    for text in ("No.", "[]", '{"name": "forecast", "arguments": {}}'):
        assert estimated(text).confidence == 1.0
    assert estimated('[{"name": "fore').confidence == 0.0


def test_the_answer_is_greedy_and_decoded_as_the_options_say() -> None:
    engine = Weighing(call(FULL))
    CallSupport(format="tool_calls", max_calls=2, max_tokens=50).estimate([TASK], engine, 0)
    (request,) = [each for each in engine.asked if isinstance(each, Request)]
    assert (request.sampling.temperature, request.sampling.max_tokens) == (0.0, 50)
    assert request.grammar == form_of(TASK).schema(TASK, most=2)
    assert {str(need) for need in CallSupport(support="lexical").needs} == {"generate"}
    assert {str(need) for need in CallSupport().needs} == {"generate", "loglikelihood"}


def test_forms_without_claims_are_refused() -> None:
    task = Task("n/0", (), "Answer.", "2 + 3?", "number")
    with pytest.raises(UsageError, match="no parts that a request could bear out"):
        CallSupport().estimate([task], Weighing("#### 5"), 0)
