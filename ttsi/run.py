"""A spec run to its end: every cell and seed, journaled, resumable, and the files it leaves.

OUT/NAME-HASH/seed-S/  spec.json spec.resolved.json env.json samples.jsonl
                       predictions.jsonl results.json manifest.json
OUT/NAME-HASH/         results.json over the seeds
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ttsi import assemble, metrics, provenance
from ttsi.errors import RunError, UsageError
from ttsi.hooks import Hooks
from ttsi.journal import Journal, write_atomically
from ttsi.pipeline import Pipeline, Watcher
from ttsi.spec import Spec, load_document, load_spec, resolved
from ttsi.types import JSON, Record, Sample


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
    specs = load_spec(spec, overrides)
    document = load_document(spec)
    for cell in specs:
        assemble.check(cell)
    watching = Hooks()
    for number, hook in enumerate(hooks):
        watching.register(hook, f"evaluate-{number}")
    return [_Cell(cell, document, Path(out), reporter, watching, fresh).run() for cell in specs]


def run_name(spec: Spec) -> str:
    """NAME-HASH: the hash covers all that shapes results, so other settings get another folder."""
    return f"{spec.name}-{spec.digest.removeprefix('sha256:')[:10]}"


@dataclass
class _Cell:
    """All seeds of one spec."""

    spec: Spec
    document: Any
    out: Path
    reporter: Reporter | None
    hooks: Hooks
    fresh: bool

    def run(self) -> CellResult:
        benchmark = assemble.benchmark(self.spec)
        samples = list(benchmark.samples())
        if not samples:
            raise UsageError(
                f"Benchmark {self.spec.benchmark.name!r} has no samples with these options.",
                where="/benchmark",
                cure="Choose a limit of 1 or more.",
            )
        folder = self.out / run_name(self.spec)
        seeds = {
            seed: self._seed(seed, samples, folder / f"seed-{seed}", benchmark.revision())
            for seed in self.spec.seeds
        }
        head = {"schema": "ttsi.summary/1", "name": self.spec.name, "cell": dict(self.spec.cell)}
        summary = {**head, **metrics.across_seeds(seeds)}
        write_atomically(folder / "results.json", _pretty(summary))
        return CellResult(self.spec, folder, seeds, summary)

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
        write_atomically(folder / "spec.json", _pretty(self.cell.document))
        write_atomically(folder / "spec.resolved.json", _pretty(resolved(spec)))
        environment = provenance.environment(assemble.plugins_used(spec))
        write_atomically(folder / "env.json", _pretty(environment))
        samples = len(self.samples)
        self.cell.hooks.run_started(
            {"name": spec.name, "seed": self.seed, "samples": samples, "folder": str(folder)}
        )

    def advance(self) -> list[dict[str, JSON]]:
        """Run what is pending; returns what the engines say of themselves."""
        pending = [sample for sample in self.samples if sample.id not in self.done]
        if not pending:
            return []
        executor = assemble.executor(self.cell.spec)
        engines = executor.run(self._pipeline, pending, self._deliver)
        missing = [sample.id for sample in self.samples if sample.id not in self.done]
        if missing:
            raise RunError(
                f"The executor ended without {len(missing)} of {len(self.samples)} samples, "
                f"first {missing[0]}.",
                cure="Run the same command: it resumes.",
            )
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

    def _pipeline(self) -> Pipeline:
        return assemble.pipeline(self.cell.spec, self.seed, self.cell.reporter)

    def _deliver(self, record: Record) -> None:
        self.journal.append(record)
        self.done[record.id] = record
        self.cell.hooks.sample_finished(record)
        if self.cell.reporter:
            self.cell.reporter.sample_finished(record, len(self.done), len(self.samples))


def _prediction(record: Record) -> str:
    """One line of predictions.jsonl, which `ttsi score` reads; errored samples have none."""
    text = record.final.text if record.final else ""
    return json.dumps({"id": record.id, "text": text}, ensure_ascii=True) + "\n"


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
