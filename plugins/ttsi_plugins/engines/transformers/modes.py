"""How a model is run: by the engine's own passes where these are right for it, else natively."""

from __future__ import annotations

from typing import Any

from ttsi import EngineError

from . import proof, support
from .bank import Bank
from .native import NativeNetwork
from .passes import Network


def chosen(model: Any, name: str) -> tuple[Network | NativeNetwork, Bank, str]:
    """The model with its passes, its adapters, and why the passes are native; "": they are not.

    Raises EngineError where neither mode computes what the model's own forward pass does.
    """
    try:
        support.check(model)
        return *fast(model, name), ""
    except EngineError as error:
        why = error.what
    return *native(model, name), why


def fast(model: Any, name: str) -> tuple[Network, Bank]:
    """The model with the engine's passes. Raises EngineError where they are not its own."""
    network = bank = None
    try:
        network, bank = Network(model), Bank(model, name)
        proof.prove(network, bank)
    except Exception as error:
        # The model must be as it was for whoever runs it otherwise.
        _undo(network, bank)
        if isinstance(error, EngineError):
            raise
        raise support.unsupported(model, support.failing(error)) from None
    return network, bank


def native(model: Any, name: str) -> tuple[NativeNetwork, Bank]:
    """The model with transformers' passes. Raises EngineError where it is not causal, or fails."""
    network = bank = None
    try:
        network, bank = NativeNetwork(model), Bank(model, name)
        proof.prove_native(network, bank)
    except Exception as error:
        _undo(network, bank)
        if isinstance(error, EngineError):
            raise
        raise support.unsupported(model, support.failing(error)) from None
    return network, bank


def _undo(network: Network | NativeNetwork | None, bank: Bank | None) -> None:
    for part in (bank, network):
        if part is not None:
            part.close()
