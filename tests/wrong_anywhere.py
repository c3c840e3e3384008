"""Faults against the rules of every plugin, shown on estimators; see wrong.py."""

from __future__ import annotations

import dataclasses
import logging
import os
import random
import signal
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

from wrong import Sound, fails

from ttsi.options import option
from ttsi.protocols import Engine
from ttsi.types import Estimate, Task

# ---------------------------------------------------------------- options and protocol


@fails("options-schema", "not JSON Schema, at type: 'objekt'")
class NoSchema(Sound):
    options_schema: ClassVar[dict[str, Any]] = {"type": "objekt"}


@fails("options-schema", "not of type object")
class NoObject(Sound):
    options_schema: ClassVar[dict[str, Any]] = {"additionalProperties": False}


@fails("options-schema", "called `name`")
@dataclass(frozen=True)
class Named(Sound):
    name: str = option("x", "A spec's own key.")


@fails("options-schema", r"holds a \$ref")
class Pointing(Sound):
    options_schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/a", "default": 1, "description": "Which."}},
        "$defs": {"a": {"type": "integer"}},
        "additionalProperties": False,
    }

    def __init__(self, a: int = 1) -> None:
        self.a = a


@fails("options-schema", "cannot be read: NameError")
@dataclass(frozen=True)
class Unhinted(Sound):
    depth: Nowhere = option(2, "How deep.")  # type: ignore[name-defined] # noqa: F821


@fails("options-described", "no description of the option depth")
@dataclass(frozen=True)
class Silent(Sound):
    depth: int = option(2, "")


@fails("options-defaults", "depth: 20 is greater than the maximum of 9")
@dataclass(frozen=True)
class OutOfRange(Sound):
    depth: int = option(20, "How deep.", maximum=9)


@fails("options-defaults", "the option depth has no default and is not required")
class Defaultless(Sound):
    options_schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {"depth": {"type": "integer", "description": "How deep."}},
        "additionalProperties": False,
    }

    def __init__(self, depth: int = 2) -> None:
        self.depth = depth


@fails("options-closed", 'allows "no_such_option"')
class Open(Sound):
    options_schema: ClassVar[dict[str, Any]] = {"type": "object", "properties": {}}


@fails("protocol", "`needs` is {'loglikelihood'}, not a frozenset")
class NeedsASet(Sound):
    needs: Any = {"loglikelihood"}  # noqa: RUF012


# ---------------------------------------------------------------- instances and the process


@fails("instances", "using one instance changed another: log")
class SharedLog(Sound):
    log: ClassVar[list[str]] = []

    def judge(self, task: Task, logprob: float) -> Estimate:
        self.log.append(task.id)
        return super().judge(task, logprob)


@fails("instances", "two instances with the same options differ")
@dataclass
class Numbered(Sound):
    number: int = dataclasses.field(default_factory=lambda: random.SystemRandom().getrandbits(60))


class Careless(Sound):
    """Changes the process, and then does its work."""

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> Any:
        self.meddle(seed)
        return super().estimate(tasks, engine, seed)

    def meddle(self, seed: int) -> None: ...


@fails("global-state", "the state of random$")
class Seeds(Careless):
    def meddle(self, seed: int) -> None:
        random.seed(seed)


@fails("global-state", "the environment: WRONG_PLUGIN")
class Exports(Careless):
    def meddle(self, seed: int) -> None:
        os.environ["WRONG_PLUGIN"] = str(seed)


@fails("global-state", "the working directory")
class Wanders(Careless):
    def meddle(self, seed: int) -> None:
        os.chdir("/")


@fails("global-state", "the root logger")
class Logs(Careless):
    def meddle(self, seed: int) -> None:
        logging.root.addHandler(logging.NullHandler())


@fails("global-state", "signal handlers: SIGUSR1")
class Traps(Careless):
    def meddle(self, seed: int) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


@fails("global-state", "warnings.filters")
class Hushes(Careless):
    def meddle(self, seed: int) -> None:
        warnings.simplefilter("ignore", UserWarning)


HELD = threading.Event()
"""What the thread below waits for; the test sets it when it has seen enough."""


@fails("global-state", "the thread 'left behind' still runs")
class LeavesThreads(Careless):
    def meddle(self, seed: int) -> None:
        threading.Thread(target=HELD.wait, name="left behind", daemon=True).start()


@fails("portable", "cannot be pickled: TypeError: cannot pickle 'mappingproxy'")
class Unpicklable(Sound):
    def judge(self, task: Task, logprob: float) -> Estimate:
        return replace(super().judge(task, logprob), scores=MappingProxyType({"a": 0.0}))
