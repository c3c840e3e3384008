"""The types of a contract check and its outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttsi.testing.subject import Subject


class Violation(AssertionError):
    """Raised where the plugin breaks its contract; the message says how and where."""


class NotApplicable(Exception):
    """Raised where the check does not apply, or another check's failure prevents it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule of a contract. `run` raises Violation where it is broken; `why` gives the reason."""

    name: str
    why: str
    run: Callable[[Subject], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a check. `passed` is False only where the contract is broken.

    `skipped`: the check did not run to its end, and `message` says why. `missing`: a package, model
    or data set that it needs is not available.
    """

    check: Check
    passed: bool
    message: str = ""
    skipped: bool = False
    missing: bool = False

    @property
    def state(self) -> str:
        if self.skipped:
            return "skipped"
        return "passed" if self.passed else "failed"

    def as_json(self) -> dict[str, Any]:
        return {
            "check": self.check.name,
            "state": self.state,
            "message": self.message,
            "why": self.check.why,
        }


def require(holds: object, message: str) -> None:
    """Raise Violation with `message` unless `holds` is true."""
    if not holds:
        raise Violation(message)
