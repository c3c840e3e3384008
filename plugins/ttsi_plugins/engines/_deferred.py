"""A base class of engines that import packages and load weights only when first called."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ttsi import (
    JSON,
    Adapter,
    Generation,
    Likelihood,
    MissingAsset,
    Prompt,
    Rendered,
    Request,
    TrainJob,
)


class Deferred(ABC):
    """An engine that forwards the calls of `ttsi.protocols.Engine` to a runtime.

    The first call starts the runtime, and raises MissingAsset if a package is not installed. `name`
    is the engine's, `packages` are what its runtime imports, `cure` says how to install them.
    """

    name: ClassVar[str]
    packages: ClassVar[frozenset[str]]
    cure: ClassVar[str]

    on_progress: Callable[[int, int], None] | None
    _loaded: Any

    @abstractmethod
    def _start(self) -> Any:
        """Import the runtime's module, and return a loaded runtime."""

    def load(self) -> None:
        """Bring the weights into memory. A second call does nothing."""
        self._runtime()

    def loglikelihoods(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[Likelihood]]:
        found: list[list[Likelihood]] = self._runtime().loglikelihoods(
            prompts, continuations, self._report
        )
        return found

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        made: list[Generation] = self._runtime().generate(requests, self._report)
        return made

    def called(self, prompt: Prompt, calls: JSON) -> str:
        """Return calls as the model's chat template writes them in answer to a prompt."""
        return str(self._runtime().called(prompt, calls))

    def train(self, jobs: Sequence[TrainJob]) -> list[Adapter]:
        made: list[Adapter] = self._runtime().train(jobs, self._report)
        return made

    def digest(self) -> str:
        """Return the digest of the weights that score and learn."""
        return str(self._runtime().digest())

    def identity(self) -> dict[str, JSON]:
        """Return the identity of what was loaded, hashed once."""
        said: dict[str, JSON] = self._runtime().identity()
        return said

    def describe(self) -> dict[str, JSON]:
        said: dict[str, JSON] = self._runtime().describe()
        return said

    def rendered(self, prompt: Prompt) -> Rendered:
        """Return a prompt as the model reads it."""
        found: Rendered = self._runtime().rendered(prompt)
        return found

    def rendered_text(self, text: str, *, end: bool = False) -> Rendered:
        """Return an assistant's text as the model reads it; with `end`, as a training target."""
        found: Rendered = self._runtime().rendered_text(text, end)
        return found

    def forget(self) -> None:
        """Drop cached prefixes and adapters; results do not change."""
        if self._loaded is not None:
            self._loaded.forget()

    def close(self) -> None:
        """Free the weights. The next call loads them again."""
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None

    def _runtime(self) -> Any:
        if self._loaded is None:
            try:
                self._loaded = self._start()
            except ModuleNotFoundError as error:
                package = (error.name or "").partition(".")[0]
                if package not in self.packages:
                    raise
                raise MissingAsset(
                    f"The {self.name} engine needs the package {package!r}.",
                    where=f"engine {self.name}",
                    cure=self.cure,
                ) from error
        return self._loaded

    def _report(self, done: int, total: int) -> None:
        if self.on_progress is not None:
            self.on_progress(done, total)
