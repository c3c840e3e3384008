"""The engine that runs a model in this process, through transformers and PEFT.

Only the class and its options live here; the modules beside it import torch and are reached from
`load`, so that naming the engine in a spec costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ttsi import EngineCapability, option
from ttsi_plugins.engines._deferred import Deferred

if TYPE_CHECKING:
    from .engine import Runtime


@dataclass(eq=False)
class TransformersEngine(Deferred):
    """Scores, generates and trains with one model of transformers, on CPU or GPU.

    Raises EngineError (and OutOfMemory) from its calls, MissingAsset and CorruptAsset from `load`.
    """

    name: ClassVar[str] = "transformers"
    packages: ClassVar[frozenset[str]] = frozenset(
        ["torch", "transformers", "peft", "safetensors", "xgrammar", "gguf", "accelerate", "psutil"]
    )
    cure: ClassVar[str] = "pip install 'ttsi[transformers]'"

    model: Mapping[str, Any]
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", "Where the model runs; auto takes a GPU where there is one."
    )
    max_batch: int = option(16, "Rows decoded together.", minimum=1)
    memory_gib: float | None = option(
        None,
        "Memory to use beyond the weights, for cached prefixes, adapters, decoding and training; "
        "null: half of what a CPU has free and 8 GiB at most, or 85 % of what a GPU has free.",
        exclusiveMinimum=0,
    )
    on_progress: Callable[[int, int], None] | None = None
    left: Callable[[str], bool] | None = None
    listener: Callable[[str], Callable[[str], None] | None] | None = None
    _loaded: Runtime | None = field(default=None, init=False, repr=False)
    # A model that runs in native mode cannot do all of it, which is known once it is loaded.
    capabilities: frozenset[EngineCapability] = field(
        default=frozenset(EngineCapability), init=False, repr=False
    )

    def _start(self) -> Runtime:
        from .engine import Runtime

        runtime = Runtime.load(self)
        self.capabilities = runtime.capabilities
        return runtime
