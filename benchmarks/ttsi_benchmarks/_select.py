"""The selection of a benchmark's rows for a run: options that all benchmarks share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ttsi import Sample, Task, UsageError, option
from ttsi._common.places import check_places
from ttsi.rows.rendering import PLACES, Order, Wording, Writer


@dataclass(frozen=True)
class Selection(ABC):
    """Base of every benchmark here: all rows, and the part of them that the options select."""

    limit: int | None = option(None, "Take at most this many samples.", minimum=1)
    select: Literal["even", "first"] = option(
        "even", "How `limit` chooses: spread evenly over the set, or its first rows."
    )
    ids: list[str] | None = option(None, "Take only these samples, in the benchmark's order.")
    instruction: str | None = option(
        None,
        "The system turn in your own words: a template with the places {instruction}, the "
        "benchmark's own words, and, where ttsi writes the tools, {tools} and {format}.",
        minLength=1,
    )

    @abstractmethod
    def all_samples(self) -> list[Sample]:
        """Return every row as a Sample, in upstream order."""

    @abstractmethod
    def revision(self) -> str:
        """Return a digest that names the data; it does not depend on the options."""

    def samples(self) -> list[Sample]:
        """Return the selected rows, as they are asked.

        Raises UsageError for an unknown id, and for a template that does not fit.
        """
        rows = self.all_samples()
        if self.ids is not None:
            rows = _named(rows, self.ids)
        return self.asked([rows[place] for place in self.places(rows)])

    @property
    def wording(self) -> Wording:
        """How tasks are worded; environments of episodes word their tasks by it themselves."""
        return Wording(instruction=self.instruction)

    def template_for(self, task: Task) -> str:
        """Return the template of the system turn."""
        return self.wording.template(task)

    def asked(self, rows: Sequence[Sample]) -> list[Sample]:
        """Return rows of `all_samples` as they are asked."""
        return [replace(row, task=self.wording.of(row.task)) for row in rows]

    def places(self, rows: Sequence[Sample]) -> list[int]:
        """Return the indices of the rows to take; a subclass may distribute `limit` over parts."""
        return places(len(rows), self.limit, self.select)


@dataclass(frozen=True)
class CallSelection(Selection):
    """Base of benchmarks whose rows offer tools."""

    prompt: Writer = option(
        "paper",
        "Who writes the tools into the prompt: ttsi into the instruction, as the paper, or the "
        "model's own chat template, in which case calls are in its notation, too.",
    )
    tool_order: Order = option(
        "given",
        "In which order the tools are offered: the data's, or shuffled, which tells nothing of the "
        "answer. In sealtool as given, the right tool comes first in 258 of 294 rows.",
    )

    def __post_init__(self) -> None:
        """Raise UsageError for words of one's own that leave out the tools."""
        if self.instruction is not None and self.prompt == "paper":
            check_places(self.instruction, "benchmark.instruction", PLACES, needed=("tools",))

    @property
    def wording(self) -> Wording:
        return Wording(self.prompt, self.instruction, self.tool_order)


def places(count: int, limit: int | None, select: Literal["even", "first"]) -> list[int]:
    """Return distinct ascending indices of `count` rows; for "even", floor(i * count / limit)."""
    if limit is None or limit >= count:
        return list(range(count))
    if select == "first":
        return list(range(limit))
    return [i * count // limit for i in range(limit)]


def evenly(sizes: Sequence[int], count: int) -> list[int]:
    """Distribute `count` over parts of these sizes.

    Shares differ by at most one, except for parts that are taken whole.
    """
    shares = [0] * len(sizes)
    left = min(count, sum(sizes))
    while left:
        growing = [part for part, size in enumerate(sizes) if shares[part] < size]
        chosen = places(len(growing), left, "even")
        for place in chosen:
            shares[growing[place]] += 1
        left -= len(chosen)
    return shares


def _named(rows: Sequence[Sample], ids: Sequence[str]) -> list[Sample]:
    wanted = set(ids)
    unknown = sorted(wanted - {row.id for row in rows})
    if unknown:
        raise UsageError(
            f"The benchmark has no sample {', '.join(unknown[:5])}.",
            where="option `ids`",
            cure=f"Ids here run from {rows[0].id} to {rows[-1].id}.",
        )
    return [row for row in rows if row.id in wanted]
