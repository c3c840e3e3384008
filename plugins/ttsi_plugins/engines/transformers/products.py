"""Matrix products by frozen weights on a CPU, by oneDNN instead of BLAS.

In float32 torch gives a linear layer to BLAS. oneDNN is faster at the sizes that occur here: for
SmolLM2's layers on two cores, 1.4 times at 70 rows and 2 to 3 times at the few rows of decoding,
where it reads the weights in its own blocked layout. In bfloat16 torch calls oneDNN by itself, but
without that layout, on the processors on which oneDNN has the products at all. The layout needs a
copy; without room for one oneDNN reads the original, which gains less. The gradient by the input
always reads the original.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

# A copy of the weights may take this share of the memory that is free when the model is loaded.
_ROOM = 0.25


def quickened(modules: Iterable[nn.Module]) -> dict[nn.Linear, Tensor]:
    """Return the linear layers that get faster, each with the weight to multiply by."""
    layers = [m for m in modules if type(m) is nn.Linear and _gains(m.weight)]
    size = sum(layer.weight.nbytes for layer in layers)
    if size > _ROOM * _free():
        return {layer: layer.weight.detach() for layer in layers}
    return {layer: _operators()._reorder_linear_weight(layer.weight.detach()) for layer in layers}


def quicken(weights: dict[nn.Linear, Tensor]) -> None:
    """Let these layers multiply by oneDNN; `restore` undoes it."""
    for layer, weight in weights.items():
        layer.forward = partial(_linear, layer, weight)  # type: ignore[method-assign]


def restore(weights: dict[nn.Linear, Tensor]) -> None:
    for layer in weights:
        layer.__dict__.pop("forward", None)


def _linear(layer: nn.Linear, weight: Tensor, x: Tensor) -> Tensor:
    if torch.is_grad_enabled() and x.requires_grad:
        # Flattened, because the result of an autograd function must not be a view.
        out: Tensor = _Frozen.apply(x.flatten(0, -2), layer, weight)
        return out.view(*x.shape[:-1], -1)
    return _multiply(x, weight, layer.bias)


class _Frozen(torch.autograd.Function):
    """A linear layer whose weights get no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: nn.Linear, weight: Tensor) -> Tensor:
        ctx.layer = layer
        return _multiply(x, weight, layer.bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _multiply(gradient, ctx.layer.weight.detach().t(), None), None, None


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out: Tensor = _operators()._linear_pointwise(x, weight, bias, "none", [], "")
    return out


def _operators() -> Any:
    return torch.ops.mkldnn


def _gains(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and not weight.requires_grad and _multiplies(weight.dtype)


@cache
def _multiplies(dtype: torch.dtype) -> bool:
    """Return whether oneDNN has all products of this module in `dtype` on this processor.

    It is tried, for what a processor can do has many names. What is wrong then is found when the
    model's passes are compared with transformers' own.
    """
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    x, weight = torch.ones(2, 32, dtype=dtype), torch.ones(32, 32, dtype=dtype)
    try:
        made = _multiply(x, _operators()._reorder_linear_weight(weight), None)
        return bool((made == 32).all()) and bool((_multiply(x, weight.t(), None) == 32).all())
    except (AttributeError, RuntimeError):
        return False


def _free() -> int:
    import psutil

    return int(psutil.virtual_memory().available)
