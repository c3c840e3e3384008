"""An engine made of generate alone, so that a pipeline can take its answers from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from perf.references import Resident
from perf.references.generate import Writer
from ttsi.types import Adapter, Generation, Likelihood, Prompt, Request, TrainJob


class WritingEngine:
    """An engine that writes by greedy generate, one request after another, and does nothing else.

    Each prompt is read from its beginning.
    """

    capabilities = frozenset({"generate", "grammar"})

    def __init__(self, resident: Resident) -> None:
        self.on_progress: Callable[[int, int], None] | None = None
        self._tokens = resident.tokens
        self._base = Writer(resident)

    def load(self) -> None:
        """Do nothing: the model is in memory already."""

    def loglikelihoods(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[Likelihood]]:
        raise NotImplementedError

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        return [self._generate(request) for request in requests]

    def train(self, jobs: Sequence[TrainJob]) -> list[Adapter]:
        raise NotImplementedError

    def digest(self) -> str:
        return ""

    def identity(self) -> dict[str, Any]:
        return {"weights_digest": ""}

    def forget(self) -> None:
        """Do nothing: no more than the adapter trained last is kept."""

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        """Do nothing: the bench owns the model."""

    def _writer(self, request: Request) -> Writer:
        return self._base

    def _generate(self, request: Request) -> Generation:
        sampling = request.sampling
        if sampling.repetition_penalty != 1 or not (
            sampling.temperature == 0 or sampling.top_k == 1
        ):
            raise ValueError("the reference decodes greedily")
        writer = self._writer(request)
        prompt = self._tokens.prompt(request.prompt)
        ids = writer.write(writer.padded([prompt]), sampling.max_tokens, [request.grammar])[0]
        return Generation(
            text=writer.text(ids),
            prompt_tokens=len(prompt),
            completion_tokens=len(ids),
            logprob=0.0,
            finish="stop" if ids[-1] in self._tokens.ends else "length",
        )
