"""Judge a run's synthetic labels by another model's answers; journaled, and resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ttsi._common.files import write_json
from ttsi.errors import EngineError, UsageError
from ttsi.optional import AnswersTasks
from ttsi.protocols import Scorer
from ttsi.records import identity, provenance
from ttsi.records.identity import Identity
from ttsi.records.journal import Journal, only_writer
from ttsi.records.sessions import SESSIONS, Session
from ttsi.results import judged
from ttsi.results.judged import Judgement
from ttsi.results.runs import Run
from ttsi.running.assembly import Assembly
from ttsi.running.evaluate import Reporter
from ttsi.running.names import run_name
from ttsi.solving import assemble
from ttsi.solving.metering import charging
from ttsi.spec import Spec, load_spec, resolved
from ttsi.types import Record, Sample, StageCost

_WAVE = 16


def judge(
    run: Run,
    *,
    model: str,
    endpoint: str | None = None,
    most: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
) -> Judgement:
    """Ask the judge for `most` of the run's examples (None: all), and return all its findings.

    `model` is run by the run's engine, or is asked for at `endpoint`. `overrides` change the
    judge's spec, by dotted key. What was asked before is not asked again, errors excepted. Raises
    TtsiError as a run would.
    """
    samples = judged.examples_of(run)
    if not samples:
        raise UsageError(
            "This run has no synthetic examples to judge.",
            where=str(run.folder),
            cure="Choose a run that made some, with its benchmark's data as they were.",
        )
    samples = samples[:most]
    spec = _spec(run, model, endpoint, overrides)
    folder = judged.place(run) / run_name(spec)
    with only_writer(folder), Journal(folder, judged.JUDGED) as kept:
        if not (folder / judged.SPEC).exists():
            write_json(folder / judged.SPEC, resolved(spec))
        done = kept.finished(samples, 0)
        pending = [sample for sample in samples if sample.id not in done]
        if reporter is not None:
            reporter.seed_started(spec, 0, len(samples), len(done), folder)

        def deliver(record: Record) -> None:
            kept.append(record)
            done[record.id] = record
            if reporter is not None:
                reporter.sample_finished(record, len(done), len(samples))

        if pending and endpoint is None:
            _run(spec, folder, pending, deliver, reporter)
        elif pending:
            _ask(spec, pending, deliver, reporter)
    records = tuple(done[sample.id] for sample in samples if sample.id in done)
    return Judgement(judged.name_of(resolved(spec)), records)


def _spec(run: Run, model: str, endpoint: str | None, overrides: Mapping[str, Any] | None) -> Spec:
    """Return the judge's spec: greedy answers, constrained as the answer form says."""
    document: dict[str, Any] = {
        "name": "judge",
        **{key: dict(run.spec[key]) for key in ("benchmark", "engine", "scorer", "model")},
        "estimator": "never",
        "inference": {"name": "direct", "decoding": "greedy", "format": "tool_calls"},
    }
    if endpoint is None:
        document["model"] = {"id": model}
    else:
        teacher = {"name": judged.JUDGE, "model": model, "base_url": endpoint, "format": "json"}
        document["generator"] = teacher
    (spec,) = load_spec(document, overrides, environment=False)
    return spec


def _run(
    spec: Spec,
    folder: Path,
    samples: Sequence[Sample],
    deliver: Callable[[Record], None],
    reporter: Reporter | None,
) -> None:
    """Have the judge answer on the engine, which has to be the one that answered before."""
    before = identity.read(folder)
    date = str(before["date"]) if before else provenance.today()
    revision = assemble.benchmark(spec).revision()
    whose = Identity(folder, identity.known(spec, 0, date, revision))
    whose.check()
    model = identity.model_of(spec.model, before) if before else {**spec.model, "date": date}
    with (
        assemble.Engines() as engines,
        Session(folder / SESSIONS, whose, assemble.plugins_used(spec)) as session,
    ):
        assembly = Assembly(replace(spec, model=model), 0, adapt=False, engines=engines)
        session.run(assemble.executor(spec), assembly, samples, deliver, reporter)


def _ask(
    spec: Spec,
    samples: Sequence[Sample],
    deliver: Callable[[Record], None],
    reporter: Reporter | None,
) -> None:
    """Ask the judge at its endpoint, a wave at a time."""
    asked = assemble.stages(spec).generator
    if not isinstance(asked, AnswersTasks):
        what = f"The generator {spec.generator.name!r} does not answer tasks."
        raise UsageError(what, cure=f'Leave "generator.name" as it is: "{judged.JUDGE}".')
    scorer = assemble.scorer(spec)
    if reporter is not None:
        reporter.plan("answer", len(samples))
    for first in range(0, len(samples), _WAVE):
        wave = samples[first : first + _WAVE]
        for record in _answered(scorer, asked, wave):
            deliver(record)
        if reporter is not None:
            reporter.advance("answer", len(wave))


def _answered(scorer: Scorer, asked: AnswersTasks, wave: Sequence[Sample]) -> Iterator[Record]:
    spent: dict[str, StageCost] = {}
    with charging(spent):
        answers = asked.answers([sample.task for sample in wave], 0)
    for sample, answer in zip(wave, answers, strict=True):
        costs = {"answer": spent.get(sample.id, StageCost())}
        told = Record(sample.id, sample.digest, 0, costs=costs)
        if isinstance(answer, EngineError):
            yield replace(told, error=f"answer: {answer}")
        else:
            score = scorer.score(sample.task, sample.reference, answer)
            yield replace(told, base=answer, base_score=score, final=answer, final_score=score)
