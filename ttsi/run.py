"""A spec run to its end: every cell and seed, journaled, resumable, and the files it leaves.

OUT/NAME-HASH/seed-S/  spec.json spec.resolved.json env.json samples.jsonl
                       predictions.jsonl results.json manifest.json
                       estimates.jsonl (with a budget, or after calibration)
OUT/NAME-HASH/         results.json over the seeds
OUT/NAME.grid.json     over the cells of a matrix
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ttsi import assemble, metrics, provenance
from ttsi.budget import share_out, unadapted
from ttsi.errors import RunError, UsageError
from ttsi.hooks import Hooks
from ttsi.journal import ESTIMATES, SAMPLES, Journal, read, write_atomically
from ttsi.protocols import Watcher
from ttsi.spec import Spec, load_document, load_spec, resolved
from ttsi.types import JSON, Record, Sample
from ttsi.validation import with_sound_tools


class Reporter(Watcher, Protocol):
    """Who is told how a run goes."""

    def seed_started(
        self, spec: Spec, seed: int, samples: int, done: int, folder: Path
    ) -> None: ...

    def sample_finished(self, record: Record, done: int, samples: int) -> None: ...

    def seed_finished(self, results: Mapping[str, JSON]) -> None: ...


@dataclass(frozen=True)
class CellResult:
    """One spec of the matrix: its folder, what every seed came to, and the summary over seeds."""

    spec: Spec
    folder: Path
    seeds: Mapping[int, Mapping[str, JSON]]
    summary: Mapping[str, JSON]

    @property
    def errors(self) -> int:
        return sum(int(results["errors"]) for results in self.seeds.values())

    @property
    def samples(self) -> int:
        return sum(int(results["samples"]) for results in self.seeds.values())


def evaluate(
    spec: str | Path | Mapping[str, Any],
    *,
    out: str | Path = "runs",
    overrides: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
    hooks: Sequence[object] = (),
    fresh: bool = False,
) -> list[CellResult]:
    """Run a spec (a path, or the document itself) and return one result per cell of its matrix.

    The same as `ttsi eval`: resumes what is unfinished in `out`, raises TtsiError where that exits.
    `hooks` are objects with methods marked `ttsi.hooks.hookimpl`; `fresh` forgets what was done.
    """
    watching = Hooks()
    for number, hook in enumerate(hooks):
        watching.register(hook, f"evaluate-{number}")
    cells = _cells(spec, overrides, Path(out), reporter, watching, fresh)
    results = [cell.run() for cell in cells]
    if len(results) > 1:
        path = Path(out) / f"{results[0].spec.name}.grid.json"
        write_atomically(path, _pretty(metrics.grid([cell.summary for cell in results])))
    return results


def estimates(
    spec: str | Path | Mapping[str, Any],
    *,
    out: str | Path = "runs",
    overrides: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
    fresh: bool = False,
) -> list[CellResult]:
    """Estimate and answer all samples of a spec without adapting: `ttsi calibrate`.

    Leaves seed-S/estimates.jsonl in each cell's folder, and makes nothing that lies there again;
    what a run of the same spec has is taken from it. The results are those of the base model.
    """
    cells = _cells(spec, overrides, Path(out), reporter, Hooks(), fresh)
    return [cell.estimate() for cell in cells]


def run_name(spec: Spec) -> str:
    """NAME-HASH: the hash covers all that shapes results, so other settings get another folder."""
    return f"{spec.name}-{spec.digest.removeprefix('sha256:')[:10]}"


def _cells(
    source: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | None,
    out: Path,
    reporter: Reporter | None,
    hooks: Hooks,
    fresh: bool,
) -> list[_Cell]:
    """All is checked before anything is run."""
    specs = load_spec(source, overrides)
    document = load_document(source)
    for spec in specs:
        assemble.check(spec)
    return [_Cell(spec, document, out, reporter, hooks, fresh) for spec in specs]


@dataclass
class _Cell:
    """All seeds of one spec."""

    spec: Spec
    document: Any
    out: Path
    reporter: Reporter | None
    hooks: Hooks
    fresh: bool

    @property
    def folder(self) -> Path:
        return self.out / run_name(self.spec)

    def run(self) -> CellResult:
        revision = assemble.benchmark(self.spec).revision()
        samples = self._samples()
        seeds = {
            seed: self._seed(seed, samples, self.folder / f"seed-{seed}", revision)
            for seed in self.spec.seeds
        }
        summary = self._summary(seeds)
        write_atomically(self.folder / "results.json", _pretty(summary))
        return CellResult(self.spec, self.folder, seeds, summary)

    def estimate(self) -> CellResult:
        samples = self._samples()
        seeds = {}
        for seed in self.spec.seeds:
            folder = self.folder / f"seed-{seed}"
            if self.reporter:
                self.reporter.seed_started(self.spec, seed, len(samples), 0, folder)
            records = self.estimates(seed, samples, folder)
            if not (folder / "spec.resolved.json").exists():
                self.write_head(folder)
            seeds[seed] = metrics.summarise([records[sample.id] for sample in samples])
        return CellResult(self.spec, self.folder, seeds, self._summary(seeds))

    def estimates(self, seed: int, samples: list[Sample], folder: Path) -> dict[str, Record]:
        """A record of every sample, without adaptation, errored ones too."""
        with Journal(folder, ESTIMATES) as kept:
            if self.fresh:
                kept.restart()
            done = kept.finished(samples)

            def deliver(record: Record) -> None:
                kept.append(record)
                done[record.id] = record
                if self.reporter:
                    self.reporter.sample_finished(record, len(done), len(samples))

            of_run = self._of_run(folder)
            for sample in samples:
                # What the run of this spec knows needs no model.
                record = of_run.get(sample.id)
                if sample.id not in done and record and record.digest == sample.digest:
                    deliver(record)
            pending = [sample for sample in samples if sample.id not in done]
            if pending:
                assembly = assemble.Assembly(self.spec, seed, adapt=False)
                assemble.executor(self.spec).run(assembly, pending, deliver, self.reporter)
        _check_whole(samples, done)
        return done

    def write_head(self, folder: Path) -> None:
        """What is known of a run before it begins."""
        write_atomically(folder / "spec.json", _pretty(self.document))
        write_atomically(folder / "spec.resolved.json", _pretty(resolved(self.spec)))
        environment = provenance.environment(assemble.plugins_used(self.spec))
        write_atomically(folder / "env.json", _pretty(environment))

    def _of_run(self, folder: Path) -> dict[str, Record]:
        """What the seed's own run says of the base model, by id."""
        if self.fresh:
            return {}
        found = (unadapted(record) for record in read(folder / SAMPLES))
        return {record.id: record for record in found if record is not None}

    def _samples(self) -> list[Sample]:
        samples = with_sound_tools(assemble.benchmark(self.spec).samples())
        if not samples:
            raise UsageError(
                f"Benchmark {self.spec.benchmark.name!r} has no samples with these options.",
                where="/benchmark",
                cure="Choose a limit of 1 or more.",
            )
        return samples

    def _summary(self, seeds: Mapping[int, Mapping[str, JSON]]) -> dict[str, JSON]:
        head = {"schema": "ttsi.summary/1", "name": self.spec.name, "cell": dict(self.spec.cell)}
        return {**head, "folder": self.folder.name, **metrics.across_seeds(seeds)}

    def _seed(
        self, seed: int, samples: list[Sample], folder: Path, revision: str
    ) -> dict[str, JSON]:
        with Journal(folder) as journal:
            if self.fresh:
                journal.restart()
            done = journal.finished(samples)
            if self.reporter:
                self.reporter.seed_started(self.spec, seed, len(samples), len(done), folder)
            if len(done) < len(samples) or not provenance.intact(folder):
                run = _SeedRun(self, seed, samples, journal, done)
                run.begin()
                engines = run.advance()
                run.finish({"revision": revision, "engines": engines})
        results: dict[str, JSON] = json.loads((folder / "results.json").read_text())
        if self.reporter:
            self.reporter.seed_finished(results)
        return results


@dataclass
class _SeedRun:
    """What is left of one seed. `done` fills up with a record a sample, errored ones too."""

    cell: _Cell
    seed: int
    samples: list[Sample]
    journal: Journal
    done: dict[str, Record]

    def begin(self) -> None:
        folder, spec = self.journal.folder, self.cell.spec
        # From here on results.json may be behind the journal.
        (folder / "manifest.json").unlink(missing_ok=True)
        self.cell.write_head(folder)
        samples = len(self.samples)
        self.cell.hooks.run_started(
            {"name": spec.name, "seed": self.seed, "samples": samples, "folder": str(folder)}
        )

    def advance(self) -> list[dict[str, JSON]]:
        """Run what is pending; returns what the engines say of themselves."""
        known = self._known()
        pending = [sample for sample in self.samples if sample.id not in self.done]
        if not pending:
            return []
        # Where it is known which samples are uncertain, these make waves of their own.
        pending.sort(key=lambda sample: sample.id in known and not known[sample.id].uncertain)
        assembly = assemble.Assembly(self.cell.spec, self.seed, known)
        executor = assemble.executor(self.cell.spec)
        engines = executor.run(assembly, pending, self._deliver, self.cell.reporter)
        _check_whole(self.samples, self.done)
        return engines

    def finish(self, facts: Mapping[str, JSON]) -> None:
        """The files that are made of all records; the manifest last, as the mark of a whole run."""
        folder, spec = self.journal.folder, self.cell.spec
        records = [self.done[sample.id] for sample in self.samples]
        self.journal.compact(records)
        results = {
            "schema": "ttsi.results/1",
            "name": spec.name,
            "benchmark": spec.benchmark.name,
            "model": spec.model["id"],
            "seed": self.seed,
            "spec_digest": spec.digest,
            **facts,
            **metrics.summarise(records),
            "finished": provenance.now(),
        }
        answered = [_prediction(record) for record in records if record.final is not None]
        write_atomically(folder / "predictions.jsonl", "".join(answered))
        write_atomically(folder / "results.json", _pretty(results))
        write_atomically(folder / "manifest.json", _pretty(provenance.manifest(folder)))
        self.cell.hooks.run_finished(results)

    def _known(self) -> dict[str, Record]:
        """With a budget: estimates and base answers of all samples, and which are uncertain."""
        budget = self.cell.spec.budget
        if budget is None:
            return {}
        records = self.cell.estimates(self.seed, self.samples, self.journal.folder)
        known = share_out(records.values(), budget)
        for name, record in list(self.done.items()):
            # A sample that could not be estimated the last time may have changed the choice.
            if name in known and record.uncertain != known[name].uncertain:
                del self.done[name]
        for record in records.values():
            if record.id not in known:
                self._deliver(record)
        return known

    def _deliver(self, record: Record) -> None:
        self.journal.append(record)
        self.done[record.id] = record
        self.cell.hooks.sample_finished(record)
        if self.cell.reporter:
            self.cell.reporter.sample_finished(record, len(self.done), len(self.samples))


def _check_whole(samples: Sequence[Sample], done: Mapping[str, Record]) -> None:
    missing = [sample.id for sample in samples if sample.id not in done]
    if missing:
        raise RunError(
            f"The executor ended without {len(missing)} of {len(samples)} samples, "
            f"first {missing[0]}.",
            cure="Run the same command: it resumes.",
        )


def _prediction(record: Record) -> str:
    """One line of predictions.jsonl, which `ttsi score` reads; errored samples have none."""
    text = record.final.text if record.final else ""
    return json.dumps({"id": record.id, "text": text}, ensure_ascii=True) + "\n"


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
