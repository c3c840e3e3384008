"""Measure what stages spend: an engine that counts tokens, and charges for work outside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from ttsi.optional import written_calls
from ttsi.protocols import Engine
from ttsi.types import (
    JSON,
    Adapter,
    Generation,
    Likelihood,
    Message,
    Prompt,
    Request,
    StageCost,
    TrainJob,
)

_ledger: ContextVar[MutableMapping[str, StageCost] | None] = ContextVar("ledger", default=None)
_listener: ContextVar[Callable[[Sequence[Message]], None] | None] = ContextVar(
    "listener", default=None
)


def charge(
    task_id: str, *, prompt_tokens: float = 0, completion_tokens: float = 0, usd: float = 0.0
) -> None:
    """Charge a task for what a stage spent outside the engine, for instance at a teacher.

    Call it in the thread in which the stage's method was called. Outside a run it does nothing.
    """
    ledger = _ledger.get()
    if ledger is not None:
        spent = StageCost(0.0, prompt_tokens, completion_tokens, usd)
        ledger[task_id] = ledger.get(task_id, StageCost()) + spent


@contextmanager
def charging(ledger: MutableMapping[str, StageCost]) -> Iterator[None]:
    """Add what is charged in this context to `ledger`, by task id."""
    before = _ledger.set(ledger)
    try:
        yield
    finally:
        _ledger.reset(before)


def asked_outside(messages: Sequence[Message]) -> None:
    """Report what a stage asks of a model outside the engine, for `ttsi prompts`.

    Call it as `charge`. Without a listener it does nothing.
    """
    listener = _listener.get()
    if listener is not None:
        listener(messages)


@contextmanager
def hearing(listener: Callable[[Sequence[Message]], None]) -> Iterator[None]:
    """Send the questions to models outside the engine, asked in this context, to `listener`."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


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
    """Forwards every call and counts tokens; satisfies the Engine protocol.

    For likelihoods only the tokens of the candidates are counted, because engines do not report the
    length of prompts.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.capabilities = engine.capabilities
        self.on_progress: Callable[[int, int], None] | None = None
        self.spent = Spent()

    def begin(self, tell: Callable[[int, int], None]) -> None:
        """Begin a stage: reset the counters and send progress to `tell`."""
        self.spent = Spent()
        # Stages that do not use the engine report progress through this one.
        self.on_progress = self._engine.on_progress = tell

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

    def called(self, prompt: Prompt, calls: JSON) -> str:
        return written_calls(self._engine, prompt, calls)

    def train(self, jobs: Sequence[TrainJob]) -> list[Adapter]:
        adapters = self._engine.train(jobs)
        self.spent.prompt_tokens += sum(a.training.tokens for a in adapters if a.training)
        return adapters

    def digest(self) -> str:
        return self._engine.digest()

    def identity(self) -> dict[str, JSON]:
        return self._engine.identity()

    def forget(self) -> None:
        self._engine.forget()

    def describe(self) -> dict[str, JSON]:
        return self._engine.describe()

    def close(self) -> None:
        self._engine.close()
