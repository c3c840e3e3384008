"""A fault of a submission, and how untrusted text is quoted in messages."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ttsi.types import JSON

UNAVAILABLE = "unavailable"
"""The kind of fault where this machine lacks data or a plugin that verification needs."""

_LONGEST = 120


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `kind` is one word for programs; `where` is a file, with its line if any."""

    kind: str
    where: str
    what: str
    cure: str

    def __str__(self) -> str:
        return f"[{self.kind}] {self.where}: {self.what}\n      cure:  {self.cure}"

    def as_json(self) -> dict[str, JSON]:
        return asdict(self)


class Unsound(Exception):
    """Raised with the fault that stops the reading of a file or submission."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.what)
        self.fault = fault


def shown(value: object) -> str:
    """Return an untrusted value as one short line of ASCII, without terminal control characters."""
    text = ascii(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
