"""The engine that generates with vLLM, and scores and trains beside it (DESIGN section 7).

Only the class and its options live here; the modules beside it import torch and vLLM and are
reached from `load`, so that naming the engine in a spec costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ttsi.errors import MissingAsset
from ttsi.options import option
from ttsi.types import JSON, Adapter, Generation, Likelihood, Prompt, Request, TrainJob

if TYPE_CHECKING:
    from .engine import Runtime

_PACKAGES = {
    *("accelerate", "gguf", "peft", "psutil", "safetensors", "torch", "transformers", "vllm"),
    *("xgrammar",),
}

# What vLLM reads from the environment: no reports to its makers, warnings only, and processes of
# its own that begin afresh, since a fork of one with threads and a CUDA context in it can hang.
_SETTINGS = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
}


@dataclass(eq=False)
class VllmEngine:
    """Writes by vLLM, all requests of a call at once; scores and learns by the transformers engine.

    Both hold the same weights on the device for which the installed vLLM is built. Adapters that
    act from the user turn on are refused: vLLM has none. See `ttsi.protocols.Engine`.

    Raises EngineError (and OutOfMemory) from its calls; MissingAsset, CorruptAsset and RunError,
    where the device cannot hold both halves, from `load`.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"loglikelihood", "generate", "grammar", "adapters", "train"}
    )

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

    def load(self) -> None:
        """Start vLLM, then bring the weights into memory beside it. A second call does nothing."""
        self._runtime()

    def loglikelihoods(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[Likelihood]]:
        return self._runtime().loglikelihoods(prompts, continuations, self._report)

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        return self._runtime().generate(requests, self._report)

    def train(self, jobs: Sequence[TrainJob]) -> list[Adapter]:
        return self._runtime().train(jobs, self._report)

    def digest(self) -> str:
        """Of the weights that score and learn. vLLM's are read from the same files, and adapters
        never touch them."""
        return self._runtime().digest()

    def describe(self) -> dict[str, JSON]:
        return self._runtime().describe()

    def forget(self) -> None:
        """Drop cached prefixes and adapters; results do not change."""
        if self._loaded is not None:
            self._loaded.forget()

    def close(self) -> None:
        """End vLLM's processes and free the weights. The next call loads them again."""
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None

    def _runtime(self) -> Runtime:
        if self._loaded is None:
            for name, value in _SETTINGS.items():
                os.environ.setdefault(name, value)
            try:
                from .engine import Runtime
            except ModuleNotFoundError as error:
                package = (error.name or "").partition(".")[0]
                if package not in _PACKAGES:
                    raise
                raise MissingAsset(
                    f"The vllm engine needs the package {package!r}.",
                    where="engine vllm",
                    cure="pip install 'ttsi[vllm]'; docs/gpu.md has it for a CPU too.",
                ) from error
            self._loaded = Runtime.load(self)
        return self._loaded

    def _report(self, done: int, total: int) -> None:
        if self.on_progress is not None:
            self.on_progress(done, total)
