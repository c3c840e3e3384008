"""Matrix products by oneDNN equal torch's own, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck

from ttsi_plugins.engines.transformers import products


def frozen(bias: bool = True) -> nn.Linear:
    return nn.Linear(24, 40, bias=bias).requires_grad_(False)


@pytest.mark.parametrize("room", [True, False], ids=["packed", "as it lies"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (4, 2), (9, 1), (2, 40)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_gives_what_it_gave(
    shape: tuple[int, int], bias: bool, room: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not room:
        monkeypatch.setattr(products, "_free", lambda: 0)
    layer, x = frozen(bias), torch.randn(*shape, 24)
    expected = layer(x)
    weights = products.quickened([layer])
    assert weights[layer].is_mkldnn is room
    products.quicken(weights)
    assert "forward" in layer.__dict__
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer(x.flatten(0, 1)), expected.flatten(0, 1))
    # Columns of something wider, as a model's slices are.
    wide = torch.randn(*shape, 30)
    torch.testing.assert_close(layer(wide[..., 3:27]), layer(wide[..., 3:27].contiguous()))
    products.restore(weights)
    assert "forward" not in layer.__dict__


def test_a_gradient_is_that_of_the_layer() -> None:
    layer = frozen()
    x, gradient = torch.randn(2, 7, 24, requires_grad=True), torch.randn(2, 7, 40)
    (expected,) = torch.autograd.grad(layer(x), x, gradient)
    products.quicken(products.quickened([layer]))
    (found,) = torch.autograd.grad(layer(x), x, gradient)
    torch.testing.assert_close(found, expected)

    def wide(x: Tensor) -> Tensor:
        return layer(x.float()).double()

    assert gradcheck(wide, (x.detach().double().requires_grad_(),), eps=1e-2, atol=1e-3)


def test_layers_that_would_lose_are_left_alone() -> None:
    class Own(nn.Linear):
        """A layer with its own forward method."""

    learning, half, own = nn.Linear(4, 4), frozen().half(), Own(4, 4).requires_grad_(False)
    assert products.quickened([learning, half, own, nn.Embedding(3, 4)]) == {}
