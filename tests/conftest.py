"""Settings for all tests: the place of the real data, and property tests without deadlines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

os.environ.setdefault("TTSI_DATA_DIR", str(ROOT.parent / "shared" / "data"))

collect_ignore = ["clients"]
"""Tests with other clients have settings and a tox environment of their own."""

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run slow files first, so that no worker ends with one while others are idle."""
    slow = ("model", "slow")
    heavy = {item.path for item in items if any(map(item.get_closest_marker, slow))}
    items.sort(key=lambda item: item.path not in heavy)
