"""Solve and score waves of samples, and return them as records. Executors run this."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ttsi.errors import ends_the_run
from ttsi.protocols import Scorer
from ttsi.running.episodes import play
from ttsi.solving.pipeline import Pipeline
from ttsi.solving.solution import Known, Solution
from ttsi.spec import Episodes
from ttsi.types import JSON, Completion, Played, Record, Sample, Score


class ScoredWaves:
    """A pipeline and a scorer, as `ttsi.protocols.WaveRunner`; only this class opens references.

    `known`: results that the pipeline does not compute again, by sample id. `rules`, `played` and
    `baseline` apply to episodes (`ttsi.running.episodes`).
    """

    def __init__(
        self,
        pipeline: Pipeline,
        scorer: Scorer,
        seed: int,
        *,
        known: Mapping[str, Known] | None = None,
        rules: Episodes | None = None,
        played: Mapping[str, Sequence[Played]] | None = None,
        baseline: bool = True,
    ) -> None:
        self._pipeline = pipeline
        self._scorer = scorer
        self._seed = seed
        self._known = known or {}
        self._rules = rules or Episodes()
        self._played = played or {}
        self._baseline = baseline

    def identity(self) -> dict[str, JSON]:
        return self._pipeline.identity()

    def run_wave(self, samples: Sequence[Sample]) -> Iterator[Record | Played]:
        """Yield each sample's record as soon as it is finished, and an episode's steps before."""
        plain = {sample.id: sample for sample in samples if sample.episode is None}
        tasks = [sample.task for sample in plain.values()]
        for solution in self._pipeline.solve(tasks, self._known) if tasks else ():
            yield self._record(plain[solution.task.id], solution)
        episodes = [sample for sample in samples if sample.episode is not None]
        yield from play(
            self._pipeline,
            episodes,
            self._seed,
            rules=self._rules,
            played=self._played,
            baseline=self._baseline,
        )

    def close(self) -> dict[str, JSON]:
        return self._pipeline.close()

    def abandon(self) -> None:
        self._pipeline.abandon()

    def _record(self, sample: Sample, solution: Solution) -> Record:
        told = Record(
            id=sample.id,
            digest=sample.digest,
            seed=self._seed,
            error=solution.error,
            costs=solution.costs,
        )
        if solution.answer is None:
            return told
        try:
            final_score = self._score(sample, solution.answer)
            # What was not adapted has its base answer as the final one: it is scored once.
            if solution.base is solution.answer:
                base_score: Score | None = final_score
            else:
                base_score = self._score(sample, solution.base) if solution.base else None
        except Exception as error:
            # A scorer's fault costs only its sample; other errors of ttsi end the run.
            if ends_the_run(error):
                raise
            return replace(told, error=f"score: {type(error).__name__}: {error}")
        return replace(
            told,
            estimate=solution.estimate,
            examples=solution.examples,
            rejected=solution.rejected,
            receipt=solution.receipt,
            base=solution.base,
            base_score=base_score,
            final=solution.answer,
            final_score=final_score,
            adapted=solution.adapted is not None,
            note=solution.note,
        )

    def _score(self, sample: Sample, answer: Completion) -> Score:
        return self._scorer.score(sample.task, sample.reference, answer)


def known_of(records: Mapping[str, Record]) -> dict[str, Known]:
    """Return the results to reuse in the solver, from records by sample id."""
    return {
        name: Known(record.estimate, record.base, record.costs) for name, record in records.items()
    }


def failed(sample: Sample, seed: int, why: str) -> Record:
    """Return the record of a sample that has nothing but an error."""
    return Record(id=sample.id, digest=sample.digest, seed=seed, error=why)
