"""Edge values of a recipe, against transformers' Trainer on a tiny model.

Some values are special in Trainer: a gradient limit of 0 means no limit, and with as many warm-up
steps as steps the rate never decreases.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch
import transformers
from banks import ids
from tiny_model import tiny_llama

from ttsi.types import Adapter, LoraRecipe
from ttsi_plugins.engines.transformers import lora
from ttsi_plugins.engines.transformers.bank import Bank
from ttsi_plugins.engines.transformers.pairs import Pair, TokenJob
from ttsi_plugins.engines.transformers.passes import Network
from ttsi_plugins.engines.transformers.training import fit

# PEFT and the Trainer warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")

RECIPE = LoraRecipe(rank=2, learning_rate=1e-2)
TEXTS = [(ids(1, 9), ids(2, 4)), (ids(3, 5), ids(4, 7))]


def ours(recipe: LoraRecipe) -> Adapter:
    model = tiny_llama().requires_grad_(False)
    network, bank = Network(model), Bank(model, "tiny")
    pairs = [Pair(prompt, target) for prompt, target in TEXTS]
    (adapter,) = fit(network, bank, [TokenJob("a", pairs, recipe, 5)])
    bank.close()
    network.close()
    return adapter


class Watched(transformers.Trainer):
    """A Trainer that records the learning rate of each update."""

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        return loss


def trainers(
    initial: Adapter, recipe: LoraRecipe, folder: Path
) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Return Trainer's rates and weights; its `warmup_steps` are steps from 1 on, else a share."""
    lora.export(initial, folder / "initial")
    model = peft.PeftModel.from_pretrained(tiny_llama(), folder / "initial", is_trainable=True)
    steps = recipe.epochs * len(TEXTS)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=1,
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=steps if recipe.warmup_ratio == 1 else recipe.warmup_ratio,
        max_grad_norm=recipe.max_grad_norm,
        weight_decay=recipe.weight_decay,
        optim="adamw_torch",
        train_sampling_strategy="sequential",
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )
    examples = [
        {"input_ids": prompt + target, "labels": [-100] * len(prompt) + target}
        for prompt, target in TEXTS
    ]
    trainer = Watched(model=model, args=arguments, train_dataset=examples)
    trainer.rates = []
    trainer.train()
    return trainer.rates, peft.get_peft_model_state_dict(model)


EDGES: dict[str, dict[str, Any]] = {
    "gradients are not clipped": {"max_grad_norm": 0.0},
    "gradients are clipped to next to nothing": {"max_grad_norm": 1e-12},
    "a limit that nothing reaches": {"max_grad_norm": 1e300},
    "no warm-up": {"warmup_ratio": 0.0},
    "nothing but warm-up": {"warmup_ratio": 1.0},
    "one epoch": {"epochs": 1},
    "weights decay": {"weight_decay": 0.5},
    "a rate of zero": {"learning_rate": 0.0},
    "next to no scale": {"alpha": 1e-6},
    "a large rank": {"rank": 64},
}


@pytest.mark.parametrize("edge", EDGES.values(), ids=list(EDGES))
def test_the_edges_of_a_recipe_are_the_trainers(edge: dict[str, Any], tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, **edge)
    initial = ours(dataclasses.replace(recipe, learning_rate=0.0))
    found = ours(recipe)
    rates, weights = trainers(initial, recipe, tmp_path)
    assert found.training is not None
    assert found.training.learning_rates == pytest.approx(rates, abs=1e-12)
    made, start = (safetensors.torch.load(each.safetensors) for each in (found, initial))
    assert made.keys() == weights.keys()
    vectors = [
        torch.cat([tensors[name].flatten().double() for name in weights])
        for tensors in (made, weights, start)
    ]
    apart = float((vectors[0] - vectors[1]).norm())
    assert apart <= 2e-3 * float((vectors[1] - vectors[2]).norm()) + 1e-9


def test_no_limit_is_not_a_limit_of_nothing() -> None:
    """A literal limit of 0 would leave no gradient, and nothing would be learnt."""
    free, wide = (ours(dataclasses.replace(RECIPE, max_grad_norm=n)) for n in (0.0, 1e9))
    still = ours(dataclasses.replace(RECIPE, learning_rate=0.0))
    assert free.digest == wide.digest != still.digest
    assert all(map(math.isfinite, free.training.losses if free.training else [math.nan]))
