"""The whole method as it is measured: the paper's recipe, and the fast variant of it.

Both decode greedily under a schema, so that two engines write the same. A second attempt of G would
repeat the first, so G makes one.
"""

from __future__ import annotations

from typing import Literal

from ttsi.protocols import Engine
from ttsi.solving.pipeline import Pipeline, Stages
from ttsi_plugins.estimators.rss_margin import RssMargin
from ttsi_plugins.generators.self_generator import SelfGenerator
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners.lora_sft import LoraSft

Variant = Literal["exact", "activated"]
SEED = 0


def generator(variant: Variant) -> SelfGenerator:
    """Return G; in `activated` it keeps the task's system turn, which the stages then share."""
    return SelfGenerator(
        prompt="quoted" if variant == "exact" else "seed_first",
        format="json",
        attempts=1,
        top_k=1,
        repetition_penalty=1.0,
        max_calls=1,
        max_tokens=128,
    )


def pipeline(engine: Engine, variant: Variant, threshold: float = 0.95) -> Pipeline:
    """Return Algorithm 1 on `engine`, without the unadapted answers of uncertain samples."""
    stages = Stages(
        estimator=RssMargin(threshold=threshold),
        generator=generator(variant),
        learner=LoraSft(active_from="start" if variant == "exact" else "user_turn"),
        inference=Direct(format="tool_calls", decoding="greedy", max_calls=1, max_tokens=128),
    )
    return Pipeline(stages, engine, seed=SEED, baseline=False)
