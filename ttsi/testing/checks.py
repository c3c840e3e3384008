"""What a check is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttsi.testing.subject import Subject


class Violation(AssertionError):
    """The plugin breaks its contract; the message says what, and where."""


class NotApplicable(Exception):
    """The check has nothing to look at in this plugin, or lacks what it needs."""


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of a plugin. `run` raises Violation where it is broken; `why` is a sentence."""

    name: str
    why: str
    run: Callable[[Subject], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check found. `passed` is False only where the contract is broken.

    `skipped`: the check did not apply, and `message` says why. `missing`: a package, model or data
    set that it needs is not at hand.
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
    """Violation with `message` unless `holds`."""
    if not holds:
        raise Violation(message)
