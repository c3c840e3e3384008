"""An engine as a stage sees it, with a meter on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ttsi.protocols import Engine
from ttsi.types import (
    JSON,
    Adapter,
    Generation,
    Likelihood,
    Prompt,
    Request,
    StageCost,
    TrainJob,
)


@dataclass
class Spent:
    """Tokens read and written since the stage began."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def share(self, seconds: float, among: int) -> StageCost:
        return StageCost(
            seconds / among, self.prompt_tokens / among, self.completion_tokens / among
        )


class MeteredEngine:
    """Passes every call on and counts tokens; satisfies the Engine protocol.

    Likelihoods count the tokens of the candidates: an engine does not say how long prompts were.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.capabilities = engine.capabilities
        self.on_progress: Callable[[int, int], None] | None = None
        self.spent = Spent()

    def begin(self, tell: Callable[[int, int], None]) -> None:
        """A stage begins: the meter is at zero and progress goes to `tell`."""
        self.spent = Spent()
        self._engine.on_progress = tell

    def load(self) -> None:
        self._engine.load()

    def loglikelihoods(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[Likelihood]]:
        found = self._engine.loglikelihoods(prompts, continuations)
        self.spent.prompt_tokens += sum(item.tokens for some in found for item in some)
        return found

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        made = self._engine.generate(requests)
        self.spent.prompt_tokens += sum(item.prompt_tokens for item in made)
        self.spent.completion_tokens += sum(item.completion_tokens for item in made)
        return made

    def train(self, jobs: Sequence[TrainJob]) -> list[Adapter]:
        adapters = self._engine.train(jobs)
        self.spent.prompt_tokens += sum(a.training.tokens for a in adapters if a.training)
        return adapters

    def digest(self) -> str:
        return self._engine.digest()

    def describe(self) -> dict[str, JSON]:
        return self._engine.describe()

    def close(self) -> None:
        self._engine.close()
