"""The stages of Algorithm 1, and sums of what they cost."""

from __future__ import annotations

from collections.abc import Mapping

from ttsi.types import StageCost

STAGES = ("estimate", "answer", "generate", "learn", "adapted")


def add_costs(*costs: Mapping[str, StageCost]) -> dict[str, StageCost]:
    """Return the sums by stage, in the order of the stages."""
    stages = [*STAGES, *(stage for each in costs for stage in each if stage not in STAGES)]
    return {
        stage: sum((each[stage] for each in costs if stage in each), StageCost())
        for stage in dict.fromkeys(stages)
        if any(stage in each for each in costs)
    }
