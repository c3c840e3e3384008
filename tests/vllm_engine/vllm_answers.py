"""vLLM's answers and likelihoods are those of the transformers engine, base and adapted."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence

import jsonschema
import pytest
from cases import forced, greedy, margin, prompt, seal_tasks, trained

from ttsi.answers.calls.writing import calls_schema
from ttsi.types import Adapter, Generation, Request, Sampling, Task
from ttsi_plugins.engines.transformers import TransformersEngine
from ttsi_plugins.engines.vllm import VllmEngine

COUNT = 20
# Nats between two tokens that float32's rounding, over the layers, may turn round.
TIE = 1e-3
# Nats that a text's log-probability may differ by, for each of its tokens.
ROUNDING = 1e-4


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    return seal_tasks(COUNT)


@pytest.fixture(scope="module")
def adapters(engine: VllmEngine, tasks: list[Task]) -> list[Adapter]:
    """Trained by the engine under test; more than vLLM decodes with together."""
    assert engine.max_loras < COUNT
    return trained(engine, tasks)


@pytest.fixture(scope="module")
def base(oracle: TransformersEngine, tasks: list[Task]) -> list[Generation]:
    return oracle.generate([greedy(task) for task in tasks])


def assert_equal(
    oracle: TransformersEngine,
    requests: Sequence[Request],
    expected: Sequence[Generation],
    found: Sequence[Generation],
) -> None:
    """`found` is `expected`, the oracle's own answers, but for ties."""
    for request, ours, theirs in zip(requests, expected, found, strict=True):
        assert theirs.prompt_tokens == ours.prompt_tokens
        if theirs.text == ours.text and theirs.finish == ours.finish:
            assert theirs.completion_tokens == ours.completion_tokens
            assert abs(theirs.logprob - ours.logprob) < ROUNDING * ours.completion_tokens
            for mine, other in zip(ours.tokens, theirs.tokens, strict=True):
                assert mine.text == other.text
                assert abs(mine.logprob - other.logprob) < 10 * ROUNDING
        else:
            gap = margin(oracle, request, ours, theirs)
            print(f"a tie within {gap:.1e} nats: {ours.text!r}, {theirs.text!r}")
            assert 0 <= gap < TIE


def test_base_answers_are_equal(
    engine: VllmEngine, oracle: TransformersEngine, tasks: list[Task], base: list[Generation]
) -> None:
    requests = [greedy(task) for task in tasks]
    assert_equal(oracle, requests, base, engine.generate(requests))


def test_adapted_answers_are_equal_and_not_the_base_models(
    engine: VllmEngine,
    oracle: TransformersEngine,
    tasks: list[Task],
    adapters: list[Adapter],
    base: list[Generation],
) -> None:
    requests = [greedy(task, adapter) for task, adapter in zip(tasks, adapters, strict=True)]
    expected = oracle.generate(requests)
    assert_equal(oracle, requests, expected, engine.generate(requests))
    changed = sum(one.text != other.text for one, other in zip(expected, base, strict=True))
    print(f"{changed} of {COUNT} answers are changed by their adapters")
    assert changed > COUNT / 2


def test_base_and_adapted_requests_share_a_call(
    engine: VllmEngine, oracle: TransformersEngine, tasks: list[Task], adapters: list[Adapter]
) -> None:
    """Two of them under one adapter, and two prompts under several."""
    mixed = [
        greedy(tasks[0], adapters[0]),
        greedy(tasks[0]),
        greedy(tasks[1], adapters[0]),
        greedy(tasks[1], adapters[2]),
    ]
    assert_equal(oracle, mixed, oracle.generate(mixed), engine.generate(mixed))


def test_an_adapter_changes_likelihoods_as_it_does_in_the_transformers_engine(
    engine: VllmEngine, oracle: TransformersEngine, tasks: list[Task], adapters: list[Adapter]
) -> None:
    """Of one text, whatever each would rather say."""
    base = [forced(task, "It is a fine day.") for task in tasks[:3]]
    adapted = [
        dataclasses.replace(asked, adapter=adapter)
        for asked, adapter in zip(base, adapters, strict=False)
    ]
    changes = []
    for made in (engine.generate(base + adapted), oracle.generate(base + adapted)):
        assert {json.loads(each.text) for each in made} == {"It is a fine day."}
        pairs = zip(made[: len(base)], made[len(base) :], strict=True)
        changes.append([after.logprob - before.logprob for before, after in pairs])
    for theirs, ours in zip(*changes, strict=True):
        assert abs(theirs - ours) < 1e-2
    print(f"changes of a log-probability: {[round(each, 3) for each in changes[1]]}")
    assert max(map(abs, changes[1])) > 0.1


def test_constrained_answers_are_valid_and_equal(
    engine: VllmEngine, oracle: TransformersEngine, tasks: list[Task]
) -> None:
    """One call valid for the tools on offer; the same grammar in both engines."""
    some = tasks[:3]
    schemas = [calls_schema(task.tools, least=1, most=1) for task in some]
    sampling = Sampling.greedy(max_tokens=72)
    requests = [
        Request(prompt(task), sampling, seed=0, grammar=schema)
        for task, schema in zip(some, schemas, strict=True)
    ]
    found = engine.generate(requests)
    whole = 0
    for answer, schema in zip(found, schemas, strict=True):
        if answer.finish == "stop":
            jsonschema.validate(json.loads(answer.text), schema)
            whole += 1
    assert whole
    assert_equal(oracle, requests, oracle.generate(requests), found)


def test_likelihoods_are_the_transformers_engines(
    engine: VllmEngine, oracle: TransformersEngine, tasks: list[Task]
) -> None:
    prompts = [prompt(task, '[{"name": "') for task in tasks[:4]]
    names = [[f'{name}"' for name in task.tool_names] for task in tasks[:4]]
    made = [each.loglikelihoods(prompts, names) for each in (engine, oracle)]
    for theirs, ours in zip(*map(itertools.chain.from_iterable, made), strict=True):
        assert theirs.tokens == ours.tokens
        assert abs(theirs.logprob - ours.logprob) < ROUNDING * ours.tokens
    assert engine.digest() == oracle.digest()
