"""The requests that plugins make to an engine, as token ids, recorded by a stand-in engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from perf.common import Bench
from ttsi.protocols import Generator
from ttsi.types import Generation, Likelihood, Prompt, Request, Task
from ttsi_plugins.estimators.rss_margin import RssMargin

Ids = list[int]


def candidates(bench: Bench, tasks: Sequence[Task]) -> tuple[list[Ids], list[list[Ids]]]:
    """Return the prompts in which rss_margin scores the tools' names, and each one's candidates."""
    notes = _Notes()
    RssMargin().estimate(tasks, notes, 0)  # type: ignore[arg-type]
    tokens = bench.reference.tokens
    return (
        [tokens.prompt(prompt) for prompt in notes.prompts],
        [[tokens.text(text) for text in some] for some in notes.continuations],
    )


def generator_prompts(bench: Bench, generator: Generator, tasks: Sequence[Task]) -> list[Ids]:
    """Return the prompts of the generator's first attempts."""
    notes = _Notes()
    generator.generate(tasks, notes, 0)  # type: ignore[arg-type]
    return [bench.prompt_ids(request.prompt) for request in notes.requests]


@dataclass
class _Notes:
    prompts: list[Prompt] = field(default_factory=list)
    continuations: list[Sequence[str]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def loglikelihoods(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[Likelihood]]:
        self.prompts += prompts
        self.continuations += continuations
        return [[Likelihood(0.0, 1) for _ in some] for some in continuations]

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.requests += requests
        return [Generation("", 0, 0, 0.0, "stop") for _ in requests]
