"""Where our time goes: one more run under torch's profiler, its operators put into groups."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import xgrammar
from torch.profiler import ProfilerActivity, profile, record_function

from perf.rates import synchronise
from perf.timing import Side

GRAMMAR = "perf::grammar"

# An operator belongs to the first group whose pattern is found in its name.
_GROUPS = {
    "sampling and grammar": rf"{GRAMMAR}|sort|topk|argmax|argmin|multinomial|cumsum|logsumexp"
    r"|log_softmax|nonzero|::rand|uniform|bernoulli",
    "attention": r"scaled_dot_product|attention|flash|::_?softmax|fmha",
    "matrix products": r"::mm|::bmm|::addmm|::baddbmm|matmul|::linear|gemm|::mv|::dot|cutlass"
    r"|nvjet|mkldnn::_linear",
    "cache copies": r"::cat|copy_|::index|::clone|::contiguous|::repeat|gather|scatter|::stack"
    r"|Memcpy|Memset|::fill_|::zero_",
    "elementwise": r"::add|::mul|::sub|::div|::neg|::pow|rsqrt|::mean|::sum|silu|::sigmoid|::exp"
    r"|::where|::masked|::cos|::sin|::to\b|elementwise|reduce|norm|adam|foreach|triton",
}


def shares(side: Side, device: torch.device) -> dict[str, float]:
    """Return the groups' shares of the side's wall clock, which add up to 1.

    `Python and waiting` is the wall clock less all operators: the interpreter, and on a GPU its
    idle time. Under the profiler that share is larger than without.
    """
    side.prepare()
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with _grammar_marked(), profile(activities=activities, acc_events=True) as seen:
        synchronise(device)
        started = time.perf_counter()
        side.run()
        synchronise(device)
        wall = time.perf_counter() - started
    return grouped(_operators(seen.key_averages(), device), wall)


def grouped(operators: Iterable[tuple[str, float]], wall: float) -> dict[str, float]:
    """Return shares of `wall` by group, largest first, of operators (name, own seconds)."""
    spent: dict[str, float] = {}
    for name, seconds in operators:
        spent[group(name)] = spent.get(group(name), 0.0) + seconds
    rest = wall - sum(spent.values())
    spent["Python and waiting"] = max(rest, 0.0)
    whole = sum(spent.values())
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return {name: round(seconds / whole, 4) for name, seconds in ordered}


def group(operator: str) -> str:
    found = (name for name, pattern in _GROUPS.items() if re.search(pattern, operator))
    return next(found, "other operators")


def _operators(averages: Iterable[Any], device: torch.device) -> Iterator[tuple[str, float]]:
    for event in averages:
        if device.type == "cuda":
            # Kernels carry the time; the operators that launch them have none of their own.
            if event.device_type != torch.autograd.DeviceType.CPU:
                yield event.key, event.self_device_time_total / 1e6
            elif event.key == GRAMMAR:
                yield event.key, event.self_cpu_time_total / 1e6
        else:
            yield event.key, event.self_cpu_time_total / 1e6


@contextmanager
def _grammar_marked() -> Iterator[None]:
    """Mark grammar work, which is no operator of torch, as one in the block."""
    methods = ("fill_next_token_bitmask", "accept_token")
    originals = {name: getattr(xgrammar.GrammarMatcher, name) for name in methods}
    for name, original in originals.items():
        setattr(xgrammar.GrammarMatcher, name, _marked(original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(xgrammar.GrammarMatcher, name, original)


def _marked(method: Any) -> Any:
    def run(*given: Any, **named: Any) -> Any:
        with record_function(GRAMMAR):
            return method(*given, **named)

    return run
