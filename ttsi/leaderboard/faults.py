"""One thing that is wrong with a submission, and how a stranger's text is told of."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ttsi.types import JSON

UNAVAILABLE = "unavailable"
"""The kind of what keeps this machine from looking: no fault of the submission, and no pass."""

_LONGEST = 120


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind` is one word for programs; `where` a file of the submission, with its line."""

    kind: str
    where: str
    what: str
    cure: str

    def __str__(self) -> str:
        return f"[{self.kind}] {self.where}: {self.what}\n      cure:  {self.cure}"

    def as_json(self) -> dict[str, JSON]:
        return asdict(self)


class Unsound(Exception):
    """Carries the fault that ends the reading of a file, or of a submission."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.what)
        self.fault = fault


def shown(value: object) -> str:
    """A stranger's text or value on one line of ASCII: short, and nothing a terminal obeys."""
    text = ascii(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
