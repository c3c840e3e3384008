"""The choice of a model's mode: the engine's own passes if they are right for it, else native."""

from __future__ import annotations

from typing import Any

from ttsi import EngineError

from . import proof, support
from .bank import Bank
from .native import NativeNetwork
from .passes import Network


def chosen(model: Any, name: str) -> tuple[Network | NativeNetwork, Bank, str]:
    """Return the model with its passes, its adapters, and why the mode is native, "" if it is fast.

    Raises EngineError if neither mode computes what the model's own forward pass does.
    """
    try:
        support.check(model)
        return *fast(model, name), ""
    except EngineError as error:
        why = error.what
    return *native(model, name), why


def fast(model: Any, name: str) -> tuple[Network, Bank]:
    """Return the model with the engine's passes. Raises EngineError if they compute otherwise."""
    network = bank = None
    try:
        network = Network(model)
        bank = Bank(model, name)
        proof.prove(network, bank)
    except Exception as error:
        # The other mode needs the model as it was.
        _undo(network, bank)
        if isinstance(error, EngineError):
            raise
        raise support.unsupported(model, support.failing(error)) from None
    return network, bank


def native(model: Any, name: str) -> tuple[NativeNetwork, Bank]:
    """Return the model with transformers' passes. Raises EngineError if it is not causal."""
    network = bank = None
    try:
        network = NativeNetwork(model)
        bank = Bank(model, name)
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
