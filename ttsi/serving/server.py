"""Run the endpoint: its socket, its signals, its beginning and end."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ttsi.errors import RunError, UsageError
from ttsi.serving.app import Desk, application
from ttsi.serving.logs import Log
from ttsi.serving.metrics import Metrics
from ttsi.serving.served import Served
from ttsi.serving.waves import Waves
from ttsi.spec import Spec

_HEAD_SECONDS = 20
_CONNECTIONS = 1000
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Settings:
    """How to serve. `window` and `deadline` are seconds; `drain`: seconds to end what has begun."""

    host: str = "127.0.0.1"
    port: int = 8000
    wave: int = 16
    window: float = 0.02
    queue: int = 64
    deadline: float | None = None
    journal: Path | None = None
    feedback: Path | None = None
    key: str | None = None
    drain: int = 120


Ready: TypeAlias = Callable[[str, Callable[[], None]], None]
"""Is told the address once it is served, and given what ends the server, from any thread."""


def serve(spec: Spec, served: Served, settings: Settings, ready: Ready) -> None:
    """Serve until SIGTERM or ctrl-C, and then end what has begun.

    Raises UsageError if the address cannot be had, and RunError if the model failed for good, or
    its weights have changed.
    """
    with _bound(settings.host, settings.port) as listener:
        asyncio.run(_serve(spec, served, settings, listener, ready))


async def _serve(
    spec: Spec,
    served: Served,
    settings: Settings,
    listener: socket.socket,
    ready: Ready,
) -> None:
    with ExitStack() as opened:
        journal, rows = (
            opened.enter_context(Log(path)) if path else None
            for path in (settings.journal, settings.feedback)
        )
        waves = Waves(spec, wave=settings.wave, window=settings.window, most_waiting=settings.queue)
        identity = await waves.load()
        metrics = Metrics(lambda: float(waves.waiting))
        waves.on_wave, waves.on_outcome = metrics.wave, metrics.spent
        desk = Desk(
            waves,
            served,
            metrics,
            identity,
            key=settings.key,
            hosts=LOCAL if settings.key is None and is_local(settings.host) else None,
            deadline=settings.deadline,
            journal=journal,
            rows=rows,
            created=int(time.time()),
        )
        server = _Server(
            uvicorn.Config(
                application(desk),
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                limit_concurrency=_CONNECTIONS,
                timeout_graceful_shutdown=settings.drain,
            ),
            lambda: ready(_address(listener), server.end),
        )
        work = asyncio.create_task(waves.run())
        work.add_done_callback(lambda _: server.end())
        await server.serve(sockets=[listener])
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        if waves.broken is not None:
            raise RunError(
                f"The model can no longer be used: {waves.broken}",
                where=f"ttsi serve, {served.name}",
                cure="Start the server again; if this repeats, look at the device.",
            ) from waves.broken
        await waves.close()


def is_local(host: str) -> bool:
    """Return whether only this machine reaches the host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Server(uvicorn.Server):
    """A server that ends what has begun at the first signal, and at once at the second."""

    def __init__(self, config: uvicorn.Config, begun: Callable[[], None]) -> None:
        super().__init__(config)
        self._begun = begun

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._begun()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True

    def end(self) -> None:
        self.should_exit = True


class _Protocol(H11Protocol):
    """HTTP whose heads have to arrive in time: a client that dribbles holds no connection."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._timer is None:
            self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _begin(self) -> None:
        self._timer = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket that has the address. Raises UsageError if it cannot be had."""
    made: socket.socket | None = None
    try:
        found: Any = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(found[0], found[1])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(found[4])
    except (OSError, OverflowError) as error:
        if made is not None:
            made.close()
        raise UsageError(
            f"The address cannot be had: {error}.",
            where=f"--host {host} --port {port}",
            cure="Choose another port, or 0 for one that is free.",
        ) from error
    return made


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
