"""The state that all code in a process shares, which a plugin must not change."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_PATIENCE = 1.0
"""Seconds to wait for a thread to end before it counts as left running."""


@dataclass(frozen=True, slots=True)
class Aspect:
    name: str
    read: Callable[[], Any]
    write: Callable[[Any], None]


class Shared:
    """A snapshot of this process's shared state."""

    def __init__(self) -> None:
        self._values = {aspect.name: aspect.read() for aspect in _ASPECTS}
        self._threads = set(threading.enumerate())

    def changes(self) -> list[str]:
        """Return what has changed since the snapshot, in words; threads still running included."""
        changed = [
            _told(aspect, self._values[aspect.name])
            for aspect in _ASPECTS
            if self._values[aspect.name] is not None and self._values[aspect.name] != aspect.read()
        ]
        left = set(threading.enumerate()) - self._threads
        for thread in left:
            thread.join(_PATIENCE)
        return changed + [f"the thread {t.name!r} still runs" for t in left if t.is_alive()]

    def restore(self) -> None:
        for aspect in _ASPECTS:
            if self._values[aspect.name] is not None:
                aspect.write(self._values[aspect.name])


def _told(aspect: Aspect, before: Any) -> str:
    now = aspect.read()
    if isinstance(before, dict):
        keys = [str(k) for k in {**before, **now} if before.get(k) != now.get(k)]
        return f"{aspect.name}: {', '.join(sorted(keys))}"
    return aspect.name


def _numpy() -> Any:
    """Return the state of numpy's generator, or None where numpy is not loaded."""
    numpy = sys.modules.get("numpy")
    return None if numpy is None else [_bytes(part) for part in numpy.random.get_state()]


def _bytes(part: Any) -> Any:
    return part.tobytes() if hasattr(part, "tobytes") else part


def _torch() -> Any:
    torch = sys.modules.get("torch")
    return None if torch is None else torch.get_rng_state().tolist()


def _set_environment(values: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(values)


def _set_root_logger(values: tuple[list[logging.Handler], int]) -> None:
    logging.root.handlers[:], level = values
    logging.root.setLevel(level)


def _signals() -> dict[str, Any]:
    return {number.name: signal.getsignal(number) for number in signal.Signals}


def _set_signals(handlers: dict[str, Any]) -> None:
    for name, handler in handlers.items():
        if handler is not None and signal.getsignal(signal.Signals[name]) != handler:
            signal.signal(signal.Signals[name], handler)


def _set_path(folders: list[str]) -> None:
    sys.path[:] = folders


def _set_filters(filters: Any) -> None:
    warnings.filters[:] = filters  # type: ignore[index] # the stubs declare it a Sequence


def _set_streams(streams: dict[str, Any]) -> None:
    sys.stdout, sys.stderr = streams["stdout"], streams["stderr"]


def _nothing(_: Any) -> None:
    """Leave the state as it is: numpy's and torch's generators are compared, not restored."""


_ASPECTS = (
    Aspect("the state of random", random.getstate, random.setstate),
    Aspect("the state of numpy.random", _numpy, _nothing),
    Aspect("the state of torch's generator", _torch, _nothing),
    Aspect("the environment", lambda: dict(os.environ), _set_environment),
    Aspect("the working directory", os.getcwd, os.chdir),
    Aspect("sys.path", lambda: list(sys.path), _set_path),
    Aspect(
        "the root logger",
        lambda: (list(logging.root.handlers), logging.root.level),
        _set_root_logger,
    ),
    Aspect("signal handlers", _signals, _set_signals),
    Aspect(
        "warnings.filters",
        lambda: list(warnings.filters),
        _set_filters,
    ),
    Aspect(
        "sys.stdout and sys.stderr",
        lambda: {"stdout": sys.stdout, "stderr": sys.stderr},
        _set_streams,
    ),
)
