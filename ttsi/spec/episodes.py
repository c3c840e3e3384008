"""The part of a spec that concerns episodes: samples that are played in steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ttsi.options import option


@dataclass(frozen=True, slots=True)
class Episodes:
    """How episodes are played. A turn begins at the first step, and where a user has spoken."""

    estimate_at: Literal["every_step", "first_of_turn"] = option(
        "every_step",
        "Estimate at every step, or at the first one of a turn; the base model then answers the "
        "others.",
    )
    keep: Literal["step", "turn"] = option(
        "step",
        "How long an adaptation stays in force: for the step at which it was made, or to the end "
        "of the turn; the later steps of the turn are then not estimated.",
    )
    most_steps: int | None = option(
        None, "An episode ends after this many steps, and is scored as it stands.", minimum=1
    )
    most_tokens: int | None = option(
        None,
        "An episode ends after the step with which its answers, and the prompts that they answer, "
        "have this many tokens.",
        minimum=1,
    )
    most_seconds: float | None = option(
        None,
        "An episode ends after the step with which its share of all stages' time comes to this "
        "many seconds. Results then depend on the machine.",
        exclusiveMinimum=0,
    )
