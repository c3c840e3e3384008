"""A spec run to its end: every cell and seed, journaled, resumable, and the files it leaves.

    OUT/NAME-HASH/seed-S/  spec.json spec.resolved.json env.json samples.jsonl
                           predictions.jsonl results.json manifest.json
    OUT/NAME-HASH/         results.json over the seeds
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ttsi import assemble, metrics, provenance
from ttsi.errors import RunError, UsageError
from ttsi.hooks import Hooks
from ttsi.journal import Journal, write_atomically
from ttsi.pipeline import Pipeline, Watcher
from ttsi.spec import Spec, load_spec, resolved
from ttsi.types import JSON, Record, Sample


class Reporter(Watcher, Protocol):
    """Who is told how a run goes."""

    def seed_started(self, spec: Spec, seed: int, samples: int, done: int, folder: Path) -> None: ...

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


@dataclass
class Run:
    """What `ttsi eval` does. `fresh` moves nothing away but begins a journal anew."""

    document: Any
    out: Path = Path("runs")
    reporter: Reporter | None = None
    hooks: Hooks = field(default_factory=Hooks)
    fresh: bool = False

    def __call__(self, specs: Sequence[Spec]) -> list[CellResult]:
        for spec in specs:
            assemble.check(spec)
        return [self._cell(spec) for spec in specs]

    def _cell(self, spec: Spec) -> CellResult:
        benchmark = assemble.benchmark(spec)
        samples = list(benchmark.samples())
        if not samples:
            raise UsageError(
                f"Benchmark {spec.benchmark.name!r} has no samples with these options.",
                where="/benchmark",
                cure="Choose a limit of 1 or more.",
            )
        folder = self.out / run_name(spec)
        facts = {"revision": benchmark.revision()}
        seeds = {seed: self._seed(spec, seed, samples, folder, facts) for seed in spec.seeds}
        summary = {"schema": "ttsi.summary/1", "name": spec.name, **metrics.across_seeds(seeds)}
        write_atomically(folder / "results.json", _pretty(summary))
        return CellResult(spec, folder, seeds, summary)

    def _seed(
        self, spec: Spec, seed: int, samples: list[Sample], cell: Path, facts: dict[str, JSON]
    ) -> dict[str, JSON]:
        folder = cell / f"seed-{seed}"
        with Journal(folder) as journal:
            if self.fresh:
                journal.restart()
            done = journal.finished(samples)
            pending = [sample for sample in samples if sample.id not in done]
            if self.reporter:
                self.reporter.seed_started(spec, seed, len(samples), len(done), folder)
            if pending or not (folder / "manifest.json").exists():
                self._begin(folder, spec, seed, len(samples))
                engines = self._advance(spec, seed, pending, samples, done, journal)
                self._finish(folder, spec, seed, samples, done, journal, {**facts, "engines": engines})
        results: dict[str, JSON] = json.loads((folder / "results.json").read_text())
        if self.reporter:
            self.reporter.seed_finished(results)
        self.hooks.run_finished(results)
        return results

    def _begin(self, folder: Path, spec: Spec, seed: int, samples: int) -> None:
        write_atomically(folder / "spec.json", _pretty(self.document))
        write_atomically(folder / "spec.resolved.json", _pretty(resolved(spec)))
        environment = provenance.environment(assemble.plugins_used(spec))
        write_atomically(folder / "env.json", _pretty(environment))
        self.hooks.run_started(
            {"name": spec.name, "seed": seed, "samples": samples, "folder": str(folder)}
        )

    def _advance(
        self,
        spec: Spec,
        seed: int,
        pending: list[Sample],
        samples: list[Sample],
        done: dict[str, Record],
        journal: Journal,
    ) -> list[dict[str, JSON]]:
        """Run what is pending; `done` fills up with one record a sample, errored ones too."""

        def deliver(record: Record) -> None:
            journal.append(record)
            done[record.id] = record
            self.hooks.sample_finished(record)
            if self.reporter:
                self.reporter.sample_finished(record, len(done), len(samples))

        def factory() -> Pipeline:
            return assemble.pipeline(spec, seed, self.reporter)

        if not pending:
            return []
        engines = assemble.executor(spec).run(factory, pending, deliver)
        missing = [sample.id for sample in samples if sample.id not in done]
        if missing:
            raise RunError(
                f"The executor ended without {len(missing)} of {len(samples)} samples, "
                f"first {missing[0]}.",
                cure="Run the same command: it resumes.",
            )
        return engines

    def _finish(
        self,
        folder: Path,
        spec: Spec,
        seed: int,
        samples: list[Sample],
        done: dict[str, Record],
        journal: Journal,
        facts: dict[str, JSON],
    ) -> None:
        records = [done[sample.id] for sample in samples]
        journal.compact(records)
        results = {
            "schema": "ttsi.results/1",
            "name": spec.name,
            "benchmark": spec.benchmark.name,
            "model": spec.model["id"],
            "seed": seed,
            "spec_digest": spec.digest,
            **facts,
            **metrics.summarise(records),
            "finished": provenance.now(),
        }
        answered = [_prediction(record) for record in records if record.final is not None]
        write_atomically(folder / "predictions.jsonl", "".join(answered))
        write_atomically(folder / "results.json", _pretty(results))
        write_atomically(folder / "manifest.json", _pretty(provenance.manifest(folder)))


def evaluate(
    spec: str | Path | Mapping[str, Any],
    *,
    out: str | Path = "runs",
    overrides: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
    on_sample: Callable[[Record], None] | None = None,
) -> list[CellResult]:
    """Run a spec (a path, or the document itself) and return one result per cell of its matrix.

    The same as `ttsi eval`: resumes what is unfinished in `out`, raises TtsiError where that exits.
    """
    specs = load_spec(spec, overrides)
    document = spec if isinstance(spec, Mapping) else json.loads(Path(spec).read_text())
    hooks = Hooks()
    if on_sample is not None:
        hooks.add(on_sample)
    return Run(document, Path(out), reporter, hooks)(specs)


def run_name(spec: Spec) -> str:
    """NAME-HASH: the hash covers all that shapes results, so other settings get another folder."""
    return f"{spec.name}-{spec.digest.removeprefix('sha256:')[:10]}"


def _prediction(record: Record) -> str:
    """One line of predictions.jsonl, which `ttsi score` reads; errored samples have none."""
    text = record.final.text if record.final else ""
    return json.dumps({"id": record.id, "text": text}, ensure_ascii=True) + "\n"


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
