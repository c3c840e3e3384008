"""The routes of the endpoint."""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ttsi.serving import answers
from ttsi.serving.chats import Chat, read_chat
from ttsi.serving.feedback import Answers, read_feedback
from ttsi.serving.fields import body_of
from ttsi.serving.logs import Log
from ttsi.serving.metrics import Metrics
from ttsi.serving.refusals import Refusal, bad
from ttsi.serving.served import Served
from ttsi.serving.streams import event_stream
from ttsi.serving.texts import Texts, read_texts
from ttsi.serving.tickets import Outcome, Ticket
from ttsi.serving.waves import Waves
from ttsi.types import JSON

DEADLINE = "X-TTSI-Deadline"
_LEFT = 499  # as others log a client that has closed its connection
_READERS = 4
_SOON = {"Retry-After": "1"}
Handler = Callable[[Request], Awaitable[Response]]
_Read = TypeVar("_Read")


@dataclass
class Desk:
    """What the routes share: the queue, what is served, and where answers are kept.

    With `hosts` requests have to be for one of them: no page of another site can ask through a name
    that it has made to lead here.
    """

    waves: Waves
    served: Served
    metrics: Metrics
    identity: dict[str, JSON]
    key: str | None = None
    hosts: frozenset[str] | None = None
    deadline: float | None = None
    journal: Log | None = None
    rows: Log | None = None
    created: int = 0

    def __post_init__(self) -> None:
        self.answers = Answers(self.served.limits.kept)
        self._readers, self._arriving = CapacityLimiter(_READERS), 0
        self.fingerprint = str(self.identity.get("weights_digest", ""))[:23]

    # ------------------------------------------------------------ routes

    async def chat(self, request: Request) -> Response:
        asked, data = await self._read(request, read_chat)
        tickets = [
            Ticket(task, asked.adapts, _future(), spoken)
            for task, spoken in zip(asked.tasks, asked.spoken, strict=True)
        ]
        id = f"chatcmpl-{secrets.token_hex(12)}"
        return await self._answered(request, id, asked, tickets, data)

    async def texts(self, request: Request) -> Response:
        asked, data = await self._read(request, read_texts)
        tickets = [Ticket(task, False, _future(), plain=True) for task in asked.tasks]
        id = f"cmpl-{secrets.token_hex(12)}"
        return await self._answered(request, id, asked, tickets, data)

    async def feedback(self, request: Request) -> Response:
        told, _ = await self._read(request, partial(read_feedback, answers=self.answers))
        kept = told.row is not None and self.rows is not None
        if told.row is not None and self.rows is not None:
            with self.answers.labelling(told.id):
                await self.rows.append(told.row)
        self.metrics.feedback(told.correct)
        return JSONResponse({"object": "feedback", "id": told.id, "kept": kept})

    async def models(self, request: Request) -> Response:
        listed = [self._model(name) for name in self.served.models]
        return JSONResponse({"object": "list", "data": listed})

    async def model(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self.served.models:
            told = f"There is no model {name!r:.100}."
            raise Refusal(404, told, param="model", code="model_not_found")
        return JSONResponse(self._model(name))

    async def health(self, request: Request) -> Response:
        if self.waves.broken is not None:
            raise Refusal(503, f"The model can no longer be used: {self.waves.broken}")
        told = {"status": "ok", "waiting": self.waves.waiting, "model": self.served.name}
        return JSONResponse({**told, "engine": self.identity})

    async def metered(self, request: Request) -> Response:
        return Response(self.metrics.text(), media_type=self.metrics.content_type)

    async def openapi(self, request: Request) -> Response:
        document = json.loads(files("ttsi").joinpath("schemas/openapi.json").read_bytes())
        for body in ("Chat", "Texts"):
            known = document["components"]["schemas"][body]["properties"]["model"]
            known["enum"] = list(self.served.models)
        return JSONResponse(document)

    # ------------------------------------------------------------ requests

    async def _read(
        self, request: Request, read: Callable[[dict[str, Any], Served], _Read]
    ) -> tuple[_Read, bytes]:
        """Return what `read` makes of the object in a request's body, and the body's bytes.

        Raises Refusal. Few bodies are read at the same time: while they are, their objects may take
        a hundred times the memory of the bytes.
        """
        data = await self._body(request)

        def work() -> _Read:
            return read(body_of(data), self.served)

        return await to_thread.run_sync(work, limiter=self._readers), data

    async def _body(self, request: Request) -> bytes:
        """Return a request's body. Raises Refusal."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refusal(415, "The body has to be of the type application/json.")
        limits, read = self.served.limits, bytearray()
        too_large = Refusal(413, f"A body has {limits.body_bytes} bytes at most.")
        if int(request.headers.get("content-length", 0)) > limits.body_bytes:
            raise too_large
        try:
            async with asyncio.timeout(limits.body_seconds):
                async for chunk in request.stream():
                    read += chunk
                    self._arriving += len(chunk)
                    if len(read) > limits.body_bytes:
                        raise too_large
                    if self._arriving > limits.arriving_bytes:
                        raise Refusal(429, "Too much is sent at once.", headers=_SOON)
        except TimeoutError:
            raise Refusal(408, "The body took too long.", headers={"Connection": "close"}) from None
        finally:
            self._arriving -= len(read)
        return bytes(read)

    def _deadline(self, request: Request) -> float | None:
        given = request.headers.get(DEADLINE)
        if given is None:
            return self.deadline
        try:
            seconds = float(given)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < 1e6:
            raise bad(DEADLINE, f"{DEADLINE} is a number of seconds.")
        return seconds

    # ------------------------------------------------------------ answers

    async def _answered(
        self,
        request: Request,
        id: str,
        asked: Chat | Texts,
        tickets: list[Ticket],
        data: bytes,
    ) -> Response:
        self.waves.submit(tickets, self._deadline(request))
        created, chat = int(time.time()), isinstance(asked, Chat)
        head = {"id": id, "created": created, "model": asked.model}

        async def ended(outcomes: Sequence[Outcome]) -> None:
            await self._keep(id, created, asked, data, outcomes)

        if asked.stream:
            kind = "chat.completion.chunk" if chat else "text_completion"
            return event_stream(
                {**head, "object": kind, "system_fingerprint": self.fingerprint},
                tickets,
                chat=chat,
                include_usage=asked.include_usage,
                ended=ended,
                left=lambda: self.waves.leave(tickets),
            )
        outcomes = await self._waited(request, tickets)
        await ended(outcomes)
        make = answers.chat_completion if chat else answers.text_completion
        made = make(id, created, asked.model, outcomes, self.fingerprint)
        return JSONResponse(made, headers=answers.headers_of(outcomes))

    async def _waited(self, request: Request, tickets: Sequence[Ticket]) -> list[Outcome]:
        """Return what became of the tickets. Raises ClientDisconnect if nobody waits for them."""
        gone = asyncio.ensure_future(_disconnected(request))
        whole = asyncio.gather(*(ticket.future for ticket in tickets))
        gone.add_done_callback(lambda _: whole.cancel())
        try:
            return await whole
        except asyncio.CancelledError:
            if gone.done():
                raise ClientDisconnect from None
            raise
        finally:
            gone.cancel()
            self.waves.leave(tickets)

    async def _keep(
        self,
        id: str,
        created: int,
        asked: Chat | Texts,
        data: bytes,
        outcomes: Sequence[Outcome],
    ) -> None:
        """Count answers, keep what feedback may be given to, and write the journal."""
        for outcome in outcomes:
            self.metrics.answer(outcome)
        if isinstance(asked, Chat):
            self.answers.keep(id, asked.row, outcomes[0])
        if self.journal is not None:
            told = [{"text": each.completion.text, **answers.receipt(each)} for each in outcomes]
            line = {"id": id, "created": created, "model": asked.model, "answers": told}
            body = await to_thread.run_sync(json.loads, data, limiter=self._readers)
            await self.journal.append({**line, "request": body})

    def _model(self, name: str) -> dict[str, Any]:
        about = {"id": name, "object": "model", "created": self.created, "owned_by": "ttsi"}
        return {**about, "adapts": name == self.served.name}

    # ------------------------------------------------------------ around the routes

    def admitted(self, handler: Handler, *, open: bool = False) -> Handler:
        """Return the handler for those who have the key, if there is one; its requests count."""

        async def handle(request: Request) -> Response:
            began, status, route = time.monotonic(), 500, request.scope["route"].path
            try:
                if not open:
                    self._check_caller(request)
                response = await handler(request)
                status = response.status_code
            except Refusal as refusal:
                status = refusal.status
                raise
            except ClientDisconnect:
                status = _LEFT
                return Response(status_code=_LEFT)
            finally:
                self.metrics.request(route, status, time.monotonic() - began)
            return response

        return handle

    def _check_caller(self, request: Request) -> None:
        """Raise Refusal for those without the key, or if there is none, for other sites' pages."""
        if self.hosts is not None and request.url.hostname not in self.hosts:
            told = "This server is for this machine: ask it at localhost."
            raise Refusal(403, told, code="forbidden_host")
        if self.key is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), self.key.encode())
        if scheme.lower() != "bearer" or not right:
            told = "This server wants its key: Authorization: Bearer KEY."
            raise Refusal(401, told, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def application(desk: Desk) -> Starlette:
    """Return the application."""
    routed = desk.admitted
    return Starlette(
        routes=[
            Route("/v1/chat/completions", routed(desk.chat), methods=["POST"]),
            Route("/v1/completions", routed(desk.texts), methods=["POST"]),
            Route("/v1/feedback", routed(desk.feedback), methods=["POST"]),
            Route("/v1/models", routed(desk.models)),
            Route("/v1/models/{name:path}", routed(desk.model)),
            Route("/health", routed(desk.health, open=True)),
            Route("/metrics", routed(desk.metered)),
            Route("/openapi.json", routed(desk.openapi, open=True)),
        ],
        exception_handlers={
            Refusal: _refused,
            HTTPException: _no_route,
            Exception: _failed,
        },
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return JSONResponse(error.body(), error.status, error.headers)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    refusal = Refusal(error.status_code, f"{error.detail}: {request.url.path}"[:200])
    return JSONResponse(refusal.body(), error.status_code, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse(Refusal(500, "The server failed; its log says how.").body(), 500)


async def _disconnected(request: Request) -> None:
    """Return when the client has closed its connection; the body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _future() -> asyncio.Future[Outcome]:
    return asyncio.get_running_loop().create_future()
