"""What a plugin may have beside its protocol; without it, it has what is said here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from ttsi.types import Prompt, Rendered, Sample


@runtime_checkable
class HasTrainingRows(Protocol):
    """What a benchmark may have: labelled rows for training, beside its test set."""

    def train(self) -> Iterable[Sample]: ...


@runtime_checkable
class Renders(Protocol):
    """What an engine may have: it shows people what its model reads.

    `rendered` is a prompt with its opening, as the engine's other calls read it; `rendered_text` a
    continuation or, with `end`, a target of training. `ttsi prompts` asks for them.
    """

    def rendered(self, prompt: Prompt) -> Rendered: ...

    def rendered_text(self, text: str, *, end: bool = False) -> Rendered: ...


class LearnsFromRows(Protocol):
    """What a learner may have, for baselines that learn from labelled rows.

    With `needs_examples` False G is not run, and `examples` are empty. With `needs_train` True the
    learner is given, by `teach` and before the first wave, a function that returns the benchmark's
    rows for training. `source` names, for records, what was learnt from, with a digest.
    """

    needs_examples: bool = True
    needs_train: bool = False
    source: str | None = None

    def teach(self, train: Callable[[], Sequence[Sample]]) -> None: ...


class Versioned(Protocol):
    """What a scorer may have: a version, which changes when any answer could score differently."""

    version: str | None = None


OPTIONAL: Mapping[str, type] = {
    "benchmarks": HasTrainingRows,
    "engines": Renders,
    "learners": LearnsFromRows,
    "scorers": Versioned,
}
"""By kind: what its plugins may have beside their protocol."""


def members(protocol: type) -> frozenset[str]:
    """The names of a protocol's methods, properties and attributes."""
    names = {*vars(protocol), *protocol.__annotations__}
    return frozenset(name for name in names if not name.startswith("_"))


def chosen(plugin: object, protocol: type, name: str) -> Any:
    """The optional member `name` of `plugin`, or what `protocol` has in its place."""
    if name not in members(protocol):
        raise AttributeError(f"{protocol.__name__} has no member {name!r}")
    return getattr(plugin, name, getattr(protocol, name, None))
