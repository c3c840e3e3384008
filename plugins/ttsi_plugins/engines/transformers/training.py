"""The training of one adapter, as transformers' Trainer with the paper's arguments does it (F.3).

AdamW (0.9, 0.999, 1e-8), one pair a step in the order given, cosine schedule with warm-up, gradient
norm clipped. Without the Trainer: no process, disk or data loader per sample.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ttsi.types import LoraRecipe, Training


def learning_rates(steps: int, recipe: LoraRecipe) -> list[float]:
    """Linear from 0 over ceil(ratio * steps) steps, then half a cosine down to 0 after the last.

    The first rate is 0 whenever there is warm-up: for one pair and three epochs 0, peak, peak / 2.
    """
    warmup = math.ceil(recipe.warmup_ratio * steps)
    rates = []
    for step in range(steps):
        if step < warmup:
            factor = step / max(1, warmup)
        else:
            progress = (step - warmup) / max(1, steps - warmup)
            factor = max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))
        rates.append(recipe.learning_rate * factor)
    return rates


def fit(
    model: Any,
    parameters: list[nn.Parameter],
    pairs: Sequence[tuple[list[int], list[int]]],
    recipe: LoraRecipe,
) -> Training:
    """Train `parameters` in place on (prompt ids, target ids) pairs."""
    started = time.perf_counter()
    order = list(pairs) * recipe.epochs
    rates = learning_rates(len(order), recipe)
    optimizer = torch.optim.AdamW(parameters, lr=0.0, weight_decay=recipe.weight_decay, fused=True)
    repeatable = not _is_stochastic(model)
    losses: list[float] = []
    fresh = True
    for step, (pair, rate) in enumerate(zip(order, rates, strict=True)):
        if fresh:
            loss = target_loss(model, *pair)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, recipe.max_grad_norm)
        losses.append(float(loss.detach()))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        # At rate 0 the weights stay as they are, so the same pair again has the same gradient: it
        # feeds both of Adam's updates and is computed once.
        fresh = not (repeatable and rate == 0 and order[step + 1 : step + 2] == [pair])
        if fresh:
            optimizer.zero_grad()
    return Training(
        losses=tuple(losses),
        learning_rates=tuple(rates),
        seconds=time.perf_counter() - started,
        tokens=sum(len(prompt) + len(target) for prompt, target in order),
    )


def target_loss(model: Any, prompt: list[int], target: list[int]) -> Tensor:
    """Mean cross entropy over the target's tokens; the head is applied at their positions only."""
    ids = torch.tensor([prompt + target], device=model.device)
    out = model(input_ids=ids[:, :-1], use_cache=False, logits_to_keep=len(target))
    return nn.functional.cross_entropy(out.logits[0].float(), ids[0, len(prompt) :])


def _is_stochastic(model: Any) -> bool:
    """Whether two passes in training mode can differ."""
    dropouts = (m.p for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd))
    attention = getattr(model.config.get_text_config(), "attention_dropout", 0.0) or 0.0
    return attention > 0 or any(p > 0 for p in dropouts)
