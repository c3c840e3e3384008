"""Activated adapters against PEFT's aLoRA: where they begin, what they answer, what they learn."""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import architectures
import peft
import pytest
import safetensors.torch
import torch
from engines import real_tasks, shared_engine
from hypothesis import given
from hypothesis import strategies as st
from peft.tuners.lora.variants import calculate_alora_offsets
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from ttsi.types import Adapter, LoraRecipe
from ttsi_plugins.engines.transformers import lora
from ttsi_plugins.engines.transformers.bank import Bank
from ttsi_plugins.engines.transformers.caches import NO_PAST, Past
from ttsi_plugins.engines.transformers.pairs import Pair, TokenJob
from ttsi_plugins.engines.transformers.passes import Network, Row, Rows
from ttsi_plugins.engines.transformers.training import fit, learning_rates

# PEFT warns of its own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")

RECIPE = LoraRecipe(active_from="user_turn")
LOUD = dataclasses.replace(RECIPE, rank=2, learning_rate=1e-2)
SIGN = [5, 6]
TARGETS = ['[{"name": "getWeather", "arguments": {"city": "Oslo"}}]', "I cannot do that."]


# ---------------------------------------------------------------- where it begins


@given(ids=st.lists(st.integers(0, 2), max_size=12), wanted=st.lists(st.integers(0, 2), min_size=1))
def test_it_begins_where_pefts_does(ids: list[int], wanted: list[int]) -> None:
    config = peft.LoraConfig(task_type="CAUSAL_LM", alora_invocation_tokens=wanted)
    text = torch.tensor([ids], dtype=torch.long)
    (offset,) = calculate_alora_offsets({"one": config}, "one", text)
    expected = None if offset is None else len(ids) - offset
    assert lora.begins(config.to_dict(), ids) == expected


def test_a_plain_adapter_begins_at_the_start() -> None:
    plain = lora.write_config(RECIPE, ["q_proj"], "tiny")
    activated = lora.write_config(RECIPE, ["q_proj"], "tiny", SIGN)
    assert lora.begins(plain, [1, 2]) == 0
    assert activated == {**plain, "alora_invocation_tokens": SIGN}


# ---------------------------------------------------------------- a model that is tiny


def read(network: Network, ids: Sequence[int]) -> Past:
    """Return the KV cache of the base model for `ids`."""
    if not ids:
        return NO_PAST
    plan, positions = Rows([Row(len(ids))], keep=True), torch.arange(len(ids))[None]
    with torch.no_grad():
        network.run(torch.tensor([ids]), positions, plan, torch.tensor([0]))
    return NO_PAST.then(plan.piece(0, 0, len(ids)))


def pair(network: Network, prompt: list[int], target: list[int], start: int) -> Pair:
    return Pair(prompt, target, read(network, prompt[:start]), start)


def tiny_prompt(seed: int, before: int, after: int) -> list[int]:
    drawn = torch.randint(10, 300, (before + after,), generator=torch.Generator().manual_seed(seed))
    return [*drawn[:before].tolist(), *SIGN, *drawn[before:].tolist()]


@pytest.mark.parametrize("kind", ["Llama", "LFM2", "Qwen3.5", "Falcon H1"])
def test_a_bank_of_activated_and_plain_is_one_by_one(kind: str, tmp_path: Path) -> None:
    name, settings = (architectures.RUNS | architectures.CARRY)[kind]

    def tiny() -> Any:
        return architectures.tiny(name, **settings)

    model = tiny()
    network, bank = Network(model), Bank(model, "tiny")
    texts = [
        (tiny_prompt(1, 9, 3), [7, 8, 9], 9),
        (tiny_prompt(2, 4, 6), [11], 4),
        (tiny_prompt(3, 0, 5), [12, 13], 0),
        (tiny_prompt(4, 5, 5), [14, 15], 0),
    ]
    jobs = [
        TokenJob(str(at), [pair(network, *text)], LOUD, at, SIGN if at < 3 else ())
        for at, text in enumerate(texts)
    ]
    together = fit(network, bank, jobs)
    for at, (job, made, (prompt, target, _)) in enumerate(zip(jobs, together, texts, strict=True)):
        (alone,) = fit(network, bank, [job])
        fresh = dataclasses.replace(LOUD, learning_rate=0.0)
        (initial,) = fit(network, bank, [dataclasses.replace(job, recipe=fresh)])
        reference = loop(tiny(), initial, [(prompt, target)], LOUD, tmp_path / str(at))
        for one in (alone, made):
            assert_learnt(one, reference, initial)


def test_a_job_holds_the_kv_cache_of_one_pair_at_a_time() -> None:
    name, settings = architectures.RUNS["Llama"]
    model = architectures.tiny(name, **settings)
    network, bank = Network(model), Bank(model, "tiny")
    texts = [(tiny_prompt(at, 6, 3), [7 + at, 8], 6) for at in range(4)]
    read_before = [pair(network, *text) for text in texts]
    held: list[weakref.ref[Past]] = []
    most = 0

    def reading(prompt: list[int]) -> Past:
        nonlocal most
        assert bank._on is None
        found = read(network, prompt)
        held.append(weakref.ref(found))
        most = max(most, sum(each() is not None for each in held))
        return found

    lazily = [
        dataclasses.replace(each, past=NO_PAST, read=partial(reading, each.prompt[: each.start]))
        for each in read_before
    ]
    for pairs in ([lazily[0]], lazily[:3]):
        held.clear()
        most = 0
        jobs = [
            TokenJob(str(at), some, LOUD, 3, SIGN, held_out, held_out != ())
            for at, (some, held_out) in enumerate([(pairs, lazily[3:]), (pairs, ())])
        ]
        eager = [
            dataclasses.replace(
                job, pairs=read_before[: len(pairs)], held_out=read_before[3:] if at == 0 else ()
            )
            for at, job in enumerate(jobs)
        ]
        for one, other in zip(fit(network, bank, jobs), fit(network, bank, eager), strict=True):
            assert one.digest == other.digest
        # A pair for each job, and for one of them what is held out.
        assert most <= 3


# ---------------------------------------------------------------- the real one


def loop(
    model: Any,
    initial: Adapter,
    pairs: Sequence[tuple[list[int], list[int]]],
    recipe: LoraRecipe,
    folder: Path,
) -> tuple[list[float], dict[str, Tensor]]:
    """Return losses and weights of PEFT's adapter, trained on whole sequences."""
    lora.export(initial, folder)
    trained = peft.PeftModel.from_pretrained(model, folder, is_trainable=True)
    parameters = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.0, weight_decay=recipe.weight_decay)
    order = list(pairs) * recipe.epochs
    losses = []
    for (prompt, target), rate in zip(order, learning_rates(len(order), recipe), strict=True):
        labels = torch.tensor([[-100] * len(prompt) + target])
        loss = trained(input_ids=torch.tensor([prompt + target]), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, recipe.max_grad_norm or math.inf)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        losses.append(float(loss))
    return losses, peft.get_peft_model_state_dict(trained)


def assert_learnt(
    found: Adapter, reference: tuple[list[float], dict[str, Tensor]], initial: Adapter
) -> None:
    losses, weights = reference
    assert found.training is not None
    assert found.training.losses == pytest.approx(losses, rel=1e-5)
    ours, theirs, start = (
        torch.cat([tensors[name].flatten().double() for name in weights])
        for tensors in (
            safetensors.torch.load(found.safetensors),
            weights,
            safetensors.torch.load(initial.safetensors),
        )
    )
    assert (theirs - start).norm() > 0
    assert (ours - theirs).norm() <= 1e-3 * (theirs - start).norm()


def real_model() -> Any:
    folder = shared_engine()._runtime().loaded.folder
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.mark.model
@pytest.mark.parametrize("count", [1, 2])
def test_what_is_learnt_is_pefts(count: int, tmp_path: Path) -> None:
    runtime = shared_engine()._runtime()
    network, tokens = runtime.network, runtime.tokens
    invocation = tokens.tokenizer.encode("<|im_start|>user", add_special_tokens=False)
    recipe = dataclasses.replace(RECIPE, epochs=4 - count)
    pairs, texts = [], []
    for (prompt, _), target in zip(real_tasks(1)[:count], TARGETS, strict=False):
        ids, tail = tokens.prompt(prompt), tokens.target(target)
        start = lora.begins({"alora_invocation_tokens": invocation}, ids)
        assert start is not None
        assert start > 20
        pairs.append(pair(network, ids, tail, start))
        texts.append((ids, tail))
    job = TokenJob("one", pairs, recipe, 11, invocation)
    (ours,) = fit(network, runtime.bank, [job])
    still = dataclasses.replace(job, recipe=dataclasses.replace(recipe, learning_rate=0.0))
    (initial,) = fit(network, runtime.bank, [still])
    assert_learnt(ours, loop(real_model(), initial, texts, recipe, tmp_path), initial)
    assert ours.training is not None
    read_by_it = sum(len(each.prompt) - each.start + len(each.target) for each in pairs)
    assert ours.training.tokens == recipe.epochs * read_by_it


@pytest.mark.model
def test_an_exported_adapter_answers_as_in_peft(tmp_path: Path) -> None:
    runtime = shared_engine()._runtime()
    network, bank, tokens = runtime.network, runtime.bank, runtime.tokens
    invocation = tokens.tokenizer.encode("<|im_start|>user", add_special_tokens=False)
    ids = tokens.prompt(real_tasks(1)[0][0])
    start = lora.begins({"alora_invocation_tokens": invocation}, ids)
    assert start is not None
    past = read(network, ids[:start])
    loud = dataclasses.replace(RECIPE, learning_rate=1e-2)
    job = TokenJob("one", [Pair(ids, tokens.target("Yes."), past, start)], loud, 3, invocation)
    (adapter,) = fit(network, bank, [job])
    lora.export(adapter, tmp_path)
    theirs = peft.PeftModel.from_pretrained(real_model(), tmp_path)
    text, rest = torch.tensor([ids]), torch.tensor([ids[start:]])
    at, everywhere = torch.arange(start, len(ids))[None], torch.arange(len(ids) - start)
    with torch.no_grad():
        expected = theirs(input_ids=text).logits[0]
        with theirs.disable_adapter():
            base = theirs(input_ids=text).logits[0]
        with bank.on(bank.load([lora.read(tmp_path)])):
            ours = network.run(rest, at, Rows([Row(len(ids) - start, past)]), everywhere)
    assert torch.equal(expected[:start], base[:start])
    torch.testing.assert_close(ours, expected[start:], atol=1e-4, rtol=1e-5)
    assert (expected[start:] - base[start:]).abs().max() > 1
