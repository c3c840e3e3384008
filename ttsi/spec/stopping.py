"""The part of a spec that says when its runs stop by themselves."""

from __future__ import annotations

from dataclasses import dataclass

from ttsi.options import option


@dataclass(frozen=True, slots=True)
class StopAt:
    """How much the runs of a spec may spend, all cells, seeds and sessions together."""

    usd: float | None = option(
        None,
        "Begin no further wave once this many US dollars have been paid to other models.",
        exclusiveMinimum=0,
    )
    minutes: float | None = option(
        None,
        "Begin no further wave once all stages together have taken this many minutes; those of "
        "several workers add up, and loading the model does not count.",
        exclusiveMinimum=0,
    )
