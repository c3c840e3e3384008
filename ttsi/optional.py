"""Optional members of plugins, beside their protocols, and the defaults in their absence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ttsi.errors import EngineError, UsageError
from ttsi.types import JSON, Adaptation, Completion, Prompt, Rendered, Sample, Score, Task

if TYPE_CHECKING:
    from ttsi.protocols import Engine, Episode


@runtime_checkable
class HasTrainingRows(Protocol):
    """Optional for a benchmark: labelled rows for training, beside its test set."""

    def train(self) -> Iterable[Sample]: ...


@runtime_checkable
class Renders(Protocol):
    """Optional for an engine: show people what its model reads.

    `rendered` renders a prompt with its opening, as the engine's other calls read it.
    `rendered_text` renders a continuation or, with `end`, a training target. `ttsi prompts` uses
    both.
    """

    def rendered(self, prompt: Prompt) -> Rendered: ...

    def rendered_text(self, text: str, *, end: bool = False) -> Rendered: ...


@runtime_checkable
class WritesCalls(Protocol):
    """Optional for an engine: calls in the notation of the model's own chat template.

    `called` returns the text of an assistant's turn that makes `calls`, a list of {"name",
    "arguments"}, in answer to `prompt`. Raises EngineError if the template writes no calls. Stages
    need it for tasks that are asked natively (`Task.bare`).
    """

    def called(self, prompt: Prompt, calls: JSON) -> str: ...


@runtime_checkable
class Leaves(Protocol):
    """Optional for an engine: end texts that nobody waits for, at the next step of decoding.

    `left`, if it is set, says of a request's owner whether nobody waits for its texts. What was
    written of them is returned as if it had been cut off.
    """

    left: Callable[[str], bool] | None


@runtime_checkable
class TellsTexts(Protocol):
    """Optional for an engine: tell of texts while it writes them.

    `listener`, if it is set, is asked with a request's owner who wants to be told the text so far,
    again and again while it grows; None where nobody does. Thoughts that are open are not told.
    """

    listener: Callable[[str], Callable[[str], None] | None] | None


class LearnsFromRows(Protocol):
    """Optional for a learner: baselines that learn from labelled rows.

    With `needs_examples` False G is not run, and `examples` are empty. With `needs_train` True,
    `teach` is called before the first wave with a function that returns the benchmark's rows for
    training. `source` names the training data, with a digest, for the records.
    """

    needs_examples: bool = True
    needs_train: bool = False
    source: str | None = None

    def teach(self, train: Callable[[], Sequence[Sample]]) -> None: ...


@dataclass(frozen=True, slots=True)
class Rivals:
    """Two answers to a task: that of the base model, and that under the adaptation."""

    task: Task
    base: Completion
    adapted: Completion
    adaptation: Adaptation


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the adapted answer is kept, and what each of the two is worth by the measure `by`."""

    kept: bool
    by: str
    base: float
    adapted: float


@runtime_checkable
class Gates(Protocol):
    """Optional for an inference: keep the base answer where the adapted one is no better.

    What is adapted to is then always answered by the base model, too. `judge` returns a list
    parallel to `rivals`; None, where there is nothing to choose, keeps the adapted answer. The
    receipt holds the verdict, and the text of an answer that was not kept.
    """

    def judge(
        self, rivals: Sequence[Rivals], engine: Engine, seed: int
    ) -> Sequence[Verdict | None]: ...


@runtime_checkable
class AnswersTasks(Protocol):
    """Optional for a generator that asks another model: that model's own answers.

    `answers` returns one for each task, or the error that only this task had. `ttsi judge` holds
    synthetic labels against them.
    """

    def answers(self, tasks: Sequence[Task], seed: int) -> list[Completion | EngineError]: ...


@runtime_checkable
class HasTemplate(Protocol):
    """Optional for a benchmark or a generator: its prompt as a template, for who words it anew.

    `template_for` returns the template that is in force for a task, with its places in braces.
    `ttsi prompts --templates` prints it.
    """

    def template_for(self, task: Task) -> str: ...


@runtime_checkable
class TellsTurns(Protocol):
    """Optional for an episode: how its turns went.

    `turns` is asked once, after the score. It returns a score for each turn that has ended, in
    order, and for one that ended the episode before its time. A turn begins where the user speaks.
    """

    def turns(self) -> Sequence[Score]: ...


def turns_of(episode: Episode) -> tuple[Score, ...]:
    """Return what an environment that has ended says of its turns; nothing if it does not tell."""
    return tuple(episode.turns()) if isinstance(episode, TellsTurns) else ()


class Versioned(Protocol):
    """Optional for a scorer: a version, which changes when any answer could score differently."""

    version: str | None = None


OPTIONAL: Mapping[str, tuple[type, ...]] = {
    "benchmarks": (HasTrainingRows, HasTemplate),
    "engines": (Renders, WritesCalls, Leaves, TellsTexts),
    "generators": (AnswersTasks, HasTemplate),
    "inference": (Gates,),
    "learners": (LearnsFromRows,),
    "scorers": (Versioned,),
}
"""By kind: what its plugins may have beside their protocol."""


def written_calls(engine: object, prompt: Prompt, calls: JSON) -> str:
    """Return `calls` as the model's own chat template writes them in answer to `prompt`.

    Raises UsageError for an engine that cannot say, EngineError where the template writes none.
    """
    if not isinstance(engine, WritesCalls):
        raise UsageError(
            "This engine does not know how the model's chat template writes calls.",
            where=type(engine).__name__,
            cure='Set "prompt": "paper" for the benchmark, or choose the engine transformers.',
        )
    return engine.called(prompt, calls)


def members(protocol: type) -> frozenset[str]:
    """Return the names of a protocol's methods, properties and attributes."""
    names = {*vars(protocol), *protocol.__annotations__}
    return frozenset(name for name in names if not name.startswith("_"))


def chosen(plugin: object, protocol: type, name: str) -> Any:
    """Return the optional member `name` of `plugin`, or the default that `protocol` defines."""
    if name not in members(protocol):
        raise AttributeError(f"{protocol.__name__} has no member {name!r}")
    return getattr(plugin, name, getattr(protocol, name, None))
