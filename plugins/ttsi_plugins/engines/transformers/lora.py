"""The one LoRA adapter that sits in the base model, and whose weights come and go.

PEFT's layers are put beside the base model's once per shape (rank, targets, ...). An Adapter is
applied by copying its tensors in and switching the layers on; switched off, a layer calls the base
layer and nothing else, so the base model answers as if there were none.
"""

from __future__ import annotations

import enum
import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peft
import safetensors.torch
import torch
from torch import Tensor, nn

from ttsi.errors import EngineError
from ttsi.types import JSON, Adapter, LoraRecipe

_NAME = "default"
_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"
# What a config says about where an adapter comes from does not change its shape.
_PROVENANCE = {"base_model_name_or_path", "inference_mode", "peft_version", "auto_mapping"}


class Lora:
    """The adapter slot of one model; off except inside `applied` and `training`."""

    def __init__(self, model: Any, model_id: str) -> None:
        self._model = model
        self._model_id = model_id
        self._peft: Any = None
        self._tensors: dict[str, Tensor] = {}
        self._shapes: set[str] = set()
        self._holds = ""

    @contextmanager
    def applied(self, adapter: Adapter | None) -> Iterator[None]:
        """The model answers under `adapter` inside, and as the base model afterwards."""
        if adapter is None:
            yield
            return
        self._inject(adapter.config)
        self._copy_in(adapter)
        self._peft.base_model.enable_adapter_layers()
        try:
            yield
        finally:
            self._peft.base_model.disable_adapter_layers()

    @contextmanager
    def training(self, recipe: LoraRecipe, seed: int) -> Iterator[list[nn.Parameter]]:
        """A fresh adapter's parameters, to be trained inside: A as PEFT draws it, B zero.

        `seed` alone decides the draw, and torch's global generators are as before afterwards.
        Dropout draws from them, seeded the same way.
        """
        self._inject(_recipe_config(recipe))
        self._holds = ""
        devices = [self._model.device] if self._model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            self._initialise(seed)
            torch.manual_seed(seed)
            self._peft.base_model.enable_adapter_layers()
            self._model.train()
            parameters = [p for p in self._peft.parameters() if p.requires_grad]
            try:
                yield parameters
            finally:
                for parameter in parameters:
                    parameter.grad = None
                self._model.eval()
                self._peft.base_model.disable_adapter_layers()

    def weights(self) -> bytes:
        """The resident weights as the bytes of PEFT's adapter_model.safetensors."""
        tensors = {name: t.detach().cpu().contiguous() for name, t in self._tensors.items()}
        return safetensors.torch.save(tensors, metadata={"format": "pt"})

    def config(self) -> dict[str, JSON]:
        """The resident shape as PEFT's adapter_config.json."""
        config = _json_clean(self._peft.peft_config[_NAME].to_dict())
        return {**config, "base_model_name_or_path": self._model_id, "inference_mode": True}

    def remove(self) -> None:
        """Take PEFT's layers out: the model is the bare base model again."""
        if self._peft is not None:
            self._peft.unload()
            self._peft, self._tensors, self._shapes, self._holds = None, {}, set(), ""

    def _inject(self, config: Mapping[str, JSON]) -> None:
        """Put layers of this shape in, unless they are there."""
        shape = _shape(config)
        if shape in self._shapes:
            return
        self.remove()
        settings = {k: v for k, v in config.items() if k not in _PROVENANCE}
        try:
            parsed = peft.PeftConfig.from_peft_type(**settings)  # type: ignore[no-untyped-call]
            if not isinstance(parsed, peft.LoraConfig):
                raise ValueError(f"it is of type {settings.get('peft_type')}, not LORA")
            with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
                # PEFT asks transformers by a name that transformers has deprecated.
                warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
                self._peft = peft.get_peft_model(self._model, parsed)
        except (KeyError, TypeError, ValueError) as error:
            raise EngineError(
                f"The adapter does not fit the model: {error}",
                where=f"model {self._model_id}",
                cure="Use a LoRA adapter that was trained on this model.",
            ) from error
        self._model.eval()
        self._peft.base_model.disable_adapter_layers()
        # These share their storage with the parameters: writing to them is loading an adapter.
        self._tensors = peft.get_peft_model_state_dict(self._peft, save_embedding_layers=False)
        self._shapes = {shape, _shape(self.config())}

    def _copy_in(self, adapter: Adapter) -> None:
        if self._holds == adapter.digest:
            return
        tensors = safetensors.torch.load(adapter.safetensors)
        own = {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}
        given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if own != given:
            differing = sorted(own.keys() ^ given.keys()) or [k for k in own if own[k] != given[k]]
            raise EngineError(
                f"The adapter's tensors are not those of its config: {len(differing)} differ, "
                f"first {differing[0]}.",
                where=f"model {self._model_id}",
                cure="Use a LoRA adapter that was trained on this model.",
            )
        self._holds = ""
        with torch.no_grad():
            for name, tensor in self._tensors.items():
                tensor.copy_(tensors[name])
        self._holds = adapter.digest

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for name, tensor in self._tensors.items():
            if "lora_A" in name:
                # Drawn on the CPU, so that a seed means the same weights on every device.
                drawn = torch.empty(tensor.shape)
                nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
                tensor.copy_(drawn)
            else:
                tensor.zero_()


def export(adapter: Adapter, folder: Path) -> None:
    """Write `adapter` as a folder that `peft.PeftModel.from_pretrained` loads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _WEIGHTS).write_bytes(adapter.safetensors)
    (folder / _CONFIG).write_text(json.dumps(adapter.config, indent=2, sort_keys=True) + "\n")


def read(folder: Path) -> Adapter:
    """The adapter in a PEFT folder. Raises OSError where there is none."""
    config = json.loads((folder / _CONFIG).read_text())
    return Adapter(safetensors=(folder / _WEIGHTS).read_bytes(), config=config)


def _recipe_config(recipe: LoraRecipe) -> dict[str, JSON]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": recipe.rank,
        "lora_alpha": int(recipe.alpha) if float(recipe.alpha).is_integer() else recipe.alpha,
        "lora_dropout": recipe.dropout,
        "target_modules": "all-linear",
    }


def _shape(config: Mapping[str, JSON]) -> str:
    """What decides which layers there are, as text to compare."""
    kept = {k: v for k, v in config.items() if k not in _PROVENANCE and v is not None}
    return json.dumps(_json_clean(kept), sort_keys=True)


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
