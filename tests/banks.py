"""Small models with an adapter bank, and training jobs for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import safetensors.torch
import torch
from tiny_model import tiny_llama, tiny_qwen2
from torch import Tensor

from ttsi.types import Adapter, LoraRecipe
from ttsi_plugins.engines.transformers.bank import Bank
from ttsi_plugins.engines.transformers.pairs import Pair, TokenJob
from ttsi_plugins.engines.transformers.passes import Network, Row, Rows

MODELS = {"llama": tiny_llama, "qwen2": tiny_qwen2}
LOUD = LoraRecipe(rank=2, learning_rate=1e-2)


def bench(kind: str, dtype: torch.dtype = torch.float64) -> tuple[Network, Bank]:
    model = MODELS[kind]().to(dtype).requires_grad_(False)
    return Network(model), Bank(model, "tiny")


def ids(seed: int, count: int) -> list[int]:
    drawn = torch.randint(3, 300, (count,), generator=torch.Generator().manual_seed(seed))
    return list(drawn.tolist())


def job(seed: int, pairs: Sequence[tuple[int, int]], recipe: LoraRecipe = LOUD) -> TokenJob:
    """Return a job whose pairs have these numbers of tokens in prompt and target."""
    drawn = [
        Pair(ids(100 * seed + at, prompt), ids(100 * seed + at + 50, target))
        for at, (prompt, target) in enumerate(pairs)
    ]
    return TokenJob(f"job {seed}", drawn, recipe, seed)


def unlike_jobs() -> list[TokenJob]:
    """Return jobs of different lengths, steps, ranks and settings; the first finishes early."""
    return [
        job(1, [(9, 3)], dataclasses.replace(LOUD, epochs=1)),
        job(2, [(4, 7), (12, 2), (4, 7)], dataclasses.replace(LOUD, rank=3, alpha=5.0)),
        job(3, [(20, 1)], dataclasses.replace(LOUD, max_grad_norm=0.05, weight_decay=0.1)),
        job(4, [(3, 5), (3, 5)], dataclasses.replace(LOUD, epochs=2, warmup_ratio=0.0)),
    ]


def vector(adapter: Adapter, kind: str) -> Tensor:
    """Return all of an adapter's weights A or B, concatenated."""
    tensors = safetensors.torch.load(adapter.safetensors)
    names = sorted(name for name in tensors if f"lora_{kind}" in name)
    return torch.cat([tensors[name].flatten().double() for name in names])


def assert_same(found: Sequence[Adapter], reference: Sequence[Adapter]) -> None:
    """Assert equality up to rounding: transformers computes norms in float32 in any dtype."""
    for one, other in zip(found, reference, strict=True):
        assert one.training is not None
        assert other.training is not None
        assert one.training.losses == pytest.approx(other.training.losses, rel=1e-6)
        assert one.training.learning_rates == other.training.learning_rates
        assert one.training.tokens == other.training.tokens
        assert one.config == other.config
        for kind in "AB":
            ours, theirs = vector(one, kind), vector(other, kind)
            assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def logits(
    network: Network, bank: Bank, adapters: Sequence[Adapter | None], text: Tensor
) -> Tensor:
    """Return logits [rows, T, V] of text [rows, T], each row under its own adapter."""
    slots = iter(bank.load([adapter for adapter in adapters if adapter is not None]))
    each = [-1 if adapter is None else next(slots) for adapter in adapters]
    return under(network, bank, each, text)


def under(network: Network, bank: Bank, slots: Any, text: Tensor) -> Tensor:
    rows, width = text.shape
    positions = torch.arange(width).expand(rows, -1)
    plan = Rows([Row(width)] * rows)
    with torch.no_grad(), bank.on(slots):
        found = network.run(text, positions, plan, torch.arange(rows * width))
    return found.view(rows, width, -1)
