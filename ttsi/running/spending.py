"""What the runs of a spec have spent, and whether that is all that the spec allows (`stop_at`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from ttsi.errors import LimitReached
from ttsi.records.journal import ESTIMATES, SAMPLES, read
from ttsi.solving.budget import UNADAPTED
from ttsi.spec import StopAt
from ttsi.types import Record, StageCost


@dataclass
class Spending:
    """Dollars and seconds of all cells and seeds, those of earlier sessions included."""

    limits: StopAt
    usd: float = 0.0
    seconds: float = 0.0
    _unadapted: set[tuple[str, int, str, StageCost]] = field(default_factory=set)

    @property
    def limited(self) -> bool:
        return self.limits != StopAt()

    def add(self, record: Record, known: Record | None = None) -> None:
        """Add what a record cost, without what `known`, which it includes, had cost before."""
        for whose, sign in ((record, 1), (known, -1)):
            for cost in whose.costs.values() if whose else ():
                self.usd += sign * cost.usd
                self.seconds += sign * cost.seconds

    def add_stored(self, folder: Path) -> None:
        """Add what the records in a seed's folder cost, and once what one cell lent to another."""
        found = {each.id: each for name in (ESTIMATES, SAMPLES) for each in read(folder / name)}
        for record in found.values():
            unadapted = [(stage, record.costs.get(stage, StageCost())) for stage in UNADAPTED]
            keys = {(record.id, record.seed, *each) for each in unadapted}
            before = {stage: cost for _, _, stage, cost in keys & self._unadapted}
            self.add(record, replace(record, costs=before))
            self._unadapted |= keys

    def reached(self) -> bool:
        """Whether no further wave is to begin."""
        return bool(self._told())

    def check(self, done: int, samples: int, folder: Path) -> None:
        """Raise LimitReached if that is why only `done` of the samples in `folder` are done."""
        told = self._told()
        if told and done < samples:
            key, said, limit = told[0]
            raise LimitReached(
                f"Stopped, as the spec says: {said}. {done} of {samples} samples are finished, and "
                "stay.",
                where=str(folder),
                cure="The same command with a larger limit goes on, such as "
                f"--set stop_at.{key}={2 * limit:g}; with null there is none.",
            )

    def _told(self) -> list[tuple[str, str, float]]:
        """Return (key, words, limit) for each limit that is reached."""
        usd, minutes = self.limits.usd, self.limits.minutes
        found = []
        if usd is not None and self.usd >= usd:
            found.append(("usd", f"{self.usd:.4g} of {usd:g} US dollars are spent", usd))
        if minutes is not None and self.seconds / 60 >= minutes:
            said = f"its stages have taken {self.seconds / 60:.4g} of {minutes:g} minutes"
            found.append(("minutes", said, minutes))
        return found
