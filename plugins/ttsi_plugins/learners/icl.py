"""T in context: the synthetic examples precede the question; no weight changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ttsi import (
    Adaptation,
    Completion,
    Demonstrations,
    Engine,
    EngineCapability,
    Example,
    Task,
    option,
)
from ttsi_plugins.learners._targets import TARGET_HELP, write_target


@dataclass(frozen=True)
class InContext:
    """Examples in context: nothing is trained.

    Each example comes before the question, as a user and an assistant turn.

    An example of a conversation is shown from its beginning: the turns before the request belong to
    it as well, and the conversation to be answered follows whole.
    """

    needs: ClassVar[frozenset[EngineCapability]] = frozenset()

    target: Literal["tool_call", "as_answered"] = option("as_answered", TARGET_HELP)

    @property
    def needs_base(self) -> bool:
        return self.target == "as_answered"

    def learn(
        self,
        tasks: Sequence[Task],
        examples: Sequence[Sequence[Example]],
        base: Sequence[Completion | None],
        engine: Engine,
        seed: int,
    ) -> list[Adaptation]:
        return [
            Demonstrations.of(
                (example.task.said, write_target(self.target, task, example.answer, answer, engine))
                for example in some
            )
            for task, some, answer in zip(tasks, examples, base, strict=True)
        ]
