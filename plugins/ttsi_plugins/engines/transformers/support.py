"""Which models the engine cannot run correctly, told from their config and the names of modules.

No model is run for this. A model that passes is then checked by running it, in proof.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import nn

from ttsi import EngineError
from ttsi_plugins.engines._messages import first_line

from .sight import CARRYING, KNOWN

CURE = "Use a causal language model, such as Llama, Qwen or Gemma."

# Settings that bound how far a token sees in kinds of layers that the engine does not know.
_WINDOWS = {
    "window_size": "local_attention",
    "attention_window_size": "local_attention",
    "index_topk": "sparse_attention",
}
# Layers that are tried; the last two have no attention and carry nothing.
_TRIED = KNOWN | CARRYING | {"mlp", "moe"}
# Modules that carry a state from token to token outside attention.
_STATEFUL = re.compile(
    "Mamba|SSM|Recurrent|RgLru|Rglru|Rwkv|RWKV|xLSTM|mLSTM|DeltaNet|DeltaAttention|ShortConv|"
    "Lightning|LinearAttention"
)


def check(model: Any) -> None:
    """Raise EngineError, naming the kinds of layers, if the engine would run `model` wrongly."""
    found = list(dict.fromkeys(_kinds(model)))
    if found:
        raise unsupported(model, f"has {', '.join(found)}")


def carries(model: Any) -> bool:
    """Return whether the names of modules suggest that some carry a state between tokens."""
    return any(_named(part) or isinstance(part, nn.Conv1d) for part in model.modules())


def unsupported(model: Any, why: str) -> EngineError:
    config = model.config
    return EngineError(
        f"{type(model).__name__} {why}, and the engine does not run that.",
        where=f"a model of type {config.model_type}" + _place(config),
        cure=CURE,
    )


def failing(error: Exception) -> str:
    """Return what is said of a model that fails in a pass."""
    return f"fails in the engine's passes ({type(error).__name__}: {first_line(error)})"


def reach(config: Any) -> int:
    """Return the length in tokens of the longest text that the engine may give the model.

    Some rotary frequencies (longrope, dynamic) change beyond a length. Keys that were cached before
    would not fit those computed after, so that length is the limit.
    """
    longest = int(getattr(config, "max_position_embeddings", 0) or 2**31)
    if getattr(config, "attn_temperature_tuning", None) and getattr(config, "floor_scale", None):
        # Beyond it Llama 4 scales queries by their place in the pass, not by their position.
        longest = min(longest, int(config.floor_scale) - 1)
    rotary = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    for each in (rotary, *(part for part in rotary.values() if isinstance(part, dict))):
        if each.get("rope_type", each.get("type")) in ("longrope", "dynamic"):
            first = each.get("original_max_position_embeddings")
            first = first or getattr(config, "original_max_position_embeddings", None)
            longest = min(longest, int(first or longest))
    return longest


def windows(config: Any) -> dict[str, int]:
    """Return the settings that let a token see fewer than all earlier ones, in texts in `reach`."""
    found = {name: getattr(config, name, None) for name in _WINDOWS}
    return {
        name: size
        for name, size in found.items()
        if isinstance(size, int) and 0 < size < reach(config)
    }


def _kinds(model: Any) -> Iterator[str]:
    config = model.config.get_text_config()
    bounded = windows(config)
    for kind in _layer_kinds(config):
        named = [name for name, bounds in _WINDOWS.items() if bounds == kind]
        # A window that is longer than any text bounds nothing.
        if kind not in _TRIED and (not named or any(name in bounded for name in named)):
            sizes = "".join(f" ({name} {bounded[name]})" for name in named if name in bounded)
            yield f"layers of kind {kind}{sizes}"
    if not model._can_set_attn_implementation():
        yield "an attention of its own, that cannot be replaced"


def _named(module: nn.Module) -> bool:
    return _STATEFUL.search(type(module).__name__) is not None


def _layer_kinds(config: Any) -> list[str]:
    """Return the distinct kinds of layers that a config lists, in order."""
    for name in ("layer_types", "layers_block_type", "attention_layers"):
        listed = getattr(config, name, None)
        if isinstance(listed, list | tuple) and all(isinstance(kind, str) for kind in listed):
            return list(dict.fromkeys(listed))
    return []


def _place(config: Any) -> str:
    path = getattr(config, "_name_or_path", "")
    return f", {path}" if path else ""
