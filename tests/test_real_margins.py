"""The margin of real likelihoods, against a softmax in float64."""

from __future__ import annotations

import numpy as np
import pytest

from ttsi_benchmarks.sealtool import SealTool
from ttsi_plugins.engines.transformers import TransformersEngine
from ttsi_plugins.estimators.rss_margin import RssMargin

pytestmark = pytest.mark.model


def test_the_margin_is_of_the_scores_that_are_recorded() -> None:
    engine = TransformersEngine({"id": "smollm2-135m", "dtype": "float32"})
    engine.load()
    tasks = [sample.task for sample in SealTool(limit=3).samples()]
    for task, estimate in zip(tasks, RssMargin().estimate(tasks, engine, 0), strict=True):
        assert tuple(estimate.scores) == task.tool_names
        values = np.array(list(estimate.scores.values()), dtype=np.float64)
        p = np.exp(values - values.max()) / np.exp(values - values.max()).sum()
        first, second = np.sort(p)[::-1][:2]
        assert estimate.confidence == pytest.approx(first - second, abs=1e-12)
        assert estimate.uncertain == (estimate.confidence < 0.95)
    engine.close()
