"""Adapt a fixed share of the samples, the least confident, instead of using a threshold (section
6).

All samples are first estimated and answered unadapted, so that the choice does not depend on waves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ttsi.exchange import Rejections
from ttsi.types import Record

UNADAPTED = ("estimate", "answer")


def share_out(records: Iterable[Record], budget: float) -> dict[str, Record]:
    """Return the records that have an estimate, by id, with the budget's share marked uncertain.

    The least confident come first, ties by id. The share is of all records, including those with
    errors.
    """
    everything = list(records)
    ranked = sorted(
        (record.estimate.confidence, record.id) for record in everything if record.estimate
    )
    chosen = {name for _, name in ranked[: round(budget * len(everything))]}
    return {
        record.id: replace(record, estimate=replace(record.estimate, uncertain=record.id in chosen))
        for record in everything
        if record.estimate
    }


def divisible(record: Record) -> bool:
    """Whether a record has a part that is the base model's: its estimate and its answer.

    An adapted episode has none: its later estimates are for a conversation that the base model did
    not have.
    """
    whole = record.estimate is not None and record.base is not None
    return whole and not (record.steps and record.adapted)


def unadapted(record: Record, *, estimates: bool = True) -> Record:
    """Return the base model's part of a record that has a base answer, with its estimate or not."""
    stages = UNADAPTED if estimates else ("answer",)
    return replace(
        record,
        estimate=record.estimate if estimates else None,
        examples=(),
        receipt=None,
        final=record.base,
        final_score=record.base_score,
        adapted=False,
        note="",
        rejected=Rejections(),
        costs={stage: cost for stage, cost in record.costs.items() if stage in stages},
    )
