"""Keep each record that an executor delivers: in the journal, among those done, and told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ttsi.records.journal import Journal
from ttsi.records.sessions import Session
from ttsi.records.steps import Steps
from ttsi.running.lending import without_lent
from ttsi.solving.costs import add_costs
from ttsi.types import Record, StageCost


@dataclass
class Delivery:
    """What becomes of one seed's records.

    `done` receives each by its id; `spent` are the costs of earlier tries that failed, which a
    record has on top of its own; `lent` are the records that other cells lent; `told` learns of a
    record last, when it is safe.
    """

    journal: Journal
    steps: Steps
    session: Session
    done: dict[str, Record]
    told: Callable[[Record], None]
    spent: dict[str, Mapping[str, StageCost]]
    lent: Mapping[str, Record] = field(default_factory=dict)

    def __call__(self, record: Record) -> None:
        record = without_lent(record, self.lent)
        record = replace(record, costs=add_costs(self.spent.get(record.id, {}), record.costs))
        self.journal.append(record)
        if record.error:
            self.steps.drop(record.id)
        self.done[record.id] = record
        self.session.samples += 1
        self.told(record)
