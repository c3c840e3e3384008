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
from ttsi_plugins.engines.transformers.decode import Row
from ttsi_plugins.engines.transformers.passes import Slots
from ttsi_plugins.engines.transformers.sampling import choose, likeliest, nucleus, penalised

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
    scores = penalised(torch.stack([logits, logits]), [seen[:2], seen], [1.0, penalty])
    assert torch.equal(scores[0], logits)
    values, ids = likeliest(scores, [Sampling.greedy(), sampling])[1]
    probabilities = nucleus(values, sampling)
    ours = torch.zeros(2000).index_put((ids[: len(probabilities)],), probabilities)
    torch.testing.assert_close(ours, expected[0].softmax(0), atol=1e-6, rtol=1e-5)
    assert all(a >= b for a, b in pairwise(probabilities.tolist()))


def test_ties_count_however_many_there_are() -> None:
    logits = torch.full((2, 5000), 1.0)
    logits[:, 700] = 2.0
    logits[1, 3:] = 0.5
    two = Sampling(top_k=2)
    (many, few) = [ids.tolist() for _, ids in likeliest(logits, [two, two])]
    assert many == [700, *(id for id in range(5000) if id != 700)]
    assert few == [0, 1, 2]
    assert [likeliest(logits, [Sampling.greedy()] * 2)[0][1].tolist()] == [[700]]


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log()
    plain = Sampling(1.0, 1.0, 0, 1.0)
    generator = torch.Generator().manual_seed(1)
    ((values, ids),) = likeliest(logits, [plain])
    draws = [choose(values, ids, plain, generator) for _ in range(4000)]
    for token, share in enumerate([0.1, 0.2, 0.3, 0.4]):
        spread = (4000 * share * (1 - share)) ** 0.5
        assert abs(draws.count(token) - 4000 * share) < 4 * spread


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
    wanted = requests(4, Sampling.greedy(NEW))
    expected = []
    for request in wanted:
        ids = torch.tensor([runtime.tokens.prompt(request.prompt)])
        with runtime.network.native() as model:
            out = model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW
            )
        expected.append(runtime.tokens.decode(out[0, ids.shape[1] :].tolist()))
    for size in (1, 3):
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
    monkeypatch.setattr(Slots, "step", lambda self, rows: sizes.append(rows) or step(self, rows))
    for most, slot_bytes, known, widest in (
        (3, 10**12, True, 3),
        (6, 10**12, True, 6),
        (6, 10**12, False, 5),
        (6, 0, False, 1),
    ):
        if not known:
            engine.forget()
        sizes.clear()
        rows = [runtime._row(request) for request in wanted]
        told: list[int] = []
        monkeypatch.setattr(runtime.decoder.room, "limit", slot_bytes)
        runtime.decoder.run(rows, most, told.append)
        assert runtime.decoder.room.limit == slot_bytes
        assert [runtime.tokens.decode(row.text) for row in rows] == alone
        assert max(sizes) == widest
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
