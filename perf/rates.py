"""The machine's best rates: of matrix products in the model's shapes, and of reading memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from perf.floor import Rates, Shape
from ttsi_plugins.engines.transformers import products

_ROWS = 1024
_REPEATS = 7


@torch.inference_mode()
def measure(shape: Shape, device: Any, dtype: Any) -> Rates:
    """Return the best of several runs, with torch's threads, by torch's products or ours."""
    shapes = [*shape.linears, (shape.hidden, shape.vocabulary)]
    given = {inputs: torch.randn(_ROWS, inputs, device=device, dtype=dtype) for inputs, _ in shapes}
    layers = [
        nn.Linear(inputs, outputs, bias=False, device=device, dtype=dtype).requires_grad_(False)
        for inputs, outputs in shapes
    ]

    def multiply() -> None:
        for layer in layers:
            layer(given[layer.in_features])

    size = 2**28 if device.type == "cuda" else 2**26
    block = torch.ones(size, device=device, dtype=torch.float32)
    flops = 2 * _ROWS * sum(inputs * outputs for inputs, outputs in shapes)
    seconds = _best(multiply, device)
    products.quicken(products.quickened(layers))
    return Rates(
        flops_per_second=flops / min(seconds, _best(multiply, device)),
        bytes_per_second=4 * size / _best(block.sum, device),
    )


def _best(work: Callable[[], object], device: Any) -> float:
    work()
    seconds = []
    for _ in range(_REPEATS):
        synchronise(device)
        started = time.perf_counter()
        work()
        synchronise(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def synchronise(device: Any) -> None:
    """Wait until the device has finished its work, before the clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
