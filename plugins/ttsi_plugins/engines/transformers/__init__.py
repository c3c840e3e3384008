"""The engine that runs a model in this process, through transformers and PEFT (DESIGN section 7).

Only the class and its options live here; the modules beside it import torch and are reached from
`load`, so that naming the engine in a spec costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ttsi.errors import MissingAsset
from ttsi.options import option
from ttsi.types import JSON, Adapter, Generation, Likelihood, Prompt, Request, TrainJob

if TYPE_CHECKING:
    from .engine import Runtime

_PACKAGES = {
    *("torch", "transformers", "peft", "safetensors", "xgrammar", "gguf", "accelerate", "psutil")
}


@dataclass(eq=False)
class TransformersEngine:
    """Scores, writes and learns with one resident base model. See `ttsi.protocols.Engine`.

    Raises EngineError (and OutOfMemory) from its calls, MissingAsset and CorruptAsset from `load`.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"loglikelihood", "generate", "grammar", "adapters", "train", "activated"}
    )

    model: Mapping[str, Any]
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", "Where the model runs; auto takes a GPU where there is one."
    )
    max_batch: int = option(16, "Rows decoded together.", minimum=1)
    memory_gib: float | None = option(
        None,
        "Memory to use beyond the weights, for cached prefixes, decoding and training; null: half "
        "of what a CPU has free and 8 GiB at most, or 85 % of what a GPU has free.",
        exclusiveMinimum=0,
    )
    on_progress: Callable[[int, int], None] | None = None
    _loaded: Runtime | None = field(default=None, init=False, repr=False)

    def load(self) -> None:
        """Bring the weights into memory. A second call does nothing."""
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
        return self._runtime().digest()

    def describe(self) -> dict[str, JSON]:
        return self._runtime().describe()

    def forget(self) -> None:
        """Drop cached prefixes and adapters; results do not change."""
        if self._loaded is not None:
            self._loaded.forget()

    def close(self) -> None:
        """Free the weights. The next call loads them again."""
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None

    def _runtime(self) -> Runtime:
        if self._loaded is None:
            try:
                from .engine import Runtime
            except ModuleNotFoundError as error:
                if (error.name or "").partition(".")[0] not in _PACKAGES:
                    raise
                raise MissingAsset(
                    f"The transformers engine needs the package {error.name!r}.",
                    where="engine transformers",
                    cure="pip install 'ttsi[transformers]'",
                ) from error
            self._loaded = Runtime.load(self)
        return self._loaded

    def _report(self, done: int, total: int) -> None:
        if self.on_progress is not None:
            self.on_progress(done, total)
