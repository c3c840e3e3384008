"""Training against PEFT and transformers' Trainer with the paper's arguments (section F.3)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch
import transformers
from engines import ask, real_tasks, shared_engine

from ttsi.digests import bytes_digest
from ttsi.errors import EngineError
from ttsi.types import Adapter, LoraRecipe, Prompt, Request, Sampling, TrainJob
from ttsi_plugins.engines.transformers import lora, training
from ttsi_plugins.engines.transformers.passes import Row, Rows

# PEFT and the Trainer warn of their own affairs.
pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]

RECIPE = LoraRecipe()
TARGETS = ['[{"name": "getWeather", "arguments": {"city": "Oslo"}}]', "[]", "I cannot do that."]


def pairs(count: int) -> tuple[tuple[Prompt, str], ...]:
    prompts = [prompt for prompt, _ in real_tasks(1)]
    return tuple(zip(prompts, TARGETS, strict=False))[:count]


def job(name: str, text: str, recipe: LoraRecipe = RECIPE, seed: int = 1) -> TrainJob:
    return TrainJob(name, ((ask(text), f"Answer to {text}"),), recipe, seed)


def fresh_model() -> Any:
    folder = shared_engine()._runtime().loaded.folder
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


class Watched(transformers.Trainer):
    """A Trainer that records every step's loss and learning rate."""

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        self.seen.append((float(loss), self.optimizer.param_groups[0]["lr"]))
        return loss


def oracle(
    initial: Adapter, examples: list[dict[str, list[int]]], folder: Path
) -> tuple[list[tuple[float, float]], dict[str, torch.Tensor]]:
    lora.export(initial, folder / "initial")
    model = peft.PeftModel.from_pretrained(fresh_model(), folder / "initial", is_trainable=True)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=1,
        num_train_epochs=3,
        learning_rate=1e-4,
        lr_scheduler_type="cosine",
        warmup_steps=0.03,
        max_grad_norm=1.0,
        weight_decay=0.0,
        optim="adamw_torch",
        train_sampling_strategy="sequential",
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Watched(model=model, args=arguments, train_dataset=examples)
    trainer.seen = []
    trainer.train()
    return trainer.seen, peft.get_peft_model_state_dict(model)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_steps_rates_and_weights_are_the_trainers(count: int, tmp_path: Path) -> None:
    engine = shared_engine()
    tokens = engine._runtime().tokens
    examples = []
    for prompt, text in pairs(count):
        head, tail = tokens.prompt(prompt), tokens.target(text)
        assert len(head) < 150
        labels = [-100] * len(head) + tail
        examples.append({"input_ids": head + tail, "labels": labels})
    (initial,) = engine.train([TrainJob("initial", pairs(1), still(RECIPE), seed=11)])
    (ours,) = engine.train([TrainJob("job", pairs(count), RECIPE, seed=11)])
    steps, weights = oracle(initial, examples, tmp_path)

    assert ours.training is not None
    assert len(steps) == 3 * count
    assert ours.training.losses == pytest.approx([loss for loss, _ in steps], rel=1e-5)
    assert ours.training.learning_rates == pytest.approx([rate for _, rate in steps], abs=1e-12)
    found, start = values(ours.safetensors, weights), values(initial.safetensors, weights)
    reference = torch.cat([tensor.flatten().double() for tensor in weights.values()])
    assert (found - reference).norm() <= 1e-5 * reference.norm()
    # Adam divides by the gradient's size, which amplifies rounding errors of the update.
    assert (found - reference).norm() <= 1e-3 * (reference - start).norm()


def values(data: bytes, names: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return all weights of an adapter in one vector, in the order of `names`."""
    tensors = safetensors.torch.load(data)
    assert tensors.keys() == names.keys()
    return torch.cat([tensors[name].flatten().double() for name in names])


def test_the_papers_rates_for_one_pair() -> None:
    assert training.learning_rates(3, RECIPE) == pytest.approx([0.0, 1e-4, 5e-5])
    assert training.learning_rates(2, LoraRecipe(warmup_ratio=0.0)) == pytest.approx([1e-4, 5e-5])


def test_the_zero_rate_step_costs_no_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    whole = training.losses
    monkeypatch.setattr(training, "losses", lambda *given: calls.append(given) or whole(*given))
    (shared,) = shared_engine().train([job("a", "one")])
    assert len(calls) == 2
    monkeypatch.setattr(training._GroupTraining, "_repeats", lambda *given: False)
    (plain,) = shared_engine().train([job("a", "one")])
    assert len(calls) == 2 + 3
    assert shared.digest == plain.digest


def test_jobs_leave_no_trace_in_each_other() -> None:
    engine = shared_engine()
    first, second = job("a", "one", seed=1), job("b", "another", seed=2)
    alone = [engine.train([each])[0] for each in (first, second)]
    assert [engine.train([each])[0].digest for each in (first, second)] == [
        adapter.digest for adapter in alone
    ]
    start = [
        engine.train([dataclasses.replace(each, recipe=still(each.recipe))])[0]
        for each in (first, second)
    ]
    together = [engine.train([first, second]), engine.train([second, first])[::-1]]
    for adapters in together:
        for made, reference, initial in zip(adapters, alone, start, strict=True):
            names = safetensors.torch.load(reference.safetensors)
            found, expected = values(made.safetensors, names), values(reference.safetensors, names)
            learnt = expected - values(initial.safetensors, names)
            # The order of summation depends on the rows of a pass, and Adam amplifies it.
            assert (found - expected).norm() <= 1e-3 * learnt.norm()
    assert alone[0].digest != alone[1].digest


def still(recipe: LoraRecipe) -> LoraRecipe:
    """Return the recipe with a learning rate of 0, whose adapter learns nothing."""
    return dataclasses.replace(recipe, learning_rate=0.0)


def test_training_leaves_the_base_model_and_the_global_generator_alone() -> None:
    engine = shared_engine()
    runtime = engine._runtime()
    ids = torch.tensor([runtime.tokens.prompt(ask("Hello?"))])

    def logits() -> torch.Tensor:
        with torch.no_grad(), runtime.network.native() as model:
            return model(input_ids=ids).logits

    digest, before = engine.digest(), logits()
    state = torch.random.get_rng_state()
    wide = LoraRecipe(rank=4, learning_rate=1e-2, dropout=0.1)
    adapters = engine.train([job("a", "one"), job("b", "two", wide)])
    greedy = Sampling.greedy(3)
    engine.generate([Request(ask("Hello?"), greedy, 0, adapter) for adapter in adapters])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not runtime.model.training
    assert torch.equal(logits(), before)
    assert engine.digest() == digest


def test_dropout_is_drawn_from_the_jobs_seed() -> None:
    engine = shared_engine()
    wet = LoraRecipe(dropout=0.5, warmup_ratio=0.0)
    first, again, other = (
        engine.train([job("a", "one", wet, seed)])[0].digest for seed in (1, 1, 2)
    )
    assert first == again != other


def test_an_adapter_acts_on_its_own_rows_only() -> None:
    engine = shared_engine()
    loud = LoraRecipe(learning_rate=5e-3, epochs=8)
    prompt = ask("What is the capital of Norway?")
    (adapter,) = engine.train([TrainJob("a", ((prompt, "xyzzy plugh"),), loud, seed=3)])
    base, adapted = Request(prompt, Sampling.greedy(6), 0), None
    adapted = dataclasses.replace(base, adapter=adapter)
    (before,) = engine.generate([base])
    one, two, three = engine.generate([base, adapted, base])
    assert one.text == three.text == before.text
    assert two.text.startswith("xyzzy")


def test_an_exported_adapter_is_pefts(tmp_path: Path) -> None:
    engine = shared_engine()
    runtime = engine._runtime()
    loud = LoraRecipe(learning_rate=1e-2, alpha=24.5)
    (adapter,) = engine.train([job("a", "one", loud)])
    lora.export(adapter, tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text()) == adapter.config
    assert lora.read(tmp_path).digest == adapter.digest == bytes_digest(adapter.safetensors)
    ids = runtime.tokens.prompt(ask("one"))
    runtime.bank.clear()
    slots = [-1, *runtime.bank.load([lora.read(tmp_path)])]
    text = torch.tensor([ids, ids])
    at, read = torch.arange(len(ids)).expand(2, -1), torch.arange(2 * len(ids))
    with torch.no_grad(), runtime.bank.on(slots):
        both = runtime.network.run(text, at, Rows([Row(len(ids))] * 2), read)
    base, ours = both.view(2, len(ids), -1)
    model = peft.PeftModel.from_pretrained(fresh_model(), tmp_path)
    with torch.no_grad():
        theirs = model(input_ids=text[:1]).logits[0]
    torch.testing.assert_close(ours, theirs, atol=5e-4, rtol=5e-5)
    assert (ours - base).abs().max() > 0.1


def test_what_is_no_adapter_of_this_model_is_refused() -> None:
    engine = shared_engine()
    (adapter,) = engine.train([job("a", "one")])
    some = dict(list(safetensors.torch.load(adapter.safetensors).items())[1:])
    short = dataclasses.replace(adapter, safetensors=safetensors.torch.save(some))
    alien = dataclasses.replace(adapter, config={**adapter.config, "target_modules": ["nothing"]})
    other = dataclasses.replace(adapter, config={"peft_type": "IA3"})
    for wrong in (short, alien, other):
        with pytest.raises(EngineError, match="adapter"):
            engine.generate([Request(ask("x"), Sampling.greedy(2), 0, wrong)])
    (fine,) = engine.generate([Request(ask("x"), Sampling.greedy(2), 0, adapter)])
    assert fine.completion_tokens
