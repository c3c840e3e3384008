"""Products of few rows by columns are the plain ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ttsi_plugins.engines.transformers import products


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (4, 2), (8, 1), (9, 1), (2, 40)])
@pytest.mark.parametrize("bias", [True, False])
def test_few_rows_are_as_many(shape: tuple[int, int], bias: bool) -> None:
    layer = nn.Linear(24, 40, bias=bias)
    x = torch.randn(*shape, 24)
    with torch.no_grad():
        expected = layer(x)
        products.quicken([layer])
        found = layer(x)
        flat = layer(x.flatten(0, 1))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(flat, expected.flatten(0, 1))
    assert found.is_contiguous()
    assert flat.is_contiguous()
    products.restore([layer])
    assert "forward" not in layer.__dict__


def test_a_gradient_goes_the_plain_way() -> None:
    layer = nn.Linear(6, 5).requires_grad_(False)
    products.quicken([layer])
    x = torch.randn(2, 6, requires_grad=True)
    (slope,) = torch.autograd.grad(layer(x).sum(), x)
    torch.testing.assert_close(slope, layer.weight.sum(0).expand(2, -1))
