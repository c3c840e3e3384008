"""A bank of adapters against PEFT: gradients, adapter files of others, and refusals."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch
from banks import MODELS, bench, ids, job, logits
from torch import nn

from ttsi.errors import EngineError
from ttsi.types import Adapter
from ttsi_plugins.engines.transformers import lora
from ttsi_plugins.engines.transformers.pairs import losses
from ttsi_plugins.engines.transformers.stack import Factors
from ttsi_plugins.engines.transformers.training import fit

# PEFT warns of its own affairs.
peft_warns = pytest.mark.filterwarnings("ignore")

# ---------------------------------------------------------------- against PEFT


def in_peft(kind: str, adapter: Adapter, folder: Path, dtype: torch.dtype) -> Any:
    lora.export(adapter, folder)
    model = MODELS[kind]().to(dtype)
    return peft.PeftModel.from_pretrained(model, folder, is_trainable=True).to(dtype)


@peft_warns
@pytest.mark.parametrize("kind", MODELS)
def test_gradients_are_pefts(kind: str, tmp_path: Path) -> None:
    network, bank = bench(kind)
    jobs = [job(1, [(9, 3)]), job(2, [(4, 6)]), job(3, [(14, 1)])]
    adapters = fit(network, bank, jobs)
    # B is no longer zero, so A has a gradient too.
    rows = [slot + 1 for slot in bank.load(adapters)]
    weights = bank._store.split(bank._store.flat[rows].clone())
    leaves = [(a.requires_grad_(), b.requires_grad_()) for a, b in weights]
    with bank.through(Factors(leaves, bank._store.scales[rows][:, None, None])):
        found = losses(network, [each.pairs[0] for each in jobs])
    sum(found).backward()
    for row, (adapter, each) in enumerate(zip(adapters, jobs, strict=True)):
        reference = in_peft(kind, adapter, tmp_path / str(row), torch.float64)
        (pair,) = each.pairs
        labels = torch.tensor([[-100] * len(pair.prompt) + list(pair.target)])
        text = torch.tensor([[*pair.prompt, *pair.target]])
        loss = reference(input_ids=text, labels=labels).loss
        loss.backward()
        assert float(found[row].detach()) == pytest.approx(float(loss), rel=1e-6)
        theirs = {n: p.grad for n, p in reference.named_parameters() if p.requires_grad}
        assert len(theirs) == 2 * len(leaves)
        for layer, (a, b) in zip(bank.layers, leaves, strict=True):
            name = f"base_model.model.{layer.name}.lora_"
            for part, letter in ((a, "A"), (b, "B")):
                expected = theirs[f"{name}{letter}.default.weight"]
                assert expected.norm() > 0
                torch.testing.assert_close(part.grad[row], expected, rtol=1e-4, atol=1e-8)


@peft_warns
def test_a_bfloat16_model_is_pefts(tmp_path: Path) -> None:
    network, bank = bench("llama", torch.bfloat16)
    (adapter,) = fit(network, bank, [job(1, [(9, 3)])])
    text = torch.tensor([ids(5, 12)])
    lora.export(adapter, tmp_path)
    model = MODELS["llama"]().bfloat16()
    reference = peft.PeftModel.from_pretrained(model, tmp_path)
    with torch.no_grad():
        expected = reference(input_ids=text).logits[0]
        (found,) = logits(network, bank, [adapter], text)
        (base,) = logits(network, bank, [None], text)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)
    assert (found - base).abs().max() > 0.1
    tensors = safetensors.torch.load(adapter.safetensors)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


FOREIGN = [
    {"r": 5, "lora_alpha": 7, "target_modules": "all-linear"},
    {"r": 2, "use_rslora": True, "target_modules": ["q_proj", "down_proj"]},
    {"r": 1, "target_modules": ["v_proj"], "layers_to_transform": [1]},
    {"r": 3, "target_modules": r".*\.0\.mlp\..*_proj", "exclude_modules": ["up_proj"]},
    {"r": 2, "target_modules": ["o_proj"], "init_lora_weights": False, "lora_dropout": 0.3},
]


def foreign(kind: str, settings: dict[str, Any], folder: Path) -> Any:
    """Return PEFT's own adapter, with weights other than zero, and write its folder."""
    torch.manual_seed(3)
    config = peft.LoraConfig(task_type="CAUSAL_LM", **settings)
    model = peft.get_peft_model(MODELS[kind](), config).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return model


@peft_warns
@pytest.mark.parametrize("settings", FOREIGN, ids=json.dumps)
def test_adapters_of_others_act_as_in_peft(settings: dict[str, Any], tmp_path: Path) -> None:
    network, bank = bench("qwen2", torch.float32)
    model = foreign("qwen2", settings, tmp_path)
    text = torch.tensor([ids(5, 12)])
    with torch.no_grad():
        expected = model(input_ids=text).logits[0]
        base, found = logits(network, bank, [None, lora.read(tmp_path)], text.expand(2, -1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert (base - expected).abs().max() > 0.01


REFUSED = [
    {"use_dora": True},
    {"bias": "all"},
    {"lora_bias": True},
    {"modules_to_save": ["lm_head"]},
    {"rank_pattern": {"q_proj": 4}},
    {"alpha_pattern": {"q_proj": 4}},
    {"init_lora_weights": "pissa"},
    {"target_modules": ["q_proj", "lm_head"]},
    {"target_modules": ["q_proj", "embed_tokens"]},
]


@peft_warns
@pytest.mark.parametrize("settings", REFUSED, ids=json.dumps)
def test_what_a_bank_cannot_do_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    _, bank = bench("llama", torch.float32)
    foreign("llama", {"r": 2, "target_modules": ["q_proj"], **settings}, tmp_path)
    with pytest.raises(EngineError, match=r"(?i)adapter"):
        bank.load([lora.read(tmp_path)])


def test_what_is_damaged_or_of_another_model_is_refused() -> None:
    network, bank = bench("llama", torch.float32)
    (fine,) = fit(network, bank, [job(1, [(5, 3)])])
    tensors = safetensors.torch.load(fine.safetensors)
    some = dict(list(tensors.items())[1:])
    whole = {name: tensor.to(torch.int32) for name, tensor in tensors.items()}
    alien_network, alien_bank = bench("qwen2", torch.float32)
    (alien,) = fit(alien_network, alien_bank, [job(1, [(5, 3)])])
    wrong = [
        alien,
        dataclasses.replace(fine, safetensors=b"no weights"),
        dataclasses.replace(fine, safetensors=safetensors.torch.save(some)),
        dataclasses.replace(fine, safetensors=safetensors.torch.save(whole)),
        dataclasses.replace(fine, config={**fine.config, "target_modules": ["nothing"]}),
        dataclasses.replace(fine, config={**fine.config, "r": 3}),
        dataclasses.replace(fine, config={**fine.config, "r": "two"}),
        dataclasses.replace(fine, config={**fine.config, "of_tomorrow": 1}),
        dataclasses.replace(fine, config={"peft_type": "IA3"}),
        dataclasses.replace(fine, config={}),
    ]
    for each in wrong:
        with pytest.raises(EngineError, match="adapter"):
            bank.load([fine, each])
    assert bank.load([fine]) == [0]
