"""Every error ttsi raises on purpose.

    TtsiError            exit  what, where, cure
    ├── SpecError          2   a spec with problems, all of them
    ├── UsageError         2   an argument, option or file that cannot be used
    ├── PluginError        5   a named plugin that cannot be loaded
    ├── MissingAsset       5   a model, data set or package that is not available
    ├── CorruptAsset       5   a file with unexpected bytes
    ├── StorageError       1   a disk that is full, a folder that cannot be written
    ├── RunError           1   a run that cannot go on
    │   ├── DeviceLost     1   a device that no longer answers
    │   └── LimitReached   6   a run that stopped where its spec says
    ├── EngineError        1   a model call that failed; costs the sample, not the run
    │   ├── OutOfMemory    1   the wave is halved and tried again
    │   └── Unanswerable   1   a request that no call could answer: too long, or no such grammar
    └── VerificationError  4   results that do not match their record

A message says what is wrong, where, and the cure.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import ClassVar


class TtsiError(Exception):
    """Base class of all errors. `str()` is a message for people, at most a screen long."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", cure: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.cure = what, where, cure

    def __str__(self) -> str:
        lines = [_bounded(self.what)]
        if self.where:
            lines.append(f"  where: {_bounded(self.where)}")
        if self.cure:
            lines.append(f"  cure:  {_bounded(self.cure)}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Executors pickle exceptions, which by default cannot restore keyword-only arguments.
        return (_rebuild, (type(self), self.what, self.where, self.cure))


def _bounded(text: str, most: int = 1500) -> str:
    """Shorten `text` to `most` characters: a name may have any length, a screen does not."""
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"


def _rebuild(kind: type[TtsiError], what: str, where: str, cure: str) -> TtsiError:
    return kind(what, where=where, cure=cure)


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a spec. `pointer` is a JSON pointer ("" is the whole document)."""

    pointer: str
    message: str
    cure: str = ""

    def __str__(self) -> str:
        place = self.pointer or "(the whole spec)"
        return f"{place}: {self.message}" + (f" {self.cure}" if self.cure else "")


class SpecError(TtsiError):
    """A spec with one or more problems; `problems` holds every one found."""

    exit_code = 2

    def __init__(self, problems: list[Problem], *, where: str = "") -> None:
        count = len(problems)
        heading = f"The spec has {count} problem{'s' if count != 1 else ''}."
        super().__init__(heading, where=where, cure="`ttsi schema spec` prints what is allowed.")
        self.problems = problems

    def __str__(self) -> str:
        lines = [self.what + (f" ({self.where})" if self.where else "")]
        lines += [f"  {problem}" for problem in self.problems]
        return "\n".join([*lines, f"  cure:  {self.cure}"])

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_spec_error, (self.problems, self.where))


def _rebuild_spec_error(problems: list[Problem], where: str) -> SpecError:
    return SpecError(problems, where=where)


class UsageError(TtsiError):
    exit_code = 2


class PluginError(TtsiError):
    exit_code = 5


class MissingAsset(TtsiError):
    exit_code = 5


class CorruptAsset(TtsiError):
    exit_code = 5


class StorageError(TtsiError):
    exit_code = 1


class RunError(TtsiError):
    exit_code = 1


class DeviceLost(RunError):
    """A device that answers no later call either, so the sample is not at fault."""


class LimitReached(RunError):
    """A run that has spent what its spec allows (`stop_at`). What is done is kept."""

    exit_code = 6


class EngineError(TtsiError):
    exit_code = 1


class OutOfMemory(EngineError):
    pass


class Unanswerable(EngineError):
    """A request that this model cannot answer at all, so the one who asks is at fault."""


class VerificationError(TtsiError):
    exit_code = 4


def ends_the_run(error: Exception) -> bool:
    """Return whether an error is one of ttsi's that says that a run cannot go on.

    All others cost a sample or a wave: a model call that failed, and what foreign code raises.
    """
    return isinstance(error, TtsiError) and not isinstance(error, EngineError)


def release(error: BaseException) -> None:
    """Drop the tracebacks of `error` and of its causes, with everything that their frames hold.

    An exception keeps the local variables of every function that it passed through. After a model
    call that ran out of memory, these include everything that it had computed.
    """
    told: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in told:
            told.add(id(each))
            # Frames and exceptions may refer to each other; only clearing breaks that cycle.
            traceback.clear_frames(each.__traceback__)
            each.__traceback__ = None
            waiting += [each.__cause__, each.__context__]
