"""The choice of a model's mode: the engine's own passes if they are right for it, else native."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, TypeVar

from ttsi import JSON, EngineError

from . import proof, proven, support
from .bank import Bank
from .native import NativeNetwork
from .passes import Network

Made = TypeVar("Made", Network, NativeNetwork)
Facts = Mapping[str, JSON] | None


def chosen(model: Any, name: str, facts: Facts = None) -> tuple[Network | NativeNetwork, Bank, str]:
    """Return the model with its passes, its adapters, and why the mode is native, "" if it is fast.

    With `facts` (`proven.facts`) a check that passed before on this machine is not repeated. Raises
    EngineError if neither mode computes what the model's own forward pass does.
    """
    try:
        support.check(model)
        return *fast(model, name, facts), ""
    except EngineError as error:
        why = error.what
    return *native(model, name, facts), why


def fast(model: Any, name: str, facts: Facts = None) -> tuple[Network, Bank]:
    """Return the model with the engine's passes. Raises EngineError if they compute otherwise."""
    return _proven(Network, proof.prove, model, name, facts)


def native(model: Any, name: str, facts: Facts = None) -> tuple[NativeNetwork, Bank]:
    """Return the model with transformers' passes. Raises EngineError if it is not causal."""
    return _proven(NativeNetwork, proof.prove_native, model, name, facts)


def _proven(
    make: Callable[[Any], Made],
    prove: Callable[[Made, Bank], None],
    model: Any,
    name: str,
    facts: Facts,
) -> tuple[Made, Bank]:
    """Return what `make` makes of the model, and a bank, after `prove`.

    If one of them raises, the model is as it was: the other mode needs it so.
    """
    with ExitStack() as undo:
        try:
            network = make(model)
            undo.callback(network.close)
            bank = Bank(model, name)
            undo.callback(bank.close)
            if facts is None or not proven.known(network.mode, facts):
                prove(network, bank)
        except EngineError:
            raise
        except Exception as error:
            raise support.unsupported(model, support.failing(error)) from None
        undo.pop_all()
    if facts is not None:
        proven.remember(network.mode, facts)
    return network, bank
