"""A run's records as a table: a row for each sample and seed, a column for each plain fact.

Rows are made one at a time, so that a table of any length needs little memory. `COLUMNS` is also
what docs/export.md prints.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ttsi.errors import CorruptAsset, MissingAsset
from ttsi.records import journal
from ttsi.results.runs import read_spec, run_name, seed_folders
from ttsi.types import AnswerStatus, Completion, Example, Record

if TYPE_CHECKING:
    import pandas

_UNWRITABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class Source:
    """What a row is made of: a record, and the words that name its run."""

    record: Record
    run: str
    benchmark: str
    model: str


@dataclass(frozen=True)
class Column:
    """`value` is None where the run does not say; `unit` is that of a number."""

    name: str
    kind: Literal["text", "flag", "count", "number"]
    value: Callable[[Source], Any]
    help: str
    unit: str = ""


def rows(folder: Path) -> Iterator[list[Any]]:
    """Yield the rows of a run, or of one of its seeds, in the order of its journals.

    Raises UsageError if there is no run, CorruptAsset if its files are damaged.
    """
    seeds = seed_folders(folder)
    spec = read_spec(seeds[0])
    named = (run_name(folder), spec["benchmark"]["name"], spec["model"]["id"])
    for seed in seeds:
        for record in journal.read_last(seed / journal.SAMPLES):
            yield row(Source(record, *named), where=str(seed))


def data_frame(folder: Path) -> pandas.DataFrame:
    """Return the table of a run as a data frame, in types that tell 0 from nothing.

    Raises MissingAsset without pandas, else as `rows`.
    """
    try:
        import pandas
    except ModuleNotFoundError as error:
        what = f"A data frame needs the package {error.name}, which is not installed."
        raise MissingAsset(what, where="records()", cure="pip install pandas") from error
    kinds = {"text": "string", "flag": "boolean", "count": "Int64", "number": "float64"}
    frame = pandas.DataFrame(rows(folder), columns=[column.name for column in COLUMNS])
    return frame.astype({column.name: kinds[column.kind] for column in COLUMNS})


def row(source: Source, where: str = "") -> list[Any]:
    """Return the cells of one row, with texts that any file can hold."""
    try:
        return [_cell(column, column.value(source)) for column in COLUMNS]
    except (OverflowError, RecursionError) as error:
        what = f"The record of {source.record.id} has a value of a size that no run writes."
        cure = "Delete its line in samples.jsonl, and run the spec again."
        raise CorruptAsset(what, where=where, cure=cure) from error


def writable(text: str) -> str:
    """Replace characters that files cannot hold by U+FFFD: NUL, and halves of characters."""
    return _UNWRITABLE.sub("\ufffd", text)


def _cell(column: Column, value: Any) -> Any:
    if value is None:
        return None
    if column.kind == "text":
        return writable(value)
    if column.kind == "count":
        value.to_bytes(8, signed=True)  # raises OverflowError for what a file cannot hold
    return float(value) if column.kind == "number" else value


# ---------------------------------------------------------------- what the columns hold


def _of(part: str, value: Callable[[Any], Any]) -> Callable[[Source], Any]:
    """Return a function that takes a value from a part of a record, if the record has that part."""

    def read(source: Source) -> Any:
        found = getattr(source.record, part)
        return None if found is None else value(found)

    return read


def examples(record: Record) -> list[Example]:
    """Return all examples of a record; those of an episode are in its steps."""
    return [*record.examples, *(each for step in record.steps for each in step.examples)]


def receipts(record: Record) -> list[Mapping[str, Any]]:
    """Return the receipts of all adaptations of a record."""
    found = [record.receipt, *(step.receipt for step in record.steps)]
    return [receipt for receipt in found if receipt is not None]


def shown(completion: Completion) -> str | None:
    """Return the answer's value as JSON; None where there is none, or it could not be read."""
    answer = completion.answer
    if answer.status is not AnswerStatus.OK:
        return None
    return json.dumps(answer.value, ensure_ascii=False)


def _attempts(source: Source) -> int | None:
    found = [example.attempts for example in examples(source.record)]
    return sum(found) if found else None


def _rejected(source: Source) -> int:
    return sum(sum(found.counts.values()) for found in source.record.rejections)


def _adaptation(source: Source) -> str | None:
    return "+".join(sorted({each["kind"] for each in receipts(source.record)})) or None


def _trained(key: str) -> Callable[[Source], int | None]:
    """Return a function that adds up a number of the receipts, where one has it."""

    def total(source: Source) -> int | None:
        found: list[Any] = [each.get(key) for each in receipts(source.record)]
        numbers = [each for each in found if _is(int, each)]
        return sum(numbers) if numbers else None

    return total


def _loss(at: int) -> Callable[[Source], float | None]:
    """Return a function that gives a loss; several adaptations have no first or last one."""

    def loss(source: Source) -> float | None:
        found = [each.get("losses") for each in receipts(source.record)]
        losses = found[0] if len(found) == 1 and isinstance(found[0], list) else []
        return losses[at] if losses and _is((int, float), losses[at]) else None

    return loss


def _is(kinds: Any, value: Any) -> bool:
    """Whether a value of a receipt, which may be anything, is a number."""
    return isinstance(value, kinds) and not isinstance(value, bool)


def _spent(of: str, stage: str | None = None) -> Callable[[Source], float | None]:
    """Return a function that gives what one stage spent, or all together."""

    def spent(source: Source) -> float | None:
        costs = source.record.costs
        some = [cost for name, cost in costs.items() if stage in (None, name)]
        return sum(getattr(cost, of) for cost in some) if some else None

    return spent


def _score(source: Source) -> float:
    score = source.record.final_score
    return float(score is not None and score.correct)


def _answer(of: str) -> list[Column]:
    text, score = partial(_of, of), partial(_of, f"{of}_score")
    who = f"the {of} answer"
    return [
        Column(f"{of}_correct", "flag", score(lambda s: s.correct), f"{who} is right"),
        Column(f"{of}_reason", "text", score(lambda s: s.reason), "why it is wrong"),
        Column(f"{of}_detail", "text", score(lambda s: s.detail or None), "more on why"),
        Column(f"{of}_text", "text", text(lambda c: c.text), "what the model wrote"),
        Column(
            f"{of}_status", "text", text(lambda c: c.answer.status), "ok, declined or unparsable"
        ),
        Column(f"{of}_answer", "text", text(shown), "the answer as it was read, in JSON"),
        Column(
            f"{of}_tokens",
            "count",
            text(lambda c: c.completion_tokens),
            "tokens of the text; of best_of, of all its answers",
        ),
        Column(f"{of}_cut", "flag", text(lambda c: c.cut), "the text was cut off at max_tokens"),
        Column(f"{of}_logprob", "number", text(lambda c: c.logprob), "its log-probability", "nats"),
    ]


def _stage(stage: str, who: str) -> list[Column]:
    read, written = _spent("prompt_tokens", stage), _spent("completion_tokens", stage)
    return [
        Column(f"{stage}_seconds", "number", _spent("seconds", stage), f"time of {who}", "s"),
        Column(f"{stage}_prompt_tokens", "number", read, f"read by {who}", "tokens"),
        Column(f"{stage}_completion_tokens", "number", written, f"written by {who}", "tokens"),
    ]


_U = "u of H; of an episode, at its least sure step"

COLUMNS: tuple[Column, ...] = (
    Column("run", "text", lambda s: s.run, "the run's folder, NAME-HASH"),
    Column("benchmark", "text", lambda s: s.benchmark, "the benchmark's name"),
    Column("model", "text", lambda s: s.model, "the model's id"),
    Column("seed", "count", lambda s: s.record.seed, "the run seed"),
    Column("id", "text", lambda s: s.record.id, "the sample's id"),
    Column("score", "number", _score, "1 if the final answer is right, else 0; its mean: accuracy"),
    Column("error", "text", lambda s: s.record.error or None, "why the sample has no answer"),
    Column("note", "text", lambda s: s.record.note or None, "why it was not adapted to"),
    Column("confidence", "number", _of("estimate", lambda e: e.confidence), _U, "0 to 1"),
    Column("uncertain", "flag", _of("estimate", lambda e: e.uncertain), "H found it uncertain"),
    Column("adapted", "flag", lambda s: s.record.adapted, "the final answer is an adapted one"),
    *_answer("base"),
    *_answer("final"),
    Column("steps", "count", lambda s: len(s.record.steps) or None, "steps of an episode"),
    Column("examples", "count", lambda s: len(examples(s.record)), "G's examples"),
    Column("attempts", "count", _attempts, "texts that were drawn for them"),
    Column("rejected", "count", _rejected, "texts by G that are no examples"),
    Column("adaptation", "text", _adaptation, "lora, demonstrations, or both in an episode"),
    Column("train_steps", "count", _trained("steps"), "T's steps"),
    Column("train_tokens", "count", _trained("tokens"), "tokens in T's steps"),
    Column("loss_first", "number", _loss(0), "loss before T's first step", "nats a token"),
    Column("loss_last", "number", _loss(-1), "loss before T's last step", "nats a token"),
    Column("seconds", "number", _spent("seconds"), "time of all stages", "s"),
    Column("usd", "number", _spent("usd"), "paid for other models", "US dollars"),
    *_stage("estimate", "H"),
    *_stage("answer", "the unadapted answer"),
    *_stage("generate", "G"),
    *_stage("learn", "T"),
    *_stage("adapted", "the adapted answer"),
)
