"""Guesses: what they are taken from, and that no text depends on them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch
from engines import ask, real_tasks, shared_engine
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import EvenTokens, tiny_llama

from ttsi.types import (
    Generation,
    LoraRecipe,
    Message,
    Prompt,
    Request,
    Sampling,
)
from ttsi_plugins.engines.transformers import drafts
from ttsi_plugins.engines.transformers.bank import Bank
from ttsi_plugins.engines.transformers.carrying import reader
from ttsi_plugins.engines.transformers.decode import Decoder
from ttsi_plugins.engines.transformers.drafts import (
    EARLIER,
    GRAMMAR,
    MOST,
    Answers,
    Drafter,
    Places,
)
from ttsi_plugins.engines.transformers.passes import Network
from ttsi_plugins.engines.transformers.rows import Row
from ttsi_plugins.engines.transformers.sight import Look, Part, attention, partial
from ttsi_plugins.engines.transformers.spread import Run, Spread, Step

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"enum": ["Rome", "Paris"]},
        "unit": {"const": "celsius"},
        "days": {"type": "integer"},
    },
    "required": ["city", "unit", "days"],
    "additionalProperties": False,
}


# ---------------------------------------------------------------- sources


def test_the_last_place_is_followed_and_longer_matches_go_first() -> None:
    places = Places([1, 2, 3, 4, 9, 2, 3, 5, 6])
    assert places.follow([1, 2, 3])[1] == [4, 9, 2, 3, 5, 6]
    assert places.follow([2, 3])[1] == [5, 6]
    assert places.follow([2, 3], near=0)[1] == [4, 9, 2, 3, 5, 6]
    assert places.follow([2, 3], near=4)[1] == [5, 6]
    assert places.follow([2, 3], near=9)[1] == [5, 6]
    assert places.follow([5, 6])[1] == []
    assert places.follow([3])[1] == []


def drafter(answers: Answers, prompt: list[int]) -> Drafter:
    return Drafter(prompt, "question", answers, lambda text: [], str)


def test_an_earlier_answer_is_followed_from_its_beginning_and_after_a_difference() -> None:
    answers = Answers()
    answers.add("question", [1, 2, 3, 4])
    row = drafter(answers, [90, 91, 92])
    assert row.guess([], 10, None) == [1, 2, 3, 4]
    row.learn(2)
    assert row.guess([1, 2, 7], 10, None) == []
    assert row.guess([1, 2, 7, 2, 3], 10, None) == [4]
    assert drafter(Answers(), [90, 91, 92]).guess([], 10, None) == []
    assert answers.guessed == {EARLIER: 4}
    assert answers.right == {EARLIER: 2}


def test_a_prompt_is_repeated_within_the_room() -> None:
    row = drafter(Answers(), [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 5, 6])
    assert row.guess([], 2, None) == [7, 8]
    assert row.guess([7], 3, None) == [8, 9, 10]
    assert row.guess([7], 0, None) == []


def test_the_words_behind_a_word_of_the_question_are_guessed() -> None:
    spelled = {5: " New", 6: " York", 7: " City", 8: "New", 9: '"', 10: " a"}
    row = Drafter([10, 5, 6, 7], "q", Answers(), lambda text: [], spelled.__getitem__)
    assert row.guess([9, 8], 8, None) == [6, 7]
    # Of a sign or a single letter nothing follows.
    assert row.guess([8, 10], 8, None) == []


def test_a_source_that_fails_is_left_alone_and_one_that_succeeds_guesses_more() -> None:
    prompt = [*range(100, 150), 100, 101, 102]
    answers = Answers()
    row = drafter(answers, prompt)
    first = len(row.guess([], 100, None))
    assert 0 < first < MOST
    for _ in range(30):
        row.learn(len(row.guess([], 100, None)))
    assert len(row.guess([], 100, None)) > first
    assert len(drafter(answers, prompt).guess([], 100, None)) > first
    for _ in range(60):
        row.guess([], 100, None)
        row.learn(0)
    assert row.guess([], 100, None) == []
    # Another row tries it again.
    assert len(drafter(answers, prompt).guess([], 100, None)) >= 1


def test_an_end_is_never_guessed() -> None:
    answers = Answers()
    answers.add("q", [4, 5, 0, 6])
    row = Drafter([7, 8, 4, 5, 0], "q", answers, lambda text: [], str, ends=[0])
    assert row.guess([], 9, None) == [4, 5]
    assert row.guess([4, 5], 9, None) == []


def test_answers_are_bounded_by_their_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "_TOKENS", 2 * drafts._size([0] * 4))
    answers = Answers()
    for question in range(5):
        answers.add(question, [question] * 4)
        answers.add(question, [question] * 4)
    assert [len(answers.to(question)) for question in range(5)] == [0, 0, 0, 1, 1]
    answers.clear()
    answers.add(9, [1, 2, 3])
    assert len(answers.to(9)) == 1


def test_the_latest_answer_goes_first() -> None:
    answers = Answers()
    for text in ([1, 2], [1, 3], [1, 2]):
        answers.add("question", text)
    assert drafter(answers, [90, 91, 92]).guess([], 2, None) == [1, 2]
    answers.add("question", [1, 3])
    assert drafter(answers, [90, 91, 92]).guess([], 2, None) == [1, 3]


@pytest.mark.model
def test_an_answer_that_a_demonstration_ends_with_is_written_under_a_grammar() -> None:
    engine = shared_engine()
    chat = ask("Say it.").messages
    turns = (*chat, Message("assistant", '"ab"'), *chat[-1:])
    (made,) = engine.generate(
        [Request(Prompt(turns), Sampling.greedy(8), 0, grammar={"const": "ab"})]
    )
    assert (made.text, made.finish) == ('"ab"', "stop")


@pytest.mark.model
@pytest.mark.parametrize("values", [["é1", "è1"], ["дом", "день"], ["東京", "東北"]])
def test_values_that_share_the_first_bytes_of_a_character_are_written(values: list[str]) -> None:
    (made,) = shared_engine().generate(
        [Request(ask("Say one."), Sampling.greedy(24), 0, grammar={"enum": values})]
    )
    assert json.loads(made.text) in values


@pytest.mark.model
def test_what_the_grammar_forces_is_guessed_and_nothing_that_it_forbids() -> None:
    runtime = shared_engine()._runtime()
    matcher = runtime.grammars.matcher(SCHEMA)
    answers = Answers()
    row = Drafter([1, 2, 3], "q", answers, runtime.tokens.text, str)
    draft = row.guess([], 8, matcher)
    assert runtime.tokens.decode(draft).startswith('{"city": "')
    answers.add("q", runtime.tokens.text("No city at all"))
    assert Drafter([1, 2, 3], "q", answers, lambda text: [], str).guess([], 8, matcher) == []
    # The grammar is where it was.
    for token in draft:
        matcher.accept(token)


# ---------------------------------------------------------------- texts


def answers_to(requests: list[Request], *, guessing: bool) -> list[Generation]:
    runtime = shared_engine()._runtime()
    rows = [runtime._row(request) for request in requests]
    if not guessing:
        for row in rows:
            row.drafter = None
    runtime.decoder.run(rows, 3)
    return [runtime._generation(row) for row in rows]


def same(some: list[Generation], others: list[Generation]) -> None:
    assert [made.text for made in some] == [made.text for made in others]
    for one, other in zip(some, others, strict=True):
        assert (one.finish, one.completion_tokens) == (other.finish, other.completion_tokens)
        assert one.logprob == pytest.approx(other.logprob, abs=2e-3)


KINDS = {
    "greedy": Sampling.greedy(24),
    "hot": Sampling(0.7, 0.8, 20, 1.0, 24),
    "penalised": Sampling(0.7, 0.8, 20, 1.2, 24),
    "all tokens": Sampling(0.7, 1.0, 0, 1.0, 24),
}


@pytest.mark.parametrize("under", [False, True], ids=["free", "under a grammar"])
@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_a_tiny_model_are_those_without_guesses(kind: str, under: bool) -> None:
    """Rows of one prompt, of several, and under two adapters, of which some wait for others."""
    network = Network(tiny_llama())
    bank = Bank(network.model, "tiny")
    stack = bank.fresh([(LoraRecipe(rank=2), seed) for seed in range(2)])
    stack.flat.normal_(std=0.05, generator=torch.Generator().manual_seed(7))
    adapters = [bank.adapter(stack, row, LoraRecipe(rank=2)) for row in range(2)]
    long, short = [*range(5, 140), *range(5, 90)], [9, 8, 7]
    asked = [(long, None)] * 4 + [(short, adapters[0]), (long, adapters[1]), (short, None)]
    answers = Answers()

    def written(guessing: bool) -> list[Row]:
        decoder = Decoder(reader(network, 2**20, 2**20), bank, [0], 2**30, 1)
        rows = []
        for seed, (prompt, adapter) in enumerate(asked):
            request = Request(Prompt(()), KINDS[kind], seed, adapter)
            guesses = Drafter(prompt, seed, answers, lambda text: [], str, ends=[0])
            grammar: Any = EvenTokens() if under else None
            rows.append(Row(request, prompt, grammar, drafter=guesses if guessing else None))
        decoder.run(rows, 3)
        return rows

    without = written(guessing=False)
    assert len({tuple(row.text) for row in without}) > 2
    for _ in range(2):
        for ours, theirs in zip(written(guessing=True), without, strict=True):
            assert (ours.text, ours.finish) == (theirs.text, theirs.finish)
            assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)
    assert answers.right[EARLIER] > 0


@pytest.mark.model
def test_texts_are_those_without_guesses() -> None:
    engine = shared_engine()
    texts = [ask("Repeat this: alpha beta gamma alpha beta gamma"), real_tasks(2)[0][0]]
    wanted = [
        Request(prompt, KINDS["penalised"], seed, grammar=schema)
        for schema in (None, SCHEMA)
        for seed, prompt in enumerate([*texts, texts[0]])
    ]
    engine.forget()
    without = answers_to(wanted, guessing=False)
    # The second time there are earlier answers.
    for _ in range(2):
        same(answers_to(wanted, guessing=True), without)
    counts = engine._runtime().answers
    assert counts.right[EARLIER] > 0
    assert counts.right[GRAMMAR] > 0


@pytest.mark.model
def test_an_answer_with_demonstrations_is_guessed_from_the_one_without() -> None:
    engine = shared_engine()
    engine.forget()
    question = ask("Count: one two three four five six seven eight nine ten.").messages
    shown = (question[0], *ask("Count: one two.").messages[-1:], *question[1:])
    engine.generate([Request(Prompt(question), Sampling.greedy(12), 0)])
    before = engine._runtime().answers.guessed[EARLIER]
    engine.generate([Request(Prompt(shown), Sampling.greedy(12), 0)])
    assert engine._runtime().answers.guessed[EARLIER] > before


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize("bases", [[0, 0, 0, 0], [3, 0, 3, 0]])
def test_rows_of_one_width_attend_as_padded_ones_do(bases: list[int]) -> None:
    generator = torch.Generator().manual_seed(5)
    widths, lengths = [2, 1, 1, 3], [4, 6, 2, 0]
    q = torch.randn(7, 6, 1, 8, generator=generator)
    keys, values = (torch.randn(4, 2, 9, 8, generator=generator) for _ in range(2))
    look = Look(0.4, sinks=torch.randn(6, generator=generator))
    by_run = Step(widths, lengths, bases, torch.device("cpu"))
    padded = Step(widths, lengths, bases, torch.device("cpu"))
    padded._pads, padded._runs = True, [Run(0, 4, 3, 0, 7)]
    ours, theirs = (step.attend(q, keys, values, look) for step in (by_run, padded))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    for one, other in zip(
        dataclasses.astuple(by_run.part(q, keys, values, look)),
        dataclasses.astuple(padded.part(q, keys, values, look)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_a_line_and_its_table_hold_the_same(widths: list[int]) -> None:
    spread = Spread(widths, torch.device("cpu"))
    line = torch.arange(sum(widths))
    table = spread.padded(line).view(len(widths), -1)
    assert torch.equal(spread.flat(table.flatten()), line)
    parts = line.split(widths)
    for row, part in zip(table, parts, strict=True):
        assert torch.equal(row[: len(part)], part)
        assert (row[len(part) :] == part[-1]).all()


def test_a_step_writes_behind_what_slots_hold() -> None:
    step = Step([2, 1], [5, 0, 9], [0, 7, 0], torch.device("cpu"))
    assert step.owners.tolist() == [0, 0, 1]
    assert step.places.tolist() == [5, 6, 0]
    assert step.positions.tolist() == [5, 6, 7]
    assert step.slots == [0, 0, 1]


# ---------------------------------------------------------------- common prompts


@pytest.mark.model
def test_rows_of_one_prompt_write_what_they_write_alone() -> None:
    engine = shared_engine()
    prompt = real_tasks(2)[0][0]
    wanted = [Request(prompt, Sampling(0.7, 0.8, 20, 1.0, 10), seed) for seed in range(4)]
    alone = [answers_to([request], guessing=False)[0] for request in wanted]
    assert len({made.text for made in alone}) > 2
    # Read together, and then from the cache, where the last token of a prompt is not.
    engine.forget()
    for guessing in (False, True):
        same(answers_to(wanted, guessing=guessing), alone)


@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("sinks", [False, True])
def test_parts_of_attention_join_to_the_whole(softcap: float | None, sinks: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(3, 4, n, 8, generator=generator) for n in (2, 9, 9))
    k[1:, :, :5], v[1:, :, :5] = k[:1, :, :5], v[:1, :, :5]
    weights = torch.randn(4, 1, 1, generator=generator) if sinks else None
    look = Look(0.3, softcap=softcap, sinks=weights)
    mask = torch.zeros(3, 1, 2, 9)
    mask[:, :, 0, 8] = -torch.inf
    whole = attention(q, k, v, look, mask)
    own = partial(q[:1], k[:1], v[:1], look, mask[:1])
    rest = partial(q[1:], k[1:, :, 5:], v[1:, :, 5:], look, mask[1:, :, :, 5:])
    part = Part(torch.cat([own.out, rest.out]), torch.cat([own.log_sum, rest.log_sum]))
    common = partial(q[1:], k[1:, :, :5], v[1:, :, :5], look)
    part.join(torch.tensor([1, 2]), common)
    ours = part.weighed(look)
    torch.testing.assert_close(ours, whole, atol=1e-5, rtol=1e-5)
