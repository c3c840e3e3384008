"""The engine that generates with vLLM, and scores and trains with transformers.

Only the class and its options live here; the modules beside it import torch and vLLM and are
reached from `load`, so that naming the engine in a spec costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ttsi import EngineCapability, option
from ttsi_plugins.engines._deferred import Deferred
from ttsi_plugins.engines.transformers import TransformersEngine

if TYPE_CHECKING:
    from .engine import Runtime

# vLLM's environment: no usage reports, only warnings, and spawned processes, since a fork of one
# with threads and a CUDA context can hang.
_SETTINGS = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
}


@dataclass(eq=False)
class VllmEngine(Deferred):
    """Generates with vLLM, and scores and trains with the transformers engine.

    Both hold the same weights on the device for which the installed vLLM is built. vLLM runs all
    requests of a call at once. Adapters that act from the user turn on are refused, since vLLM does
    not support them. See `ttsi.protocols.Engine`.

    Raises EngineError (and OutOfMemory) from its calls; MissingAsset, CorruptAsset and RunError,
    where the device cannot hold both halves, from `load`.
    """

    capabilities: ClassVar[frozenset[EngineCapability]] = frozenset(EngineCapability) - {
        EngineCapability.ACTIVATED
    }

    name: ClassVar[str] = "vllm"
    packages: ClassVar[frozenset[str]] = TransformersEngine.packages | {"vllm"}
    cure: ClassVar[str] = "pip install 'ttsi[vllm]'; docs/gpu.md has it for a CPU too."

    model: Mapping[str, Any]
    gpu_memory_utilization: float = option(
        0.5,
        "Share of the device's memory that vLLM takes, of the machine's on a CPU: for its copy of "
        "the weights, and keys and values.",
        exclusiveMinimum=0,
        exclusiveMaximum=1,
    )
    memory_gib: float | None = option(
        None,
        "Memory for scoring and training beyond their copy of the weights; null: half of what a "
        "CPU has free beside vLLM and 8 GiB at most, or 85 % of what a GPU has free beside it.",
        exclusiveMinimum=0,
    )
    max_batch: int = option(256, "Rows that vLLM decodes together.", minimum=1)
    max_loras: int = option(
        16,
        "Adapters that vLLM decodes with together: as many as a wave has samples. More of them "
        "take turns.",
        minimum=1,
    )
    max_lora_rank: Literal[8, 16, 32, 64, 128, 256] = option(
        8, "Largest rank of an adapter; a larger limit than needed wastes time and memory."
    )
    max_model_len: int | None = option(
        None, "Tokens of a prompt and its answer at most; null is what the model allows.", minimum=2
    )
    eager: bool = option(False, "No CUDA graphs: slower steps, and a start without capture.")
    on_progress: Callable[[int, int], None] | None = None
    _loaded: Runtime | None = field(default=None, init=False, repr=False)

    def _start(self) -> Runtime:
        """Start vLLM, then bring the weights into memory beside it."""
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        from .engine import Runtime

        return Runtime.load(self)
