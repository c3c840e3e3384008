"""Helpers that tests of specs share."""

from __future__ import annotations

import pytest

from ttsi.errors import Problem

MINIMAL = {"benchmark": "sealtool"}


def clear_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the user's TTSI_* settings, which must not affect a test."""
    for name in ("TTSI_MODEL", "TTSI_LIMIT", "TTSI_SEEDS", "TTSI_WAVE", "TTSI_LOAD_PLUGINS"):
        monkeypatch.delenv(name, raising=False)


def pointers(problems: list[Problem]) -> set[str]:
    return {problem.pointer for problem in problems}


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]
