"""The inductive baselines' labelled rows, from a file or from the benchmark's train split.

A file is JSON Lines. A row is a prompt of two turns and the right answer, which is a value of the
answer form or a text from which one can be read:

    {"instruction": "the system turn, tools and all", "input": "the user turn",
     "output": [{"name": "get_time", "arguments": {"city": "Rome"}}]}

or one as the benchmark `file` has them, such as those that `ttsi serve --feedback` writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from ttsi import (
    JSON,
    Answer,
    AnswerStatus,
    Completion,
    CorruptAsset,
    Demonstrations,
    Engine,
    Message,
    MissingAsset,
    Sample,
    Task,
    UsageError,
    form_named,
    json_digest,
    option,
)
from ttsi.rows.lines import Line
from ttsi.rows.reading import Reader
from ttsi_plugins.learners._targets import Target, write_target

OTHER_TOOLS = "An earlier request, which came with instructions and tools of its own:"
SHAPE = 'one JSON object a line: {"instruction": "...", "input": "...", "output": [calls]}'


@dataclass(frozen=True, slots=True)
class Row:
    """A labelled row: what was asked, and the right answer."""

    task: Task
    answer: Answer


@dataclass(frozen=True)
class FromRows:
    """A learner that needs no synthetic examples: it learns from labelled rows."""

    needs_examples: ClassVar[bool] = False

    file: str | None = option(
        None,
        "JSON Lines to learn from, with instruction, input and output, or as the benchmark `file` "
        "has them; null: the benchmark's own train split.",
    )
    limit: int | None = option(
        None, "Learn from this many rows, spread evenly; null: from all.", minimum=1
    )
    form: str = option("calls", "The answer form of the file's rows.")
    _taught: list[Callable[[], Sequence[Sample]]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        # Read now, so that a faulty file is reported before a model is loaded.
        if self.file is not None:
            _ = self.rows

    @property
    def needs_train(self) -> bool:
        return self.file is None

    def teach(self, train: Callable[[], Sequence[Sample]]) -> None:
        """Set where to load the benchmark's rows from; they are loaded when first needed."""
        self._taught.append(train)

    @cached_property
    def rows(self) -> list[Row]:
        """The rows to learn from, at least one.

        Raises MissingAsset, CorruptAsset (the file), UsageError (no rows to be had).
        """
        rows = (
            self._split()
            if self.file is None
            else read_rows(Path(self.file).expanduser(), self.form)
        )
        if self.limit is None or self.limit >= len(rows):
            return rows
        return [rows[i * len(rows) // self.limit] for i in range(self.limit)]

    @cached_property
    def source(self) -> str:
        """The origin of the rows, their number and their digest, for the receipts."""
        rows = [_told(row) for row in self.rows]
        origin = "train split of the benchmark"
        if self.file is not None:
            origin = f"file {Path(self.file).name}"
        return f"{origin}, {len(rows)} row{'s' if len(rows) != 1 else ''}, {json_digest(rows)}"

    def check_forms(self, tasks: Sequence[Task]) -> None:
        """Raise UsageError if a row's answer could not be written as a task's."""
        shown = ", ".join(sorted({row.task.form for row in self.rows}))
        for form in sorted({task.form for task in tasks}):
            if form != shown:
                raise UsageError(
                    f"The labelled rows have answers of form {shown}, and the tasks want {form}.",
                    where=f"learner, {self.source}",
                    cure=f'Give a "file" of rows of form {form}, and "form": "{form}".',
                )

    def _split(self) -> list[Row]:
        samples = list(self._taught[-1]()) if self._taught else []
        if not samples:
            raise UsageError(
                "There are no labelled rows to learn from.",
                where="the benchmark's train split",
                cure='Give the learner a "file" of rows, or choose a benchmark with a train split.',
            )
        return [Row(each.task, each.reference) for each in samples]


def demonstrations(
    task: Task, rows: Sequence[Row], target: Target, base: Completion | None, engine: Engine
) -> Demonstrations:
    """Return the rows as turns that precede the task's question; `base` is its unadapted answer."""
    return Demonstrations.of(
        (_shown(row, task), write_target(target, task, row.answer, base, engine)) for row in rows
    )


def _shown(row: Row, task: Task) -> Sequence[Message]:
    """Return what the row asks, with its own instruction and tools unless they are the task's.

    Under the task's tools the row's calls would be to tools that were not offered. The whole
    instruction is copied, so that nothing depends on how a benchmark words it.
    """
    if row.task.instruction == task.instruction:
        return row.task.said
    first, *others = row.task.said
    told = f"{OTHER_TOOLS}\n\n{row.task.instruction}\n\n{first.content}"
    return (replace(first, content=told), *others)


def _told(row: Row) -> list[JSON]:
    """Return all of a row that is learnt, for the digest."""
    work = [row.answer.work] if row.answer.work else []
    said: list[JSON] = [[turn.role, turn.content] for turn in row.task.turns]
    return [row.task.instruction, row.task.input, row.answer.value, *work, *said]


def read_rows(path: Path, form: str = "calls") -> list[Row]:
    """Return the rows of a file. Raises MissingAsset (no such file), CorruptAsset (bad rows)."""
    cure = f"Name a file with {SHAPE}"
    try:
        # Reading a device or a pipe may never end, even in `ttsi validate`.
        if path.exists() and not path.is_file():
            what = "The file of labelled rows is no file."
            raise MissingAsset(what, where=str(path), cure=cure)
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        what = f"The file of labelled rows is not UTF-8 text: {error.reason}."
        raise CorruptAsset(what, where=str(path), cure=cure) from error
    except (OSError, ValueError) as error:  # a path that holds a NUL is a ValueError
        reason = getattr(error, "strerror", None) or error
        what = f"The file of labelled rows cannot be read: {reason}."
        raise MissingAsset(what, where=str(path), cure=cure) from error
    # Not splitlines(): JSON strings may hold other line separators as they are.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise CorruptAsset("The file of labelled rows is empty.", where=str(path), cure=cure)
    reader = Reader(form, strict=True)
    return [_read_row(Line(path, number, line.encode()), form, reader) for number, line in lines]


def _read_row(line: Line, form: str, reader: Reader) -> Row:
    where = f"{line.path}, line {line.number}"

    def fault(what: str) -> CorruptAsset:
        return CorruptAsset(f"A labelled row {what}", where=where, cure=f"Write {SHAPE}")

    try:
        given = json.loads(line.data)
    except (ValueError, RecursionError) as error:
        raise fault(f"is not JSON: {error}.") from error
    if not isinstance(given, dict):
        raise fault(f"is no object but {type(given).__name__}.")
    if "reference" in given:
        sample = reader.sample(line, "file/")
        return Row(sample.task, sample.reference)
    for key in ("instruction", "input"):
        if not isinstance(given.get(key), str):
            raise fault(f'needs a text under "{key}".')
    task = Task(where, (), given["instruction"], given["input"], form)
    answer = form_named(form).read(task, given.get("output"))
    if answer.status is not AnswerStatus.OK:
        raise fault('has no answer that can be read under "output".')
    return Row(task, answer)
