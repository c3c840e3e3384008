"""Whether the device can hold both vLLM's share and the engine that scores and trains."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch

from ttsi import RunError

if TYPE_CHECKING:
    from . import VllmEngine

_GIB = 2**30
# GiB; less is too little to train with.
_LEAST = 1.0
# On a CPU the engine beside vLLM keeps its weights a second time, packed for products.
_COPIES = {"cpu": 2, "cuda": 1}


@dataclass(frozen=True)
class Split:
    """Bytes of a device: `total`, `free` now, vLLM's share, and one copy of the weights.

    `beside` is what the other engine takes: its copies of the weights, and memory for its work.
    """

    total: int
    free: int
    vllm: int
    weights: int
    beside: int

    @property
    def fits(self) -> bool:
        return self.weights < self.vllm and self.vllm + self.beside <= self.free


def check(folder: Path, dtype: str, options: VllmEngine, device: str) -> None:
    """Raise RunError, saying what would fit, if the device cannot hold both engines."""
    free, total = _device(device)
    held = weight_bytes(folder, dtype)
    beside = int(_COPIES.get(device, 1) * held + (options.memory_gib or _LEAST) * _GIB)
    split = Split(total, free, int(options.gpu_memory_utilization * total), held, beside)
    if not split.fits:
        raise _misfit(split, device)


def weight_bytes(folder: Path, dtype: str) -> int:
    """Return the bytes of the weights in `folder` as `dtype`, counted from their files' headers."""
    numbers = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        numbers += sum(
            math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"
        )
    return int(numbers * getattr(torch, dtype).itemsize)


def _misfit(split: Split, device: str) -> RunError:
    most = (split.free - split.beside) / split.total
    least = split.weights / split.total
    if most > least:
        cure = f'Set "gpu_memory_utilization" between {least:.2f} and {most:.2f}.'
    else:
        cure = 'Free some memory, set "memory_gib" lower, or use a smaller model or dtype.'
    what = (
        f"The {device} device has {_gib(split.free)} of its {_gib(split.total)} free. vLLM would "
        f"take {_gib(split.vllm)}, of which weights {_gib(split.weights)}; scoring and training "
        f"beside it {_gib(split.beside)}."
    )
    return RunError(what, where="engine vllm", cure=cure)


def _device(device: str) -> tuple[int, int]:
    """Return (free, total) bytes."""
    if device == "cuda":
        return torch.cuda.mem_get_info()
    memory = psutil.virtual_memory()
    return int(memory.available), int(memory.total)


def _gib(count: int) -> str:
    return f"{count / _GIB:.1f} GiB"
