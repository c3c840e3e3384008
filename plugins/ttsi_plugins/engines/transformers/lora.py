"""PEFT's formats: adapter_model.safetensors, adapter_config.json, and what a config means."""

from __future__ import annotations

import enum
import json
import math
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import safetensors
import safetensors.torch
import torch
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils import transformers_weight_conversion as conversion
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ttsi import JSON, Adapter, EngineError, LoraRecipe

_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"
_PREFIX = "base_model.model."
# Settings of an adapter's origin, initialisation or training, which do not change its result.
_PROVENANCE = {"auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version"}
_HARMLESS = {"fan_in_fan_out", "init_lora_weights", "lora_dropout", "revision", "task_type"}
_HONOURED = {
    *("r", "lora_alpha", "use_rslora", "alora_invocation_tokens"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
}
# Types of models in which PEFT refuses the output layer of a Mamba mixer.
_MAMBA = {"falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h"}
# The others change the base model's weights too.
_INITS = (True, False, "gaussian", "orthogonal")


# By `LoraRecipe.modules`, how the names of its layers are known, whatever the model's type.
MODULES = {
    "all": re.compile(""),
    "attention": re.compile(r"attn|attention"),
    "feed_forward": re.compile(r"mlp|ffn|feed_?forward|expert|moe|\bfc\d"),
}


@dataclass(frozen=True)
class Form:
    """What a config says of the weights: a layer's update is `scale` * B A, of rank `rank`."""

    rank: int
    scale: float
    targets: tuple[str, ...]


def write_config(
    recipe: LoraRecipe, targets: Collection[str], model_id: str, invocation: Sequence[int] = ()
) -> dict[str, JSON]:
    """Return adapter_config.json of an adapter on `targets`, as PEFT writes it.

    With `invocation`, token ids, it is PEFT's activated LoRA (aLoRA), which acts from the last
    occurrence of these tokens on.
    """
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        base_model_name_or_path=model_id,
        inference_mode=True,
        r=recipe.rank,
        lora_alpha=_number(recipe.alpha),
        lora_dropout=recipe.dropout,
        target_modules=list(targets),
        alora_invocation_tokens=list(invocation) or None,
    )
    clean: dict[str, JSON] = _json_clean(config.to_dict())  # type: ignore[no-untyped-call]
    return clean


def shortest(targets: Sequence[str], modules: Sequence[str]) -> tuple[str, ...]:
    """Return `target_modules` for `targets`: last parts of names if no other module has them."""
    last = {name.rpartition(".")[2] for name in targets}
    meant = [name for name in modules if name.rpartition(".")[2] in last]
    return tuple(sorted(last if sorted(meant) == sorted(targets) else targets))


def of_kind(modules: str, names: Iterable[str]) -> list[str]:
    """Return those of the layers' `names` that are of the kind `LoraRecipe.modules`."""
    return [name for name in names if MODULES[modules].search(name.lower())]


def adaptable(model: Any) -> dict[str, nn.Linear | Conv1D]:
    """Return the linear layers, by name, that PEFT's adapters and ours act on alike.

    The output layer is left out, as PEFT does; so are layers that give more than a linear map, such
    as routers, and those that PEFT refuses beside a Mamba mixer. In some types of mixtures of
    experts PEFT takes the names of the dense MLP's layers for those of the experts, so these are
    left out, too.
    """
    kind = str(model.config.model_type)
    taken = _taken_for_experts(kind)
    if kind in _MAMBA:
        taken |= {"out_proj"}
    head = model.get_output_embeddings()
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and module is not head
        and name.rpartition(".")[2] not in taken
        and _is_linear(module)
    }


def widths(layer: nn.Linear | Conv1D) -> tuple[int, int]:
    """Return the widths of a layer's input and output. GPT-2's Conv1D has its weight transposed."""
    first, second = layer.weight.shape
    return (first, second) if isinstance(layer, Conv1D) else (second, first)


@torch.no_grad()
def _is_linear(layer: nn.Linear | Conv1D) -> bool:
    """Return whether a layer of another class is a linear map and no more."""
    if type(layer) in (nn.Linear, Conv1D):
        return True
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, layer.weight.shape[1], generator=generator).to(layer.weight)
    try:
        out = layer(x)
    except Exception:  # it wants another input than a linear layer does
        return False
    plain = nn.functional.linear(x, layer.weight, layer.bias)
    return isinstance(out, Tensor) and out.shape == plain.shape and torch.allclose(out, plain)


def unadaptable(model: Any) -> tuple[str, ...]:
    """Return the names of the layers' weights that no adapter acts on, with * for layer numbers.

    Embeddings, the output layer, biases and other vectors are not counted.
    """
    acted = {id(layer.weight) for layer in adaptable(model).values()}
    head = model.get_output_embeddings()
    apart = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    acted |= {id(weight) for part in (head, *apart) if part for weight in part.parameters()}
    left = (
        name
        for name, weight in model.named_parameters()
        if id(weight) not in acted and weight.dim() > 1 and "bias" not in name
    )
    return tuple(sorted({re.sub(r"\b[0-9]+\b", "*", name) for name in left}))


def _taken_for_experts(kind: str) -> frozenset[str]:
    pattern = conversion._MODEL_TO_CONVERSION_PATTERN.get(kind)
    if pattern not in conversion._MOE_FUSED_TARGETS:
        return frozenset()
    return frozenset(conversion._MOE_TARGET_MODULE_MAPPING[pattern])


def read_form(config: Mapping[str, JSON], layers: Sequence[str], where: str) -> Form:
    """Return what `config` means for a model with these linear layers.

    Plain and activated LoRA are accepted, on any of them. Raises EngineError for anything else.
    """
    try:
        parsed = _parse(config)
        named = str(parsed.target_modules).lower() == "all-linear"
        targets = [each for each in layers if named or check_target_module_exists(parsed, each)]
        if not targets:
            raise ValueError(f"it has no layers {parsed.target_modules}")
        if not isinstance(parsed.r, int) or parsed.r < 1:
            raise ValueError(f"its rank is {parsed.r!r}")
        root = math.sqrt(parsed.r) if parsed.use_rslora else parsed.r
        return Form(parsed.r, float(parsed.lora_alpha) / root, tuple(targets))
    except (KeyError, TypeError, ValueError) as error:
        raise _misfit(f"The adapter does not fit the model: {error}", where) from error


def begins(config: Mapping[str, JSON], ids: Sequence[int]) -> int | None:
    """Return the index in `ids` from which PEFT lets the adapter act; None if it does not act.

    A plain adapter acts from the first token, an activated one from the last occurrence of its
    invocation tokens, these included.
    """
    wanted = list(config.get("alora_invocation_tokens") or ())
    starts = range(len(ids) - len(wanted), -1, -1) if wanted else range(1)
    return next((at for at in starts if list(ids[at : at + len(wanted)]) == wanted), None)


def pack(parts: Mapping[str, tuple[Tensor, Tensor]]) -> bytes:
    """Return the bytes of adapter_model.safetensors from A [r, in] and B [out, r] of each layer."""
    tensors = {key: part.contiguous() for key, part in _keyed(parts)}
    return safetensors.torch.save(tensors, metadata={"format": "pt"})


def unpack(
    data: bytes, form: Form, sizes: Mapping[str, tuple[int, int]], where: str
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return A [r, in] and B [out, r] of each target; `sizes` are (in, out) of the model's layers.

    Raises EngineError where the tensors are not exactly those that `form` asks for.
    """
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise _misfit(f"The adapter's weights cannot be read: {error}", where) from error
    wanted = {
        key: shape
        for name in form.targets
        for key, shape in zip(
            _keys(name), ((form.rank, sizes[name][0]), (sizes[name][1], form.rank)), strict=True
        )
    }
    given = {
        key: tuple(tensor.shape) for key, tensor in tensors.items() if tensor.is_floating_point()
    }
    differing = sorted(key for key in {*wanted, *tensors} if wanted.get(key) != given.get(key))
    if differing:
        raise _misfit(
            f"The adapter's tensors are not those of its config: {len(differing)} differ, "
            f"first {differing[0]}.",
            where,
        )
    return {name: (tensors[a], tensors[b]) for name in form.targets for a, b in [_keys(name)]}


def export(adapter: Adapter, folder: Path) -> None:
    """Write `adapter` as a folder that `peft.PeftModel.from_pretrained` loads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _WEIGHTS).write_bytes(adapter.safetensors)
    (folder / _CONFIG).write_text(json.dumps(adapter.config, indent=2, sort_keys=True) + "\n")


def read(folder: Path) -> Adapter:
    """Return the adapter in a PEFT folder. Raises OSError where there is none."""
    config = json.loads((folder / _CONFIG).read_text())
    return Adapter(safetensors=(folder / _WEIGHTS).read_bytes(), config=config)


def _parse(config: Mapping[str, JSON]) -> Any:
    """Return `config` as PEFT parses it. Raises ValueError unless it is LoRA as the bank has it."""
    if config.get("peft_type") != "LORA":
        raise ValueError(f"it is of type {config.get('peft_type')}, not LORA")
    settings = {k: v for k, v in config.items() if k not in _PROVENANCE and k != "peft_type"}
    with warnings.catch_warnings():
        # PEFT warns of settings that go unused; those that would matter are refused below.
        warnings.simplefilter("ignore")
        parsed = peft.LoraConfig(**settings)
    plain, given = peft.LoraConfig().to_dict(), parsed.to_dict()  # type: ignore[no-untyped-call]
    known = _PROVENANCE | _HARMLESS | _HONOURED
    others = [key for key in given if key not in known]
    # An unset value is None, False or empty, depending on the version that wrote it.
    unknown = [key for key in others if (given[key] or None) != (plain[key] or None)]
    if given["init_lora_weights"] not in _INITS:
        unknown.append("init_lora_weights")
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: only plain and activated LoRA can be used")
    return parsed


def _keys(name: str) -> tuple[str, str]:
    return f"{_PREFIX}{name}.lora_A.weight", f"{_PREFIX}{name}.lora_B.weight"


def _keyed(parts: Mapping[str, tuple[Tensor, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    for name, pair in parts.items():
        yield from zip(_keys(name), pair, strict=True)


def _misfit(what: str, where: str) -> EngineError:
    return EngineError(what, where=where, cure="Use a LoRA adapter that was trained on this model.")


def _number(value: float) -> Any:
    """Return a whole alpha as an int, as PEFT writes it."""
    return int(value) if float(value).is_integer() else value


def _json_clean(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _json_clean(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(_json_clean(item) for item in value)
    if isinstance(value, list | tuple):
        return [_json_clean(item) for item in value]
    return value
