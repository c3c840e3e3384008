"""Run a spec: every cell and seed, journaled and resumable, with these files:

OUT/NAME-HASH/seed-S/  spec.json spec.resolved.json identity.json sessions.json samples.jsonl
                       predictions.jsonl results.json manifest.json
                       steps.jsonl (while episodes are played)
                       estimates.jsonl (with a budget, or after calibration)
                       estimates.sessions.json (after calibration)
OUT/NAME-HASH/         results.json over all seeds in the folder
OUT/NAME-HASH.grid.json  over the cells of a matrix; the hash is of the cells
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

from ttsi._common.collection import long_lived
from ttsi._common.files import write_json
from ttsi.answers.tools import with_sound_tools
from ttsi.errors import UsageError
from ttsi.hooks import Hooks
from ttsi.protocols import Scorer, Watcher
from ttsi.records import identity, provenance
from ttsi.records.identity import Identity
from ttsi.records.journal import (
    ESTIMATES,
    SAMPLES,
    STEPS_OF_ESTIMATES,
    Journal,
    only_writer,
    read,
)
from ttsi.records.sessions import OF_ESTIMATES, Session
from ttsi.records.steps import Steps
from ttsi.results import metrics
from ttsi.results.runs import results_of
from ttsi.running.assembly import Assembly
from ttsi.running.cell_result import CellResult
from ttsi.running.delivery import Delivery
from ttsi.running.kept import begun_seeds, finished_results, kept_records
from ttsi.running.lending import Lender, lent
from ttsi.running.names import grid_name, run_name
from ttsi.running.notebook import Notebook, in_notebook
from ttsi.running.seed_run import SeedWork, check_whole, forget_estimates, forget_seed
from ttsi.running.spending import Spending
from ttsi.solving import assemble
from ttsi.solving.budget import divisible, unadapted
from ttsi.spec import Spec, resolved
from ttsi.spec.choosing import read_cells
from ttsi.types import JSON, Played, Record, Sample


class Reporter(Watcher, Protocol):
    """Receives the progress of a run."""

    def seed_started(
        self, spec: Spec, seed: int, samples: int, done: int, folder: Path
    ) -> None: ...

    def taken_over(self, count: int) -> None: ...

    def sample_finished(self, record: Record, done: int, samples: int) -> None: ...

    def seed_finished(self, results: Mapping[str, JSON]) -> None: ...


def evaluate(
    spec: str | Path | Mapping[str, Any],
    *,
    out: str | Path = "runs",
    overrides: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
    hooks: Sequence[object] = (),
    fresh: bool = False,
    cells: Mapping[str, Sequence[JSON]] | None = None,
) -> list[CellResult]:
    """Run a spec (a path, or the document itself) and return one result per cell of its matrix.

    Like `ttsi eval`, it resumes what is unfinished in `out`, and raises a TtsiError where the
    command would exit with an error. It shows its progress in a notebook, and elsewhere where a
    `reporter` does. `hooks` are objects with methods marked `ttsi.hookimpl`;
    `fresh` discards earlier results. Of a matrix only the cells with the values that `cells` gives
    for its axes are run, such as {"method": ["base", "tt-si"]}.
    """
    if reporter is None and in_notebook():
        reporter = Notebook()
    watching = Hooks()
    for number, hook in enumerate(hooks):
        watching.register(hook, f"evaluate-{number}")
    with assemble.Engines() as engines:
        every = _Every(Path(out), reporter, watching, fresh, engines)
        results = [cell.run() for cell in _cells(spec, overrides, every, cells)]
    if len(results) > 1:
        path = Path(out) / grid_name([cell.spec for cell in results])
        write_json(path, metrics.grid([cell.summary for cell in results]))
    return results


def estimates(
    spec: str | Path | Mapping[str, Any],
    *,
    out: str | Path = "runs",
    overrides: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
    fresh: bool = False,
    cells: Mapping[str, Sequence[JSON]] | None = None,
    estimators: Sequence[str] = (),
) -> list[CellResult]:
    """Estimate and answer all samples of a spec without adapting, as `ttsi calibrate` does.

    Writes seed-S/estimates.jsonl in each cell's folder. Existing estimates are kept, and estimates
    of a run of the same spec are reused. The results are those of the base model. `cells` are as
    in `evaluate`; each is estimated by each of `estimators`, or else by its own.
    """
    with assemble.Engines() as engines:
        every = _Every(Path(out), reporter, Hooks(), fresh, engines, estimating=True)
        return [cell.estimate() for cell in _cells(spec, overrides, every, cells, estimators)]


@dataclass(frozen=True)
class _Every:
    """Settings that all cells of a command share. `today` is fixed when the command begins."""

    out: Path
    reporter: Reporter | None
    hooks: Hooks
    fresh: bool
    engines: assemble.Engines
    estimating: bool = False
    lenders: list[Lender] = field(default_factory=list)
    today: str = field(default_factory=lambda: provenance.today())


def _cells(
    source: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | None,
    every: _Every,
    wanted: Mapping[str, Sequence[JSON]] | None = None,
    estimators: Sequence[str] = (),
) -> list[_Cell]:
    """Return the cells that are wanted, all of them by default, after checking them."""
    specs, document = read_cells(source, overrides, wanted, estimators)
    for spec in specs:
        assemble.check(spec)
    spending = Spending(specs[0].stop_at)
    cells = [_Cell(spec, document, every, spending) for spec in specs]
    if spending.limited and not every.fresh:
        for cell in cells:
            for seed in cell.spec.seeds:
                spending.add_stored(cell.folder / f"seed-{seed}")
    return cells


@dataclass
class _Cell:
    """All seeds of one spec."""

    spec: Spec
    document: Any
    every: _Every
    spending: Spending

    @property
    def folder(self) -> Path:
        return self.every.out / run_name(self.spec)

    @property
    def reporter(self) -> Reporter | None:
        return self.every.reporter

    @property
    def hooks(self) -> Hooks:
        return self.every.hooks

    def told(self, record: Record, done: int, samples: int) -> None:
        if self.reporter:
            self.reporter.sample_finished(record, done, samples)

    @cached_property
    def settled(self) -> Spec:
        """The spec with the model's date and commit that all seeds in the folder have."""
        return identity.settled(self.spec, self.folder, self.anew, self.every.today)

    @cached_property
    def anew(self) -> tuple[int, ...]:
        """The seeds to run anew, whose identity and files are discarded."""
        if not self.every.fresh:
            return ()
        if not self.every.estimating:
            return self.spec.seeds
        # A seed with records of a run keeps its identity when only its estimates are redone.
        places = {seed: self.folder / f"seed-{seed}" / SAMPLES for seed in self.spec.seeds}
        return tuple(seed for seed, path in places.items() if next(read(path), None) is None)

    @cached_property
    def scorer(self) -> Scorer:
        return assemble.scorer(self.spec)

    @cached_property
    def revision(self) -> str:
        return assemble.benchmark(self.spec).revision()

    def run(self) -> CellResult:
        samples = self._samples()
        seeds = {}
        for seed in self.spec.seeds:
            seeds[seed] = self._seed(seed, samples, self.folder / f"seed-{seed}")
            summary = self.write_summary()
        self._lends(SAMPLES)
        return CellResult(self.spec, self.folder, seeds, summary)

    def estimate(self) -> CellResult:
        samples = self._samples()
        seeds = {}
        for seed in self.spec.seeds:
            folder = self.folder / f"seed-{seed}"
            with only_writer(folder):
                if self.every.fresh:
                    forget_estimates(folder)
                whose = self.identity(seed, folder)
                begun = partial(self.write_head_once, folder)
                with self.session(OF_ESTIMATES, whose, folder, begun) as session:
                    records = self.estimates(whose, samples, folder, session)
            seeds[seed] = metrics.summarise([records[sample.id] for sample in samples])
        self._lends(ESTIMATES)
        return CellResult(self.spec, self.folder, seeds, self._summary(seeds))

    def identity(self, seed: int, folder: Path) -> Identity:
        """Return the identity of a seed's folder. Raises RunError if its records do not fit."""
        date = str(self.settled.model["date"])
        whose = Identity(folder, identity.known(self.spec, seed, date, self.revision), self.anew)
        whose.check()
        return whose

    def session(
        self, name: str, whose: Identity, folder: Path, begun: Callable[[], None] = lambda: None
    ) -> Session:
        used = assemble.plugins_used(self.spec)
        return Session(folder / name, whose, used, begun, self.spending.reached)

    def work(
        self,
        session: Session,
        assembly: Assembly,
        samples: Sequence[Sample],
        deliver: Callable[[Record], None],
        keep: Callable[[Played], None],
    ) -> None:
        """Run `samples` on the cell's executor, until as much is spent as the spec allows."""

        def counted(record: Record) -> None:
            self.spending.add(record, assembly.known.get(record.id))
            deliver(record)

        if samples and self.spending.reached():
            return
        session.run(assemble.executor(self.spec), assembly, samples, counted, self.reporter, keep)

    def estimates(
        self, whose: Identity, samples: list[Sample], folder: Path, session: Session
    ) -> dict[str, Record]:
        """Return a record of every sample without adaptation, errored ones too."""
        seed = whose.known["seed"]
        with Journal(folder, ESTIMATES) as kept, Steps(folder, STEPS_OF_ESTIMATES) as steps:
            done = kept_records(kept, samples, seed, self.scorer)
            if self.reporter and self.every.estimating:
                self.reporter.seed_started(self.spec, seed, len(samples), len(done), folder)

            def told(record: Record) -> None:
                self.told(record, len(done), len(samples))

            spent = {name: record.costs for name, record in kept.failures().items()}
            deliver = Delivery(kept, steps, session, done, told, spent)
            of_run = self._of_run(folder)
            for sample in samples:
                # Results of the run of this spec are reused without a model.
                record = of_run.get(sample.id)
                if sample.id not in done and record and record.digest == sample.digest:
                    deliver(record)
            pending = [sample for sample in samples if sample.id not in done]
            if pending:
                deliver.lent = known = self.lent(whose, pending)
                played = steps.of(pending)
                assembly = self.assembly(seed, adapt=False, known=known, played=played)
                self.work(session, assembly, pending, deliver, steps.append)
            self.spending.check(len(done), len(samples), folder)
            check_whole(samples, done)
            steps.remove()
        return done

    def assembly(self, seed: int, **how: Any) -> Assembly:
        return Assembly(self.settled, seed, engines=self.every.engines, **how)

    def write_head(self, folder: Path) -> None:
        """Write the files that describe a run before it begins."""
        write_json(folder / "spec.json", self.document)
        write_json(folder / "spec.resolved.json", resolved(self.spec))

    def write_head_once(self, folder: Path) -> None:
        if not (folder / "spec.resolved.json").exists():
            self.write_head(folder)

    def _of_run(self, folder: Path) -> dict[str, Record]:
        """Return the base model's results from the seed's own run, by id."""
        if self.every.fresh:
            return {}
        found = filter(divisible, read(folder / SAMPLES))
        return {record.id: unadapted(record) for record in found}

    def lent(self, whose: Identity, samples: Sequence[Sample]) -> dict[str, Record]:
        """Return what cells before this one lend to a seed; see `lending`."""
        found = lent(self.every.lenders, self.spec, whose, samples)
        if found and self.every.reporter:
            self.every.reporter.taken_over(len(found))
        return found

    def _lends(self, journal: str) -> None:
        self.every.lenders.append(Lender(resolved(self.spec), self.folder, journal))

    def _samples(self) -> list[Sample]:
        with long_lived():
            samples = with_sound_tools(assemble.benchmark(self.spec).samples())
        if not samples:
            raise UsageError(
                f"Benchmark {self.spec.benchmark.name!r} has no samples with these options.",
                where="/benchmark",
                cure="Choose a limit of 1 or more.",
            )
        if self.spec.budget is not None and any(sample.episode for sample in samples):
            raise UsageError(
                "A budget is a share of the samples, by one estimate of each, and episodes have an "
                "estimate at every step, which depends on what was adapted before.",
                where="/budget",
                cure="Take it out: the estimator's threshold then says which steps are uncertain; "
                '"estimate_at" and the limits in `episodes` bound what an episode may spend.',
            )
        return samples

    def _summary(self, seeds: Mapping[int, Mapping[str, JSON]]) -> dict[str, JSON]:
        head = {"schema": "ttsi.summary/1", "name": self.spec.name, "cell": dict(self.spec.cell)}
        return {**head, "folder": self.folder.name, **metrics.across_seeds(seeds)}

    def write_summary(self) -> dict[str, JSON]:
        """Write and return results.json over all seeds in the folder; it names unfinished ones."""
        asked = {seed: self.folder / f"seed-{seed}" for seed in self.spec.seeds}
        folders = dict(sorted({**begun_seeds(self.folder), **asked}.items()))
        found = {seed: results_of(each) for seed, each in folders.items()}
        results = {seed: each for seed, each in found.items() if each is not None}
        unfinished: list[JSON] = [seed for seed in folders if seed not in results]
        summary = {**self._summary(results), "unfinished": unfinished}
        write_json(self.folder / "results.json", summary)
        return summary

    def _seed(self, seed: int, samples: list[Sample], folder: Path) -> dict[str, JSON]:
        results = None if self.every.fresh else self._finished(seed, samples, folder)
        if results is None:
            with only_writer(folder):
                self._work(seed, samples, folder)
            results = json.loads((folder / "results.json").read_bytes())
        if self.reporter:
            self.reporter.seed_finished(results)
        return results

    def _finished(self, seed: int, samples: list[Sample], folder: Path) -> dict[str, JSON] | None:
        if not (folder / "results.json").is_file():
            return None
        self.identity(seed, folder)
        results = finished_results(folder, resolved(self.spec), seed, samples, self.scorer)
        if results is not None and self.reporter:
            self.reporter.seed_started(self.spec, seed, len(samples), len(samples), folder)
        return results

    def _work(self, seed: int, samples: list[Sample], folder: Path) -> None:
        if self.every.fresh:
            forget_seed(folder)
        whose = self.identity(seed, folder)
        with Journal(folder) as journal, Steps(folder) as steps:
            done = kept_records(journal, samples, seed, self.scorer)
            if self.reporter:
                self.reporter.seed_started(self.spec, seed, len(samples), len(done), folder)
            run = SeedWork(self, seed, samples, journal, steps, done, whose)
            run.begin()
            run.advance()
            run.finish()
