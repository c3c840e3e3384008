"""Estimators that do not look at the input: the ablations of H."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ttsi import Engine, EngineCapability, Estimate, Task, draw_seed, option


@dataclass(frozen=True)
class Always:
    """Every input is uncertain: TT-SI without H."""

    needs: ClassVar[frozenset[EngineCapability]] = frozenset()

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[Estimate]:
        return [Estimate(confidence=0.0, uncertain=True) for _ in tasks]


@dataclass(frozen=True)
class Never:
    """No input is uncertain: the base model alone."""

    needs: ClassVar[frozenset[EngineCapability]] = frozenset()

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[Estimate]:
        return [Estimate(confidence=1.0, uncertain=False) for _ in tasks]


@dataclass(frozen=True)
class Random:
    """Each input is uncertain with probability `rate`, by a draw of its own seed."""

    needs: ClassVar[frozenset[EngineCapability]] = frozenset()

    rate: float = option(0.5, "Share of inputs to adapt to.", minimum=0, maximum=1)

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[Estimate]:
        draws = [draw_seed(seed, task.id, "estimate") / 2**63 for task in tasks]
        return [Estimate(confidence=draw, uncertain=draw < self.rate) for draw in draws]
