"""G with evidence against its definition: what becomes an example, and why the rest does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi.answers import form_of
from ttsi.answers.calls.values import ToolCall, answer_with, calls_in
from ttsi.answers.objects import find_object
from ttsi.errors import UsageError
from ttsi.solving.rejecting import rejecting
from ttsi.types import Answer, Example, Likelihood, Message, Prompt, Request, Task, Tool
from ttsi_fakes import ScriptedEngine, make_sample
from ttsi_plugins.generators._asking import REQUEST, UNSERVED, asking
from ttsi_plugins.generators._contract import WHY, is_copy, overlap
from ttsi_plugins.generators.evidence import Evidence

TASK = make_sample(0).task
NUMBER = Task("n/0", (), "Answer.", "What is 2 + 3?", "number")


def call(city: str, name: str = "get_weather") -> str:
    return json.dumps([{"name": name, "arguments": {"city": city}}])


def engine_of(requests: Sequence[str], label: Callable[[str, int], str]) -> ScriptedEngine:
    """Return an engine that writes `requests` in turn, and `label(request, n)` as n-th answer."""
    written, answers = iter(requests), dict.fromkeys(requests, 0)

    def script(request: Request) -> str:
        asked = request.prompt.messages[-1].content
        if request.grammar and "input" in request.grammar.get("properties", ()):
            return json.dumps({"input": next(written)})
        answers[asked] += 1
        return label(asked, answers[asked] - 1)

    return ScriptedEngine(script=script)


def made(
    requests: Sequence[str], label: Any = call, task: Task = TASK, **options: Any
) -> tuple[list[Example], ScriptedEngine]:
    """Return the examples; the label is by default a call with the last word of the request."""
    told = (lambda asked, n: call(asked.split()[-1])) if label is call else label
    engine = engine_of(requests, told)
    generator = Evidence(**{"support": "lexical", "attempts": len(requests), **options})
    (examples,) = generator.generate([task], engine, 0)
    return examples, engine


def provenance(example: Example) -> dict[str, Any]:
    return dict(json.loads(example.text))


def test_own_answers_that_agree_and_have_support_label_a_request() -> None:
    (example,), engine = made(["Is it raining in Rome"])
    assert example.task == TASK.variant("0", input="Is it raining in Rome")
    assert calls_in(example.answer) == (ToolCall("get_weather", {"city": "Rome"}),)
    assert example.attempts == 1
    assert provenance(example) == {
        "input": "Is it raining in Rome",
        "output": call("Rome"),
    }
    assert example.evidence == {"agreement": 1.0, "support": 1.0}
    writing, greedy, *sampled = engine.asked
    assert writing.prompt == asking(TASK, "quoted", REQUEST)
    assert [each.sampling.temperature for each in (greedy, *sampled)] == [0.0, 0.7, 0.7]
    assert len({each.seed for each in engine.asked}) == 4
    assert all(each.grammar == form_of(TASK).schema(TASK) for each in (greedy, *sampled))
    assert greedy.prompt.messages == example.task.messages


def test_each_attempt_that_fails_says_why() -> None:
    answers = {
        "Shall I pack an umbrella in Oslo": lambda n: call("Rome" if n else "Oslo"),
        "Does it snow in Bergen": lambda n: call("Trondheim"),
        "How warm is Malaga": lambda n: "I do not know.",
        "And how wet is Cork": lambda n: call("Cork", "get_rain"),
        "Any fog in London": lambda n: call("London"),
    }
    requests = ["", TASK.input.upper(), f"{TASK.input} Today", *answers]
    with rejecting() as notes:
        (example,), engine = made(requests, lambda asked, n: answers[asked](n), most_overlap=0.6)
    assert example.task.input == "Any fog in London"
    reasons = [
        "no_request", "copy", "near_copy", "disagreement", "unsupported", "no_answer", "invalid",
    ]  # fmt: skip
    rejected = notes.of(TASK.id)
    assert rejected.counts == dict.fromkeys(reasons, 1)
    assert [each.reason for each in rejected.kept] == reasons[:5]
    assert json.loads(rejected.kept[4].text)["output"] == call("Trondheim")
    assert all(each.detail.startswith(WHY[each.reason]) for each in rejected.kept)
    assert example.attempts == 8
    labelled = [each for each in engine.asked if each.prompt.messages[-1].content in answers]
    assert len(labelled) == 5 * 3


def test_every_part_can_be_taken_away() -> None:
    split = ["Shall I pack an umbrella in Oslo"], lambda asked, n: call("Rome" if n else "Oslo")
    assert made(*split)[0] == []
    (example,), _ = made(*split, agreement=0.6, support="off")
    assert calls_in(example.answer)[0].arguments == {"city": "Rome"}
    assert "support" not in example.evidence
    (example,), engine = made(*split, labels=1)
    assert calls_in(example.answer)[0].arguments == {"city": "Oslo"}
    assert len(engine.asked) == 2
    near = [TASK.input.replace("City0", "Rome?")]
    wanted = lambda asked, n: call("Rome")  # noqa: E731
    assert made(near, wanted, most_overlap=0.5)[0] == []
    assert len(made(near, wanted, most_overlap=1.0)[0]) == 1
    assert made([TASK.input], wanted, most_overlap=1.0)[0] == []


def test_ties_go_to_the_greedy_answer() -> None:
    cities = ("Oslo", "Rome", "Rome", "Oslo")
    (example,), _ = made(
        ["From Oslo to Rome"], lambda asked, n: call(cities[n]), labels=4, agreement=0.5
    )
    assert calls_in(example.answer)[0].arguments == {"city": "Oslo"}
    assert example.evidence["agreement"] == 0.5


class Blind(ScriptedEngine):
    """The likelihood of a value does not depend on the request, except for Rome."""

    def loglikelihoods(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[Likelihood]]:
        return [
            [Likelihood(-1.0 if "Rome" in p.messages[-1].content else -5.0, 1) for _ in own]
            for p, own in zip(prompts, continuations, strict=True)
        ]


@pytest.mark.parametrize(("city", "kept"), [("Rome", 1), ("Oslo", 0)])
def test_support_can_be_by_likelihood(city: str, kept: int) -> None:
    request = f"Is it raining in {city}"
    engine = Blind(script=engine_of([request], lambda asked, n: call(city)).script)
    generator = Evidence(support="likelihood", least_support=0.6, attempts=1)
    assert len(generator.generate([TASK], engine, 0)[0]) == kept


def test_examples_that_repeat_each_other_count_once() -> None:
    requests = ["Is it raining in Rome", "Is it raining in  ROME", "Do I need a coat for Oslo"]
    with rejecting() as notes:
        examples, _ = made(requests, samples=3, attempts=1)
    assert notes.of(TASK.id).counts == {"near_copy": 1}
    assert [example.task.input for example in examples] == [requests[0], requests[2]]
    assert [example.task.id for example in examples] == ["rows/0#0", "rows/0#2"]


def test_requests_that_no_tool_serves_are_examples_of_no_call() -> None:
    answers = {
        "Is it raining in Rome": lambda n: call("Rome"),
        "Tell me a joke about cats": lambda n: call("Paris"),
    }
    with rejecting() as notes:
        (example,), engine = made(list(answers), lambda asked, n: answers[asked](n), no_call=1.0)
    assert engine.asked[0].prompt == asking(TASK, "quoted", UNSERVED)
    assert example.task.input == "Tell me a joke about cats"
    assert calls_in(example.answer) == ()
    assert provenance(example)["output"] == []
    assert notes.of(TASK.id).counts == {"served": 1}
    assert example.evidence == {}
    form = form_of(TASK)
    for like in (None, call("Rome"), "No."):
        assert form.write(example.task, example.answer, like) == "[]"
    assert form.parse(example.task, "[]") == example.answer
    with_number, _ = made(["What is 1 + 1?"], lambda asked, n: "#### 2", NUMBER, no_call=1.0)
    assert with_number[0].answer == Answer.of("2")


def test_a_share_of_the_examples_is_without_call() -> None:
    tasks = [make_sample(number).task for number in range(200)]
    engine = ScriptedEngine(script=lambda request: "{}")
    Evidence(no_call=0.3, attempts=1).generate(tasks, engine, 0)
    share = sum("nothing to do" in each.prompt.messages[-1].content for each in engine.asked) / 200
    assert 0.2 < share < 0.4


@pytest.mark.parametrize(
    ("form", "right", "wrong"),
    [
        ("number", "1 + 1 is 2.\n#### 2", "#### 3"),
        ("choice", '"yes"', "no"),
        ("text", "So the answer is ant bee.", "So the answer is bee."),
    ],
)
def test_other_forms_go_by_agreement_alone(form: str, right: str, wrong: str) -> None:
    task = Task("o/0", (), "Answer.", "What now?", form, ("yes", "no"))
    (example,), _ = made(["What then, my friend?"], lambda asked, n: right, task)
    assert example.answer == form_of(task).parse(task, right)
    assert "support" not in example.evidence
    assert made(["What then?"], lambda asked, n: wrong if n else right, task)[0] == []


@pytest.mark.parametrize("output", ["", "[]", '{"input": 3}', '{"input": "x', '{"input": ["a"]}'])
def test_hostile_outputs_are_no_requests(output: str) -> None:
    engine = ScriptedEngine(script=lambda request: output)
    assert Evidence(attempts=2).generate([TASK], engine, 0) == [[]]
    assert len(engine.asked) == 2


def test_an_example_is_read_again_from_its_text() -> None:
    for label in (
        lambda asked, n: call("Rome"),
        lambda asked, n: f"<think>{{}}</think>{call('Rome')}",
    ):
        (example,), _ = made(["Is it </think> raining in Rome"], label)
        again = find_object(example.text, ("input", "output"))
        assert again is not None
        assert again["input"] == example.task.input
        assert form_of(TASK).read(example.task, again["output"]) == example.answer


def test_draws_do_not_depend_on_the_wave() -> None:
    def script(request: Request) -> str:
        if request.grammar and "input" in request.grammar.get("properties", ()):
            return json.dumps({"input": f"Is it hot in Town{request.seed % 7}"})
        city = request.prompt.messages[-1].content.split()[-1]
        return call(city if request.seed % 3 else "Nowhere")

    tasks = [make_sample(number).task for number in range(6)]
    generator = Evidence(samples=3, support="lexical", agreement=0.6)
    together = generator.generate(tasks, ScriptedEngine(script=script), 1)
    alone = [generator.generate([task], ScriptedEngine(script=script), 1)[0] for task in tasks]
    assert together == alone
    assert any(together)


def test_the_prompts_ask_for_a_request_alone() -> None:
    for wish in (REQUEST, UNSERVED):
        system, ask = asking(TASK, "quoted", wish).messages
        assert system == asking(TASK, "quoted").messages[0]
        assert TASK.instruction in ask.content
        assert '{"input": "the new request"}' in ask.content
        first, ask = asking(TASK, "seed_first", wish).messages
        assert first == Message("system", TASK.instruction)
        assert "output" not in ask.content


words = st.lists(st.sampled_from("abcde"), max_size=8).map(" ".join)


@given(words, words)
def test_overlap_is_that_of_the_pairs_of_words(one: str, other: str) -> None:
    def pairs(text: str) -> set[str]:
        padded = ["^", *text.split(), "$"]
        return {f"{padded[i]}{padded[i + 1]}" for i in range(len(padded) - 1)}

    shared, whole = pairs(one) & pairs(other), pairs(one) | pairs(other)
    assert overlap(one, other) == overlap(other, one) == len(shared) / len(whole)
    assert overlap(one, f"{one.upper()}!") == 1.0
    assert is_copy(one, f"  {one.upper()} ")


def test_optional_arguments_without_support_are_no_training_data() -> None:
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string"}},
        "required": ["city"],
    }
    task = replace(TASK, tools=(Tool("get_weather", "", parameters),))
    calls = answer_with([ToolCall("get_weather", {"city": "Rome", "unit": "kelvin"})])
    text = json.dumps(calls.value)
    assert made(["Is it raining in Rome"], lambda asked, n: text, task)[0] == []
    assert len(made(["Is it raining in Rome, in kelvin"], lambda asked, n: text, task)[0]) == 1


def test_more_calls_at_least_than_at_most_are_refused() -> None:
    with pytest.raises(UsageError, match="At least 3 calls and at most 1"):
        Evidence(min_calls=3, max_calls=1)
