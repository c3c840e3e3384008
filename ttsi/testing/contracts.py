"""The checks as a pytest function. Imports pytest, which ttsi itself does not need."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from ttsi.testing.checks import Check
from ttsi.testing.running import checks_for, kind_of, run_check, subject_of
from ttsi.testing.subject import Subject


def contract(name: str, kind: str | None = None, /, **options: Any) -> Callable[..., None]:
    """Return a pytest function with one case for each contract check of the plugin's kind.

        test_contract = contract("acme-doubt/length", tolerated=80)

    Keywords are the plugin's options (for an engine, also `model`); `kind` is needed only where
    several kinds have a plugin of this name. Raises UsageError where none has.
    """
    import pytest

    kind = kind_of(name, kind)

    @cache
    def subject() -> Subject:
        return subject_of(name, options, kind)

    @pytest.mark.parametrize("check", checks_for(kind), ids=lambda check: check.name)
    def test_contract(check: Check) -> None:
        outcome = run_check(check, subject())
        if outcome.skipped:
            pytest.skip(outcome.message)
        if not outcome.passed:
            pytest.fail(f"{outcome.message}\n\n{check.name}: {check.why}", pytrace=False)

    return test_contract
