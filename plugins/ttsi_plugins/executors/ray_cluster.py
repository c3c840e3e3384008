"""The connection to a Ray cluster, and how many workers the cluster has room for."""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import threading
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager

from ttsi import RunError

# Variables that workers of an existing cluster get. No secrets: Ray shows them to all its users.
_SHIPPED = (
    "TTSI_CACHE_DIR",
    "TTSI_DATA_DIR",
    "TTSI_LOAD_PLUGINS",
    "TTSI_OFFLINE",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "HF_ENDPOINT",
    "OMP_NUM_THREADS",
)
# Ray reads these when it is imported. Without the first, `uv run` packs up the working directory
# for the workers; without the second, Ray's remarks on dead workers go to stdout.
_SETTINGS = {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": ".*"}


_PLENTY = 1_000_000


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Connect to a cluster in the block. Raises RunError if there is none.

    It is the caller's own, that at `address` or RAY_ADDRESS, or else a new one on this machine.
    """
    with _put_back():
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        import ray

        if ray.is_initialized():
            yield
            return
        try:
            _connect(address or os.environ.get("RAY_ADDRESS") or "local")
            yield
        finally:
            ray.shutdown()


def room(workers: int, num_cpus: float, num_gpus: float) -> int:
    """Return how many of these workers the cluster can hold; each is on one machine.

    Raises RunError for none, since Ray itself would wait for a machine for ever.
    """
    wanted = _wanted(num_cpus, num_gpus)
    machines = _machines()
    if not wanted and machines:
        return workers
    rooms = [_rooms(each, wanted) for each in machines.values()]
    if not sum(rooms):
        asked = " and ".join(f"{count:g} {name}" for name, count in wanted.items()) or "nothing"
        has = [", ".join(f"{each.get(n, 0):g} {n}" for n in wanted) for each in machines.values()]
        raise RunError(
            f"A worker asks for {asked}; no machine of the cluster has that.",
            where=f"executor; the machines: {'; '.join(has) or 'none is left'}",
            cure="Ask for less (num_cpus, num_gpus), or add a machine that has it.",
        )
    return min(workers, sum(rooms))


def machine_for_one(
    num_cpus: float, num_gpus: float, taken: Mapping[str, int], without: Container[str]
) -> str | None:
    """Return the machine with most room for one more worker, or None if none has room.

    `taken` counts our workers by machine; machines in `without` are not chosen.
    """
    wanted = _wanted(num_cpus, num_gpus)
    rooms = {
        name: (_rooms(each, wanted) if wanted else _PLENTY) - taken.get(name, 0)
        for name, each in _machines(without).items()
    }
    best = max(rooms, key=lambda name: rooms[name], default=None)
    return best if best is not None and rooms[best] > 0 else None


def _wanted(num_cpus: float, num_gpus: float) -> dict[str, float]:
    return {name: count for name, count in (("CPU", num_cpus), ("GPU", num_gpus)) if count}


def _machines(without: Container[str] = ()) -> dict[str, Mapping[str, float]]:
    """Return the resources of all machines that are alive, by Ray's id."""
    import ray

    return {
        node["NodeID"]: node["Resources"]
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in without
    }


def _rooms(machine: Mapping[str, float], wanted: Mapping[str, float]) -> int:
    # A thousandth more, since shares such as 0.1 do not add up to 1 in floats.
    return min(int(machine.get(name, 0) / count + 1e-3) for name, count in wanted.items())


@contextmanager
def _put_back() -> Iterator[None]:
    """Restore what Ray changes: environment variables, the handler of SIGTERM, and `random`."""
    environment, draws = dict(os.environ), random.getstate()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        random.setstate(draws)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def in_short(error: Exception) -> str:
    """Return an error's message on one line, cut short: Ray's fill a screen each."""
    return " ".join(str(error).split())[:300]


def _connect(address: str) -> None:
    import ray

    if "://" in address:
        raise RunError(
            "Ray's client protocol cannot stream records.",
            where=f"Ray's address {address!r}",
            cure="Start ttsi on a machine of the cluster, with the address auto.",
        )
    # A new cluster has the environment of this process anyway.
    told = {name: os.environ[name] for name in _SHIPPED if name in os.environ}
    try:
        _check_reachable(address)
        ray.init(
            address=address,
            runtime_env={} if address == "local" else {"env_vars": told},
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise RunError(
            f"There is no Ray cluster to be had: {in_short(error)}",
            where=f"Ray's address {address!r}",
            cure="Start one with `ray start --head`, or leave address and RAY_ADDRESS out.",
        ) from error


def _check_reachable(address: str) -> None:
    """Raise OSError if nothing answers at HOST:PORT; Ray would try again for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
