"""Sides that take turns at the same work, pair after pair, so that drift hits all alike."""

from __future__ import annotations

import ctypes
import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perf.rates import synchronise


@dataclass
class Side:
    """One way to do the work. `prepare` is not timed; `work` counts what one run gets done."""

    name: str
    run: Callable[[], Any]
    work: float = 1
    prepare: Callable[[], object] = lambda: None
    seconds: list[float] = field(default_factory=list)
    peak_memory_bytes: int = 0
    result: Any = None


def take_turns(sides: Sequence[Side], pairs: int, device: Any) -> None:
    """Warm every side up once, then time all `pairs` times; rounds begin with each side in turn.

    A side keeps the seconds of its timed runs, its largest growth of memory and its last result.
    """
    for side in sides:
        _measure(side, device)
        side.seconds.clear()
    for pair in range(pairs):
        first = pair % len(sides)
        for side in [*sides[first:], *sides[:first]]:
            _measure(side, device)
            print(
                f"  pair {pair + 1}/{pairs}  {side.name:<34} {side.seconds[-1]:8.2f} s", flush=True
            )


def speed_ratios(ours: Side, reference: Side) -> list[float]:
    """Return how many times faster ours does a unit of work, pair by pair."""
    return [
        (theirs / reference.work) / (mine / ours.work)
        for mine, theirs in zip(ours.seconds, reference.seconds, strict=True)
    ]


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _measure(side: Side, device: Any) -> None:
    side.prepare()
    # Collected now, so that this run does not pay for garbage of the run before.
    gc.collect()
    before = begin_peak(device)
    synchronise(device)
    started = time.perf_counter()
    side.result = side.run()
    synchronise(device)
    side.seconds.append(time.perf_counter() - started)
    side.peak_memory_bytes = max(side.peak_memory_bytes, peak(device) - before)


# ---------------------------------------------------------------- memory


def begin_peak(device: Any) -> int:
    """Begin to watch for a peak; return the bytes in use: resident set, or torch's on a GPU."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return int(torch.cuda.memory_allocated(device))
    _give_back()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM to the present size
        return _status("VmRSS")
    except OSError:
        return peak(device)


def peak(device: Any) -> int:
    """Return the most bytes in use since `begin_peak`; outside Linux since the process began."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    try:
        return _status("VmHWM")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")


def _give_back() -> None:
    """Release free memory that the allocator keeps, which would hide later growth."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
