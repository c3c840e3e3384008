"""Fixtures for whoever has ttsi installed. Every pytest there imports this: nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ttsi.testing.fake_benchmark import FakeBenchmark
    from ttsi.testing.fake_engine import FakeEngine


@pytest.fixture
def ttsi_engine() -> FakeEngine:
    """A fresh `ttsi.testing.FakeEngine` that can do all that an engine can."""
    from ttsi.testing import FakeEngine

    return FakeEngine()


@pytest.fixture
def ttsi_benchmark() -> FakeBenchmark:
    """A `ttsi.testing.FakeBenchmark` of six samples, and six for training."""
    from ttsi.testing import FakeBenchmark

    return FakeBenchmark()
