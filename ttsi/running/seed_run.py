"""Run one seed: pending samples, the check of its engines, and the files that it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ttsi._common.files import write_atomically, write_json
from ttsi.errors import RunError
from ttsi.hooks import Hooks
from ttsi.records import provenance, sessions
from ttsi.records.identity import IDENTITY, Identity
from ttsi.records.journal import (
    ESTIMATES,
    SAMPLES,
    STEPS,
    STEPS_OF_ESTIMATES,
    Journal,
    forget,
    read,
)
from ttsi.records.sessions import OF_ESTIMATES, SESSIONS, Session
from ttsi.records.steps import Steps
from ttsi.results import metrics, synthetic
from ttsi.running.assembly import Assembly
from ttsi.running.delivery import Delivery
from ttsi.running.spending import Spending
from ttsi.solving.budget import UNADAPTED, share_out
from ttsi.spec import Spec, resolved
from ttsi.types import Played, Record, Sample, StageCost


class Cell(Protocol):
    """What a seed needs from the cell of its spec."""

    spec: Spec
    spending: Spending

    @property
    def hooks(self) -> Hooks: ...

    @property
    def revision(self) -> str: ...

    def write_head(self, folder: Path) -> None: ...

    def write_summary(self) -> object: ...

    def session(
        self, name: str, whose: Identity, folder: Path, begun: Callable[[], None]
    ) -> Session: ...

    def assembly(self, seed: int, **how: Any) -> Assembly: ...

    def work(
        self,
        session: Session,
        assembly: Assembly,
        samples: Sequence[Sample],
        deliver: Callable[[Record], None],
        keep: Callable[[Played], None],
    ) -> None: ...

    def estimates(
        self, whose: Identity, samples: list[Sample], folder: Path, session: Session
    ) -> dict[str, Record]: ...

    def lent(self, whose: Identity, samples: Sequence[Sample]) -> dict[str, Record]: ...

    def told(self, record: Record, done: int, samples: int) -> None: ...


def forget_seed(folder: Path) -> None:
    """Remove a seed's files, first the manifest, which marks it complete, last the identity."""
    forget(folder, "manifest.json", "results.json", "predictions.jsonl", SAMPLES, STEPS, SESSIONS)
    forget_estimates(folder)


def forget_estimates(folder: Path) -> None:
    forget(folder, ESTIMATES, STEPS_OF_ESTIMATES, OF_ESTIMATES)
    if next(read(folder / SAMPLES), None) is None:
        forget(folder, STEPS, IDENTITY)


@dataclass
class SeedWork:
    """The remaining work of one seed. `done` receives a record per sample, errored ones too."""

    cell: Cell
    seed: int
    samples: list[Sample]
    journal: Journal
    steps: Steps
    done: dict[str, Record]
    whose: Identity
    lent: dict[str, Record] = field(init=False)
    deliver: Delivery = field(init=False)

    def __post_init__(self) -> None:
        folder = self.journal.folder
        pending = [sample for sample in self.samples if sample.id not in self.done]
        spec = self.cell.spec
        # Under a budget estimates are lent, and without a baseline there are no base answers.
        takes = pending and spec.budget is None and spec.baseline
        self.lent = self.cell.lent(self.whose, pending) if takes else {}
        self.session = self.cell.session(SESSIONS, self.whose, folder, self._begun)
        failed = self.journal.failures().values()
        spent: dict[str, Mapping[str, StageCost]] = {
            record.id: self._own_costs(record) for record in failed
        }
        self.deliver = Delivery(
            self.journal, self.steps, self.session, self.done, self._told, spent, self.lent
        )

    def begin(self) -> None:
        spec = self.cell.spec
        self.cell.hooks.run_started(
            {
                "name": spec.name,
                "seed": self.seed,
                "samples": len(self.samples),
                "folder": str(self.journal.folder),
                "spec": resolved(spec),
            }
        )

    def _begun(self) -> None:
        # From now on the journal may be ahead of results.json, so this seed is unfinished.
        forget(self.journal.folder, "manifest.json")
        self.cell.write_head(self.journal.folder)
        self.cell.write_summary()

    def advance(self) -> None:
        """Run the pending samples.

        Without any, an engine is still loaded if the last session did not prove its weights.
        """
        with self.session:
            known = self._known()
            pending = [sample for sample in self.samples if sample.id not in self.done]
            if not pending and self._proven():
                return
            if self.cell.spec.budget is not None:
                # The uncertain samples come first, in waves of their own.
                pending.sort(key=lambda each: each.id in known and not known[each.id].uncertain)
            assembly = self.cell.assembly(self.seed, known=known, played=self.steps.of(pending))
            self.cell.work(self.session, assembly, pending, self.deliver, self.steps.append)
        self.cell.spending.check(len(self.done), len(self.samples), self.journal.folder)
        check_whole(self.samples, self.done)

    def _proven(self) -> bool:
        """Whether the last session's engines had the run's weights, before and after."""
        digest = self.whose.stored["engine"]["weights_digest"]
        said = sessions.evidence(self.journal.folder / SESSIONS)
        return bool(said) and all(
            each.get(key) == digest for each in said for key in sessions.PROOF
        )

    def finish(self) -> None:
        """Write the files that cover all records; the manifest is last and marks a complete run."""
        folder, spec = self.journal.folder, self.cell.spec
        records = [self.done[sample.id] for sample in self.samples]
        inputs = {sample.id: sample.task.input for sample in self.samples}
        forget(folder, "manifest.json")
        self.cell.write_head(folder)
        self.journal.compact(records)
        self.steps.remove()
        results = {
            "schema": "ttsi.results/1",
            "name": spec.name,
            "benchmark": spec.benchmark.name,
            "model": spec.model["id"],
            "seed": self.seed,
            "spec_digest": spec.digest,
            "identity": self.whose.stored,
            "revision": self.cell.revision,
            "engines": sessions.evidence(folder / SESSIONS),
            **metrics.summarise(records),
            "synthetic": synthetic.quality(records, inputs),
            "finished": provenance.now(),
        }
        answered = [_prediction(record) for record in records if record.final is not None]
        write_atomically(folder / "predictions.jsonl", "".join(answered))
        write_json(folder / "results.json", results)
        # Without a budget the run does not use the estimates, so calibration may rewrite them.
        own = () if spec.budget is None else (ESTIMATES,)
        beside = {ESTIMATES, STEPS_OF_ESTIMATES, OF_ESTIMATES}.difference(own)
        write_json(folder / "manifest.json", provenance.manifest(folder, beside))
        self.cell.hooks.run_finished(results)

    def _known(self) -> dict[str, Record]:
        """Return what need not be computed: with a budget, all estimates and base answers.

        Samples are then marked uncertain or not. Without one, it is what other cells lend.
        """
        budget = self.cell.spec.budget
        if budget is None:
            return self.lent
        records = self.cell.estimates(self.whose, self.samples, self.journal.folder, self.session)
        known = share_out(records.values(), budget)
        for name, record in list(self.done.items()):
            # A sample that failed to be estimated last time may have changed the choice.
            if name in known and record.uncertain != known[name].uncertain:
                self.deliver.spent[name] = self._own_costs(record)
                del self.done[name]
        for record in records.values():
            if record.id not in known:
                self.deliver(record)
        return known

    def _own_costs(self, record: Record) -> dict[str, StageCost]:
        """Return the costs of a record to be redone, without those that `known` includes again."""
        if self.cell.spec.budget is None:
            return dict(record.costs)
        return {stage: cost for stage, cost in record.costs.items() if stage not in UNADAPTED}

    def _told(self, record: Record) -> None:
        self.cell.hooks.sample_finished(record)
        self.cell.told(record, len(self.done), len(self.samples))


def check_whole(samples: Sequence[Sample], done: Mapping[str, Record]) -> None:
    missing = [sample.id for sample in samples if sample.id not in done]
    if missing:
        raise RunError(
            f"The executor ended without {len(missing)} of {len(samples)} samples, "
            f"first {missing[0]}.",
            cure="Run the same command: it resumes.",
        )


def _prediction(record: Record) -> str:
    """Return one line of predictions.jsonl for `ttsi score`."""
    text = record.final.text if record.final else ""
    return json.dumps({"id": record.id, "text": text}, ensure_ascii=True) + "\n"
