"""Fixtures for pytest, which imports this module wherever ttsi is installed: keep it light."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ttsi.testing.fake_benchmark import FakeBenchmark
    from ttsi.testing.fake_engine import FakeEngine


@pytest.fixture
def ttsi_engine() -> FakeEngine:
    """Return a new `ttsi.testing.FakeEngine` with all capabilities."""
    from ttsi.testing import FakeEngine

    return FakeEngine()


@pytest.fixture
def ttsi_benchmark() -> FakeBenchmark:
    """Return a `ttsi.testing.FakeBenchmark` of six samples and six training rows."""
    from ttsi.testing import FakeBenchmark

    return FakeBenchmark()
