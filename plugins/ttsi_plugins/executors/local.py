"""Waves in this process, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ttsi import JSON, RunnerFactory, Sample, Session, Watcher, option


@dataclass(frozen=True)
class Local:
    """Waves of samples in this process, one after another.

    `wave` samples pass the stages together, only for speed.
    """

    wave: int = option(16, "How many samples pass the stages together.", minimum=1)

    def run(
        self,
        factory: RunnerFactory,
        samples: Sequence[Sample],
        session: Session,
        watcher: Watcher | None = None,
    ) -> list[dict[str, JSON]]:
        runner = factory(watcher)
        try:
            session.admit("this process", runner.identity())
            for first in range(0, len(samples), self.wave):
                if session.enough():
                    break
                for made in runner.run_wave(samples[first : first + self.wave]):
                    session.deliver(made)
            return [runner.close()]
        except BaseException:
            runner.abandon()
            raise
