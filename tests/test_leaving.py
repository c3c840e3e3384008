"""Texts that end before their length: at a stop, or because nobody waits for them any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from engines import shared_engine

import ttsi_fakes
from ttsi.answers.completions import read_completion
from ttsi.solving import assemble
from ttsi.solving.solution import Known, Solution
from ttsi.solving.solver import solvable
from ttsi.solving.waiting import LATE, LEFT
from ttsi.types import Asked, Estimate, Generation, Message, Prompt, Request, Sampling, Task

SPEC: dict[str, Any] = {
    "model": {"id": "scripted"},
    "engine": "ttsi-fakes/scripted",
    "estimator": "always",
    "inference": {"name": "direct", "decoding": "greedy"},
}
TASKS = [ttsi_fakes.make_sample(number).task for number in range(4)]


class Company:
    """Some who leave or run out of time once the base model has answered."""

    def __init__(self, leaving: Sequence[str] = (), late: Sequence[str] = ()) -> None:
        self._leaving, self._late = leaving, late
        self.told: dict[str, Solution] = {}

    def left(self, id: str) -> bool:
        return id in self._leaving and id in self.told

    def late(self, id: str) -> bool:
        return id in self._late and id in self.told

    def answered(self, solution: Solution) -> None:
        self.told[solution.task.id] = solution


def solved(company: Company, known: Any = None) -> dict[str, Solution]:
    spec = solvable(SPEC)
    pipeline = assemble.pipeline(spec, assemble.Engines(keep=False), seed=0, waiting=company)
    found = {each.task.id: each for each in pipeline.solve(TASKS, known)}
    pipeline.close()
    return found


def test_who_leaves_costs_no_more_and_who_is_late_gets_the_base_models_answer() -> None:
    ids = [task.id for task in TASKS]
    alone = solved(Company())
    company = Company(leaving=ids[:1], late=ids[1:2])
    found = solved(company)
    assert found[ids[0]].error == LEFT
    assert found[ids[0]].answer is None
    late = found[ids[1]]
    assert (late.adapted, late.note) == (None, LATE)
    assert late.base == alone[ids[1]].base
    for id in ids[2:]:
        assert found[id].adapted == alone[id].adapted
        assert found[id].adapted is not None
    for id, told in company.told.items():
        assert told.base == alone[id].base


def test_a_task_that_is_known_to_be_certain_is_neither_estimated_nor_adapted_to() -> None:
    known = Known(Estimate(1.0, False), None, {})
    found = solved(Company(), dict.fromkeys([TASKS[0].id], known))
    assert found[TASKS[0].id].adapted is None
    assert set(found[TASKS[0].id].costs) == {"answer"}


# ---------------------------------------------------------------- the engine


def counting(**asked: Any) -> Request:
    messages = (Message("user", "Count: one, two, three, four, five, six, seven."),)
    return Request(Prompt(messages), Sampling.greedy(40), 0, **asked)


@pytest.mark.model
def test_a_text_ends_at_a_stop_and_is_the_beginning_of_the_whole() -> None:
    engine = shared_engine()
    (whole,) = engine.generate([counting()])
    stop = whole.text[12:15]
    (made, other) = engine.generate([counting(stop=("never there", stop)), counting()])
    assert other.text == whole.text
    assert whole.text.startswith(made.text)
    assert stop in made.text
    assert made.completion_tokens < whole.completion_tokens
    task = Task("t", (), "", "Count", "text", asked=Asked(stop=(stop,), tokens=True))
    read = read_completion(task, made)
    assert read.text == whole.text[: whole.text.index(stop)]
    assert not read.cut
    assert read.tokens == made.tokens


@pytest.fixture
def leaving() -> Iterator[list[str]]:
    """Yield the owners who leave, at their third token."""
    seen: list[str] = []
    owners: list[str] = []

    def left(owner: str) -> bool:
        seen.append(owner)
        return owner in owners and seen.count(owner) > 2

    engine = shared_engine()
    engine.left = left
    yield owners
    engine.left = None


@pytest.mark.model
def test_a_row_whose_owner_leaves_is_freed_at_the_next_token(leaving: list[str]) -> None:
    leaving.append("gone")
    gone, here = shared_engine().generate([counting(owner="gone"), counting(owner="here")])
    assert gone.completion_tokens == 3
    assert gone.finish == "length"
    assert here.completion_tokens > 3
    assert here.text.startswith(gone.text)


@pytest.mark.model
def test_a_prompt_without_messages_is_a_plain_text() -> None:
    tokens = shared_engine()._runtime().tokens
    assert tokens.prompt(Prompt((), "The capital of")) == tokens.tokenizer.encode("The capital of")


def test_what_a_task_wants_is_what_is_asked_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    from ttsi_plugins.inference.best_of import BestOf
    from ttsi_plugins.inference.direct import Direct

    wanted = Asked(temperature=0.3, top_p=0.5, max_tokens=7, stop=("x",), constrained=True, most=1)
    task = replace(TASKS[0], asked=wanted)
    (request,) = Direct().asked([task], [None], 0)
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0.3, 0.5, 7)
    assert (request.stop, request.owner) == (("x",), task.id)
    assert request.grammar is not None
    assert (request.grammar["minItems"], request.grammar["maxItems"]) == (1, 1)
    schema = {"type": "object"}
    (request,) = Direct().asked([replace(task, asked=Asked(schema=schema))], [None], 0)
    assert request.grammar == schema

    seen: list[Request] = []

    class Engine:
        def generate(self, requests: Sequence[Request]) -> list[Generation]:
            seen.extend(requests)
            return [Generation("[]", 1, 1, 0.0, "stop") for _ in requests]

    BestOf(samples=2).answer([task], [None], Engine(), 0)  # type: ignore[arg-type]
    assert [each.sampling.max_tokens for each in seen] == [7, 7]
    # Votes that are all drawn greedily would be one vote.
    assert [each.sampling.temperature for each in seen] == [0.0, 0.7]
