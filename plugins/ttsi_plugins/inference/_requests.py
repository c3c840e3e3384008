"""What all inference shares: options of decoding, requests and their completions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ttsi import (
    JSON,
    Adaptation,
    Adapter,
    Asked,
    Demonstrations,
    Message,
    Prompt,
    Request,
    Sampling,
    Task,
    UsageError,
    draw_seed,
    form_of,
    option,
)
from ttsi import (
    EngineCapability as Can,
)


@dataclass(frozen=True)
class Asking:
    """Options of asking for an answer, whose tokens are the likeliest."""

    format: Literal["free", "tool_calls"] = option(
        "free",
        "Free text, or decoding constrained to the JSON of a right-shaped answer, such as a list "
        "of calls valid for the tools.",
    )
    max_tokens: int = option(256, "Length at which an answer is cut.", minimum=1)
    thought_tokens: int = option(
        512,
        "Most tokens of a thought before an answer, where the model's `thinking` is on.",
        minimum=1,
    )
    min_calls: int = option(1, "Least number of calls under format tool_calls.", minimum=0)
    max_calls: int | None = option(
        None, "Most calls under format tool_calls; null: any.", minimum=1
    )

    def __post_init__(self) -> None:
        if self.max_calls is not None and self.min_calls > self.max_calls:
            raise UsageError(
                f"At least {self.min_calls} calls and at most {self.max_calls} are asked for.",
                where="min_calls and max_calls",
                cure="Raise max_calls, or lower min_calls.",
            )

    @property
    def needs(self) -> frozenset[Can]:
        return frozenset(
            {Can.GENERATE, Can.GRAMMAR} if self.format == "tool_calls" else {Can.GENERATE}
        )

    def greedy(self) -> Sampling:
        return replace(Sampling.greedy(self.max_tokens), thought_tokens=self.thought_tokens)

    def sampling(self) -> Sampling:
        return self.greedy()

    def request(self, task: Task, adaptation: Adaptation | None, seed: int) -> Request:
        asked = task.asked or Asked()
        length = asked.max_tokens or self.max_tokens
        return Request(
            Prompt(_messages(task, adaptation), tools=task.offered, thinking=True),
            replace(self.sampling(), max_tokens=length),
            seed,
            adapter=adaptation if isinstance(adaptation, Adapter) else None,
            grammar=self._grammar(task, asked),
            stop=asked.stop,
            owner=task.id,
        )

    def _grammar(self, task: Task, asked: Asked) -> Mapping[str, JSON] | None:
        if asked.schema is not None:
            return asked.schema
        held = self.format == "tool_calls" if asked.constrained is None else asked.constrained
        if not held:
            return None
        least = self.min_calls if asked.least is None else asked.least
        schema: Mapping[str, JSON] | None = form_of(task).schema(
            task, least=least, most=asked.most or self.max_calls
        )
        return schema


@dataclass(frozen=True)
class Decoding(Asking):
    """Options of sampled answers; the defaults of sampling are the paper's."""

    temperature: float = option(0.7, "Sampling temperature.", minimum=0)
    top_p: float = option(
        0.8, "Probability that nucleus sampling keeps (top-p).", exclusiveMinimum=0, maximum=1
    )
    top_k: int = option(20, "Likeliest tokens kept; 0 keeps all.", minimum=0)
    repetition_penalty: float = option(1.1, "Penalty on tokens seen.", exclusiveMinimum=0)

    def sampling(self) -> Sampling:
        return Sampling(
            self.temperature,
            self.top_p,
            self.top_k,
            self.repetition_penalty,
            self.max_tokens,
            self.thought_tokens,
        )

    def draws(
        self, task: Task, adaptation: Adaptation | None, seed: int, stage: str, count: int
    ) -> list[Request]:
        """Return `count` requests for the same answer, each with a seed of its own."""
        return [
            self.request(task, adaptation, draw_seed(seed, task.id, stage, draw))
            for draw in range(count)
        ]


def _messages(task: Task, adaptation: Adaptation | None) -> tuple[Message, ...]:
    if not isinstance(adaptation, Demonstrations):
        return task.messages
    # A task without an instruction has no system turn.
    told = task.messages[: -len(task.said)]
    return (*told, *adaptation.turns, *task.said)
