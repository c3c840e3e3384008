"""Decoding against transformers' own generate and logits processors."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
import torch
from engines import ask, real_tasks, shared_engine
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from ttsi.types import Generation, Prompt, Request, Sampling
from ttsi_plugins.engines.transformers.passes import Slots
from ttsi_plugins.engines.transformers.rows import Row
from ttsi_plugins.engines.transformers.sampling import (
    drawn,
    likeliest,
    nucleus,
    penalised,
    widest,
)

NEW = 12


@pytest.mark.parametrize("temperature", [0.7, 1.3])
@pytest.mark.parametrize("top_k", [0, 1, 20, 5000])
@pytest.mark.parametrize("top_p", [0.1, 0.8, 1.0])
@pytest.mark.parametrize("penalty", [1.0, 1.1])
def test_distribution_is_that_of_transformers(
    temperature: float, top_k: int, top_p: float, penalty: float
) -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(2000, generator=generator) * 3
    logits[7] = logits[11]
    logits[100:150] = -torch.inf
    seen = torch.tensor([3, 3, 7, 500, int(logits.argmax()), 120])
    expected = logits[None]
    processors = [RepetitionPenaltyLogitsProcessor(penalty), TemperatureLogitsWarper(temperature)]
    if top_k:
        processors.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        processors.append(TopPLogitsWarper(top_p))
    for processor in processors:
        expected = processor(seen[None], expected)
    sampling = Sampling(temperature, top_p, top_k, penalty)
    scores = penalised(torch.stack([logits, logits]), lambda: [seen[:2], seen], [1.0, penalty])
    assert torch.equal(scores[0], logits)
    if top_k:
        values, ids, cut = likeliest(scores, [Sampling(top_k=3), sampling])
        assert cut.tolist() == [False, False]
        probabilities = nucleus(values, [Sampling(top_k=3), sampling])[1]
        ours = torch.zeros(2000, dtype=torch.float64).index_put((ids[1],), probabilities)
        torch.testing.assert_close(ours.float(), expected[0].softmax(0), atol=1e-6, rtol=1e-5)
        assert all(a >= b for a, b in pairwise(probabilities.tolist()))
    # Numbers from 0 to 1 draw each token as often as its probability says.
    even = torch.arange(0.0005, 1, 0.001).tolist()
    draws = drawn(scores[1].expand(1000, -1), [sampling] * 1000, even)[0]
    shares = draws.bincount(minlength=2000) / 1000
    torch.testing.assert_close(shares, expected[0].softmax(0), atol=1.01e-3, rtol=0)
    whole = torch.stack([widest(scores[1], sampling, number) for number in even[::97]])
    assert torch.equal(whole, draws[::97])


def test_ties_count_however_many_there_are() -> None:
    logits = torch.full((2, 5000), 1.0)
    logits[:, 700] = 2.0
    logits[1, 3:] = 0.5
    two = Sampling(0.7, 1.0, 2, 1.0)
    tokens, cut = drawn(logits, [two] * 2, [0.999, 0.999])
    assert cut.tolist() == [True, False]
    assert int(tokens[1]) == 2
    # The last of 5,000: token 4999, as 700 comes first.
    assert int(widest(logits[0], two, 1 - 2**-53)) == 4999
    assert int(widest(logits[1], two, 0.999)) == 2
    assert drawn(logits, [Sampling.greedy()] * 2, [0, 0])[0].tolist() == [700, 0]


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log().expand(4000, -1)
    plain = [Sampling(1.0, 1.0, 0, 1.0)] * 4000
    numbers = torch.rand(4000, generator=torch.Generator().manual_seed(1)).tolist()
    draws = drawn(logits, plain, numbers)[0].tolist()
    for token, share in enumerate([0.1, 0.2, 0.3, 0.4]):
        spread = (4000 * share * (1 - share)) ** 0.5
        assert abs(draws.count(token) - 4000 * share) < 4 * spread


def test_the_ends_of_the_distribution_are_drawn() -> None:
    logits = torch.tensor([[0.5, 0.5, 0.0, 0.0]]).log().expand(2, -1)
    hot = [Sampling(0.7, 1.0, 0, 1.0)] * 2
    assert drawn(logits, hot, [0.0, 1 - 2**-53])[0].tolist() == [0, 1]


def requests(count: int, sampling: Sampling) -> list[Request]:
    prompts = [prompt for prompt, _ in real_tasks(2)][:count]
    assert len(prompts) == count
    return [Request(prompt, sampling, seed) for seed, prompt in enumerate(prompts)]


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_greedy_is_that_of_transformers_in_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = shared_engine()
    runtime = engine._runtime()
    wanted = requests(3, Sampling.greedy(NEW))
    expected = []
    for request in wanted:
        ids = torch.tensor([runtime.tokens.prompt(request.prompt)])
        with runtime.network.native() as model:
            out = model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW
            )
        expected.append(runtime.tokens.decode(out[0, ids.shape[1] :].tolist()))
    for size in (1, 2):
        monkeypatch.setattr(engine, "max_batch", size)
        engine.forget()
        assert [made.text for made in engine.generate(wanted)] == expected


@pytest.mark.model
@pytest.mark.slow
def test_a_draw_depends_on_its_seed_and_on_nothing_else() -> None:
    engine = shared_engine()
    wanted = requests(4, Sampling(max_tokens=NEW))
    together = engine.generate(wanted)
    alone = [engine.generate([request])[0] for request in wanted]
    backwards = engine.generate(wanted[::-1])[::-1]
    assert texts(together) == texts(alone) == texts(backwards)
    assert [made.logprob for made in together] == pytest.approx(
        [made.logprob for made in alone], abs=1e-2
    )
    attempts = [dataclasses.replace(wanted[0], seed=seed) for seed in (0, 1, 2, 0)]
    drawn = texts(engine.generate(attempts))
    assert drawn[0] == drawn[3] == together[0].text
    assert len(set(drawn)) == 3


def texts(generations: list[Generation]) -> list[str]:
    return [made.text for made in generations]


@pytest.mark.model
def test_logprob_is_the_models_own_whatever_the_sampling() -> None:
    runtime = shared_engine()._runtime()
    prompt = runtime.tokens.prompt(ask("Say yes."))
    hot = Sampling(temperature=1.5, top_p=0.9, top_k=50, repetition_penalty=1.3, max_tokens=8)
    grammar = runtime.grammars.matcher({"enum": ["yes", "no"]})
    rows = [
        Row(Request(ask("Say yes."), hot, 3), prompt),
        Row(Request(ask("Say yes."), hot, 4), prompt, grammar),
        Row(Request(ask("Say yes."), Sampling.greedy(30), 5), prompt),
    ]
    runtime.decoder.run(rows, 2)
    assert [row.finish for row in rows[1:]] == ["stop", "stop"]
    for row in rows:
        ids = row.prompt + row.text + [runtime.tokens.end] * (row.finish == "stop")
        with torch.no_grad(), runtime.network.native() as model:
            logits = model(input_ids=torch.tensor([ids])).logits[0].double()
        logprobs = logits.log_softmax(-1)
        own = [float(logprobs[i - 1, ids[i]]) for i in range(len(prompt), len(ids))]
        assert row.drawn == len(own)
        assert row.logprob == pytest.approx(sum(own), abs=1e-3)


@pytest.mark.model
def test_rows_enter_as_others_leave_within_rows_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = shared_engine()
    runtime = engine._runtime()
    tokens_of = [1, 6, 2, 5, 3, 4]
    wanted = [
        dataclasses.replace(request, sampling=Sampling.greedy(count))
        for request, count in zip(requests(6, Sampling()), tokens_of, strict=True)
    ]
    alone = [engine.generate([request])[0].text for request in wanted]
    sizes: list[int] = []
    step = Slots.step
    monkeypatch.setattr(
        Slots, "step", lambda self, rows: sizes.append(len(rows)) or step(self, rows)
    )
    for most, slot_bytes, known, most_rows in (
        (3, 10**12, True, 3),
        (6, 10**12, True, 6),
        (6, 10**12, False, 5),
        (6, 0, False, 1),
    ):
        if not known:
            engine.forget()
        sizes.clear()
        rows = [runtime._row(request) for request in wanted]
        for row in rows:
            row.drafter = None
        told: list[int] = []
        monkeypatch.setattr(runtime.decoder.room, "limit", slot_bytes)
        runtime.decoder.run(rows, most, told.append)
        assert runtime.decoder.room.limit == slot_bytes
        assert [runtime.tokens.decode(row.text) for row in rows] == alone
        assert max(sizes) == most_rows
        # Reading a prompt gives the first token; a cached prompt needs one more step for it.
        assert sum(sizes) == sum(count if known else count - 1 for count in tokens_of)
        assert sum(told) == 6


@pytest.mark.model
def test_text_leaves_the_opening_out_and_length_is_told() -> None:
    engine = shared_engine()
    prompt = Prompt(ask("Count from one to twenty.").messages, "One, two,")
    (made,) = engine.generate([Request(prompt, Sampling.greedy(3), 0)])
    assert not made.text.startswith("One")
    assert (made.finish, made.completion_tokens) == ("length", 3)
    tokens = engine._runtime().tokens
    assert made.prompt_tokens == len(tokens.prompt(prompt))
