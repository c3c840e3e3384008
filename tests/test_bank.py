"""A bank of adapters against each adapter alone, in training and merged into the weights."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import pytest
import safetensors.torch
import torch
from banks import LOUD, MODELS, assert_same, bench, ids, job, logits, under, unlike_jobs
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ttsi.types import Adapter, LoraRecipe
from ttsi_plugins.engines.transformers import lora, training
from ttsi_plugins.engines.transformers.bank import Bank
from ttsi_plugins.engines.transformers.pairs import Pair, TokenJob
from ttsi_plugins.engines.transformers.passes import Network, Row, Rows
from ttsi_plugins.engines.transformers.training import fit, groups

# ---------------------------------------------------------------- training


@pytest.mark.parametrize("kind", MODELS)
def test_a_bank_is_its_adapters_one_by_one(kind: str) -> None:
    network, bank = bench(kind)
    jobs = unlike_jobs()
    alone = [fit(network, bank, [each])[0] for each in jobs]
    assert_same(fit(network, bank, jobs), alone)
    assert_same(fit(network, bank, jobs[::-1]), alone[::-1])
    assert_same(fit(network, bank, jobs[1:3]), alone[1:3])
    assert len({adapter.digest for adapter in alone}) == len(jobs)


lengths = st.tuples(st.integers(1, 12), st.integers(1, 6))
recipes = st.builds(
    LoraRecipe,
    rank=st.integers(1, 3),
    epochs=st.integers(1, 3),
    learning_rate=st.sampled_from([0.0, 1e-2]),
    warmup_ratio=st.sampled_from([0.0, 0.03, 0.5]),
    max_grad_norm=st.sampled_from([0.0, 0.1, 1e6]),
    weight_decay=st.sampled_from([0.0, 0.1]),
)
unlike = st.lists(
    st.builds(job, st.integers(0, 99), st.lists(lengths, min_size=1, max_size=3), recipes),
    min_size=2,
    max_size=4,
)


@settings(max_examples=15, deadline=None)
@given(jobs=unlike)
def test_whatever_the_adapters_of_a_bank_are(jobs: list[TokenJob]) -> None:
    network, bank = small()
    assert_same(fit(network, bank, jobs), [fit(network, bank, [each])[0] for each in jobs])


@functools.cache
def small() -> tuple[Network, Bank]:
    return bench("llama")


def one_mean_over_all_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    right = training.losses

    def wrong(network: Network, pairs: Sequence[Pair]) -> list[Tensor]:
        counts = [len(pair.target) for pair in pairs]
        parts = zip(right(network, pairs), counts, strict=True)
        return [loss * count * len(counts) / sum(counts) for loss, count in parts]

    monkeypatch.setattr(training, "losses", wrong)


def zero_gradients_for_the_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch.optim.AdamW.step

    def wrong(self: torch.optim.AdamW) -> None:
        for group in self.param_groups:
            for weights in group["params"]:
                weights.grad = torch.zeros_like(weights) if weights.grad is None else weights.grad
        right(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", wrong)


@pytest.mark.parametrize("mistake", [one_mean_over_all_tokens, zero_gradients_for_the_finished])
def test_the_comparison_sees_mistakes(mistake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network, bank = bench("llama")
    jobs = unlike_jobs()
    alone = [fit(network, bank, [each])[0] for each in jobs]
    mistake(monkeypatch)
    wrong = fit(network, bank, jobs)
    with pytest.raises(AssertionError):
        assert_same(wrong, alone)


def test_what_pads_a_smaller_rank_stays_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    network, bank = bench("llama", torch.float32)
    kept: list[Any] = []
    monkeypatch.setattr(bank, "keep", lambda stack, adapters: kept.append(stack))
    narrow = dataclasses.replace(LOUD, rank=1, weight_decay=0.1)
    fit(network, bank, [job(1, [(5, 4)], narrow), job(2, [(5, 4)])])
    (stack,) = kept
    assert stack.flat.shape == (2, bank.parameters(2))
    for a, b in stack.split(stack.flat):
        assert not a[0, 1:].any()
        assert not b[0, :, 1:].any()
        assert a[0, 0].all()
        assert b.abs().sum((1, 2)).all()


def test_dropout_is_the_lessons_own() -> None:
    network, bank = bench("llama")
    wet = dataclasses.replace(LOUD, dropout=0.5)
    jobs = [
        job(1, [(4, 3)], wet),
        job(2, [(17, 2)], dataclasses.replace(wet, dropout=0.2)),
        job(3, [(6, 3), (9, 2)]),
    ]
    state = torch.random.get_rng_state()
    alone = [fit(network, bank, [each])[0] for each in jobs]
    assert_same(fit(network, bank, jobs), alone)
    assert torch.equal(torch.random.get_rng_state(), state)
    dry = fit(network, bank, [dataclasses.replace(jobs[0], recipe=LOUD)])[0]
    reseeded = fit(network, bank, [dataclasses.replace(jobs[0], seed=7)])[0]
    assert len({dry.digest, alone[0].digest, reseeded.digest}) == 3


def test_a_step_at_rate_zero_shares_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    network, bank = bench("llama")
    sizes: list[int] = []
    run = network.run
    monkeypatch.setattr(network, "run", lambda *given: sizes.append(len(given[0])) or run(*given))
    # The second has another pair in its second step; the third does not warm up.
    jobs = [
        job(1, [(5, 3)]),
        job(2, [(5, 3), (5, 3)]),
        job(3, [(5, 3)], dataclasses.replace(LOUD, warmup_ratio=0.0)),
    ]
    shared = fit(network, bank, jobs)
    assert sizes == [3, 2, 3, 1, 1, 1]
    monkeypatch.setattr(training._GroupTraining, "_repeats", lambda *given: False)
    assert_same(fit(network, bank, jobs), shared)
    assert sizes[6:] == [3, 3, 3, 1, 1, 1]


@given(
    widths=st.lists(st.integers(0, 50), max_size=12),
    budget=st.integers(1, 200),
)
def test_groups_fit_the_budget(widths: list[int], budget: int) -> None:
    found = groups(widths, budget)
    assert sorted(index for group in found for index in group) == list(range(len(widths)))
    for group in found:
        used, room = sum(widths[index] for index in group), len(group) * widths[group[0]]
        assert widths[group[0]] == max(widths[index] for index in group)
        assert len(group) == 1 or room <= budget
        assert used >= 0.8 * room - 1e-9
    assert groups([5, 4, 5, 1], 15) == [[0, 2, 1], [3]]


def test_a_past_has_the_tokens_before_the_start() -> None:
    with pytest.raises(ValueError, match="past of 0 tokens"):
        Pair([1, 2, 3], [4], start=1)
    with pytest.raises(ValueError, match="nothing to learn"):
        Pair([1, 2, 3], [])


# ---------------------------------------------------------------- residents and rows


@functools.cache
def merged() -> tuple[list[Adapter | None], Tensor, Tensor]:
    """Return no adapter and five, a text, and its logits [6, T, V] with each merged."""
    network, bank = bench("llama", torch.float32)
    ranks = [1, 2, 3, 2, 1]
    recipes = [dataclasses.replace(LOUD, rank=rank, alpha=3.0 + rank) for rank in ranks]
    jobs = [job(seed, [(6, 4)], recipe) for seed, recipe in enumerate(recipes)]
    adapters: list[Adapter | None] = [None, *fit(network, bank, jobs)]
    bank.close()
    network.close()
    text = torch.tensor([ids(9, 11)])
    found = []
    for adapter in adapters:
        model = copy.deepcopy(network.model)
        if adapter is not None:
            tensors = safetensors.torch.load(adapter.safetensors)
            scale = adapter.config["lora_alpha"] / adapter.config["r"]
            for name in {key.rsplit(".", 2)[0] for key in tensors}:
                weight = model.get_submodule(name.removeprefix("base_model.model.")).weight
                update = tensors[f"{name}.lora_B.weight"] @ tensors[f"{name}.lora_A.weight"]
                weight.data += scale * update
        own = Network(model)
        plan, read = Rows([Row(text.shape[1])]), torch.arange(text.shape[1])
        with torch.no_grad():
            found.append(own.run(text, torch.arange(text.shape[1])[None], plan, read))
    return adapters, text, torch.stack(found)


@settings(max_examples=40, deadline=None)
@given(passes=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=5), max_size=6))
def test_each_row_answers_under_its_own_adapter(passes: list[list[int]]) -> None:
    adapters, text, expected = merged()
    network, bank = bench("llama", torch.float32)
    for rows in passes:
        found = logits(network, bank, [adapters[row] for row in rows], text.expand(len(rows), -1))
        torch.testing.assert_close(found, expected[rows], rtol=1e-4, atol=1e-5)
        distinct = {row for row in rows if row}
        assert len(bank._held) <= max(len({row for row in each if row}) for each in passes)
        assert distinct <= {adapters.index(held) for held in bank._held.values()}
    bank.close()


def test_the_merged_weights_differ() -> None:
    _, _, expected = merged()
    for one in range(6):
        for other in range(one):
            assert (expected[one] - expected[other]).abs().max() > 1e-2


def test_residents_are_not_copied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    network, bank = bench("llama", torch.float32)
    first, second, third = fit(network, bank, [job(seed, [(5, 3)]) for seed in (1, 2, 3)])
    unpacked: list[bytes] = []
    unpack = lora.unpack
    monkeypatch.setattr(
        lora, "unpack", lambda data, *more: unpacked.append(data) or unpack(data, *more)
    )
    # What has been trained is resident; so is what has the same bytes.
    again = dataclasses.replace(first)
    slots = bank.load([first, second, third, again])
    assert sorted(set(slots)) == [0, 1, 2]
    assert slots[0] == slots[3]
    assert not unpacked
    bank.clear()
    assert bank.load([first, second]) == [0, 1]
    assert bank.load([second, first]) == [1, 0]
    assert len(unpacked) == 2
    # The first was asked for last, so the second gives way.
    assert bank.load([third]) == [1]
    assert bank.load([first]) == [0]
    assert len(unpacked) == 3


def test_the_same_weights_at_another_scale_are_another_adapter() -> None:
    network, bank = bench("llama", torch.float32)
    (one,) = fit(network, bank, [job(1, [(5, 3)])])
    silent = dataclasses.replace(one, config={**one.config, "lora_alpha": 0})
    assert silent.digest == one.digest
    text = torch.tensor([ids(9, 7)] * 3)
    base, quiet, loud = logits(network, bank, [None, silent, one], text)
    torch.testing.assert_close(quiet, base, rtol=1e-5, atol=1e-6)
    assert (loud - base).abs().max() > 1e-2


def test_a_slot_given_up_is_not_answered_from() -> None:
    network, bank = bench("llama", torch.float32)
    (one,) = fit(network, bank, [job(1, [(5, 3)])])
    (slot,) = bank.load([one])
    bank.clear()
    with pytest.raises(ValueError, match="no adapter"), bank.on([slot]):
        pass


def test_the_base_model_is_left_as_it_was() -> None:
    network, bank = bench("llama", torch.float32)
    text = torch.tensor([ids(9, 7)] * 2)
    state = copy.deepcopy(network.model.state_dict())
    before = under(network, bank, None, text)
    (one,) = fit(network, bank, [job(1, [(5, 3)], dataclasses.replace(LOUD, dropout=0.1))])
    mixed = logits(network, bank, [None, one], text)
    torch.testing.assert_close(mixed[0], before[0], rtol=1e-5, atol=1e-6)
    assert (mixed[1] - before[1]).abs().max() > 1e-2
    assert torch.equal(under(network, bank, None, text), before)
    bank.close()
    after = network.model.state_dict()
    assert list(after) == list(state)
    assert all(torch.equal(after[name], tensor) for name, tensor in state.items())
    assert not network.model.training
    assert not any(parameter.requires_grad for parameter in network.model.parameters())
    hooks = [module._forward_hooks for module in network.model.modules()]
    assert not any(hooks)
