"""A share of the samples instead of a threshold: the least confident are adapted to (section 6).

All samples are estimated and answered unadapted first, so that the choice depends on no wave.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ttsi.types import Record

UNADAPTED = ("estimate", "answer")


def share_out(records: Iterable[Record], budget: float) -> dict[str, Record]:
    """The records that have an estimate, by id: the budget's share of all is uncertain.

    The least confident come first, ties by id. Records with errors count in the whole.
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


def unadapted(record: Record) -> Record | None:
    """What `record` says of the base model; None where it has no estimate or no base answer."""
    if record.estimate is None or record.base is None:
        return None
    return replace(
        record,
        examples=(),
        receipt=None,
        final=record.base,
        final_score=record.base_score,
        adapted=False,
        note="",
        costs={stage: cost for stage, cost in record.costs.items() if stage in UNADAPTED},
    )
