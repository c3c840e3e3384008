"""Checks of records against the benchmark: samples, their order, and every score."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ttsi.answers import form_of
from ttsi.leaderboard.faults import Fault, shown
from ttsi.leaderboard.publishing import error_kind
from ttsi.leaderboard.sources import Sources
from ttsi.leaderboard.submission import Seed
from ttsi.protocols import Scorer
from ttsi.records.journal import SAMPLES
from ttsi.solving.costs import STAGES
from ttsi.types import Answer, Completion, Record, Sample, Score

_RESTORE = "Restore the line from the run, or submit the run again."
_TOLD = 3


@dataclass(frozen=True)
class Case:
    """A record with its sample and its spec; `where` is its file and line."""

    spec: Mapping[str, Any]
    record: Record
    row: Mapping[str, Any]
    sample: Sample
    scorer: Scorer
    where: str

    def fault(self, kind: str, what: str, cure: str = _RESTORE) -> Fault:
        return Fault(kind, f"{self.where} ({self.record.id})", what, cure)

    def option(self, role: str, name: str) -> Any:
        """Return an option of the spec's component, or None where it is not set."""
        return self.spec[role].get(name)


def cases(seed: Seed, found: Sources) -> Iterator[Case]:
    """Yield a case for each record whose sample the benchmark has."""
    for number, (row, record) in enumerate(zip(seed.rows, seed.records, strict=True), 1):
        if record.id in found.samples:
            sample, where = found.samples[record.id], f"{seed.name}/{SAMPLES}:{number}"
            yield Case(seed.spec, record, row, sample, found.scorer, where)


def sample_faults(seed: Seed, wanted: Sequence[str]) -> Iterator[Fault]:
    """Yield a fault for records that are unknown, missing, duplicate or out of order.

    `wanted`: the ids of the samples, in the benchmark's order.
    """
    where = f"{seed.name}/{SAMPLES}"
    have = [record.id for record in seed.records]
    counts, asked = Counter(have), set(wanted)
    for kind, what, cure, ids in (
        (
            "unknown-sample",
            "the benchmark does not ask",
            "Take it out: the spec's benchmark options say what is asked.",
            [id for id in counts if id not in asked],
        ),
        ("dropped", "there is no record of", _RESTORE, [id for id in wanted if id not in counts]),
        (
            "duplicate",
            "there is more than one record of",
            "Keep the one that the run left.",
            [id for id, count in counts.items() if count > 1],
        ),
    ):
        if ids:
            told = ", ".join(shown(id)[1:-1] for id in ids[:_TOLD])
            more = f" and {len(ids) - _TOLD} more" if len(ids) > _TOLD else ""
            yield Fault(kind, where, f"{what} {told}{more}.", cure)
    order = [id for id in wanted if id in counts]
    kept = [id for id in dict.fromkeys(have) if id in asked]
    if kept != order:
        number = next(n for n, (a, b) in enumerate(zip(kept, order, strict=True), 1) if a != b)
        what = "the samples are not in the benchmark's order."
        yield Fault("order", f"{where}:{number}", what, "Put the lines back as the run left them.")


def record_faults(case: Case, seed: int) -> Iterator[Fault]:
    """Yield the faults of one record that depend neither on the method nor on its answers."""
    record = case.record
    if record.digest != case.sample.digest:
        what = "the sample's digest is not the benchmark's: other prompt, tools, form or reference."
        yield case.fault("sample", what, "Run again with this version of ttsi and of the data.")
    if record.seed != seed:
        what = f"is of seed {record.seed}, in the folder of seed {seed}."
        yield case.fault("seed", what)
    yield from _quotes(case)
    if record.error:
        yield from _errored(case)


def answer_faults(case: Case) -> Iterator[Fault]:
    """Yield the faults of the answers of a sample that is no episode, and of their scores."""
    record = case.record
    if record.error:
        return
    yield from _story(case)
    for name, completion, score in (
        ("base", record.base, record.base_score),
        ("final", record.final, record.final_score),
    ):
        if completion is not None:
            yield from _answer(case, name, completion, score)


def _quotes(case: Case) -> Iterator[Fault]:
    """Yield a fault where the record still holds what `publishing.published` removes."""
    cure = "Submit with `ttsi leaderboard submit`, which takes it out."
    for score in (case.record.base_score, case.record.final_score):
        if score is not None and score.detail:
            yield case.fault("quote", "a score's detail may quote the reference.", cure)
    if any(rejected.kept for rejected in case.record.rejections):
        yield case.fault("quote", "a rejected output may repeat the benchmark.", cure)
    if case.record.note or case.record.error != error_kind(case.record.error):
        yield case.fault("quote", "a note or an error's message may quote anything.", cure)


def _errored(case: Case) -> Iterator[Fault]:
    record = case.record
    told = (record.estimate, record.base, record.base_score, record.final, record.final_score)
    made = record.examples or record.steps or record.base_steps or record.receipt is not None
    if any(part is not None for part in told) or made:
        yield case.fault("story", "has an error, and results too.")
    elif record.adapted or not record.costs.keys() <= set(STAGES):
        yield case.fault("story", "has an error, and was adapted or spent in no known stage.")


def _story(case: Case) -> Iterator[Fault]:
    """Yield faults where parts of a record contradict each other, whatever the method (Alg. 1)."""
    record, row = case.record, case.row
    yield from adapted_faults(case)
    for name, wrong in (
        ("has no final answer, or no score of it.", not (record.final and record.final_score)),
        (
            "has a base answer without a score, or a base score without an answer.",
            _one_of(row, "base"),
        ),
        ("has steps, and its sample is no episode.", bool(record.steps or record.base_steps)),
        ("was not adapted, and its final answer is not the base model's.", _differs(case)),
        (
            # Costs of further stages are allowed: a failed attempt may have reached them.
            "lacks costs of a stage that it passed, or has some of no known stage.",
            not _stages(record) <= record.costs.keys() <= set(STAGES),
        ),
    ):
        if wrong:
            yield case.fault("story", name)


def adapted_faults(case: Case) -> Iterator[Fault]:
    """Yield faults where estimate, examples and receipt of a record, or of a step, disagree."""
    record = case.record
    for name, wrong in (
        ("has no estimate.", record.estimate is None),
        (
            "is certain, and was adapted or has examples.",
            not record.uncertain and (record.adapted or _worked(record)),
        ),
        (
            "was adapted without a receipt, or has a receipt unadapted.",
            record.adapted != (record.receipt is not None and not record.refused),
        ),
    ):
        if wrong:
            yield case.fault("story", name)


def _differs(case: Case) -> bool:
    """Return whether nothing was adapted, and the two answers or scores differ all the same."""
    row = case.row
    same = (row["final"], row["final_score"]) == (row["base"], row["base_score"])
    return not case.record.adapted and not same


def _one_of(row: Mapping[str, Any], name: str) -> bool:
    return (row[name] is None) != (row[f"{name}_score"] is None)


def _worked(record: Record) -> bool:
    return record.receipt is not None or bool(record.examples)


def _stages(record: Record) -> set[str]:
    """Return the stages that the record must have passed, whatever the method."""
    passed = {"estimate": True, "answer": record.base is not None}
    passed |= dict.fromkeys(("learn", "adapted"), record.receipt is not None)
    return {stage for stage, did in passed.items() if did}


def _answer(case: Case, name: str, completion: Completion, score: Score | None) -> Iterator[Fault]:
    task = case.sample.task
    yield from reading_faults(case, name, completion)
    answer = Completion(completion.text, form_of(task).parse(task, completion.text))
    anew = case.scorer.score(task, case.sample.reference, answer)
    if score is not None and (score.correct, score.reason) != (anew.correct, anew.reason):
        what = (
            f"the {name} answer is scored as {verdict(score)}; scored again it is {verdict(anew)}."
        )
        yield case.fault("score", what)


def reading_faults(case: Case, name: str, completion: Completion) -> Iterator[Fault]:
    """Yield a fault where an answer is not what its text says."""
    task = case.sample.task
    read = form_of(task).parse(task, completion.text)
    if _as_written(read) != _as_written(completion.answer):
        what = f"the {name} answer is not what is read from its text."
        yield case.fault("prediction", what)


def _as_written(answer: Answer) -> str:
    # Compared as text: in Python, 1 == True == 1.0.
    return json.dumps([answer.status, answer.value, answer.work])


def verdict(score: Score) -> str:
    """Return a score in words."""
    side = "right" if score.correct else "wrong"
    return f"{side} ({score.reason})" if score.reason else side
