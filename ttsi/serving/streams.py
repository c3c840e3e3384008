"""Answers as server-sent events: chunks of OpenAI's API, and errors once the first byte is sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import AppStatus

from ttsi.serving import answers
from ttsi.serving.refusals import Refusal
from ttsi.serving.tickets import Outcome, Ticket
from ttsi.serving.writing import Writing

PING_SECONDS = 10
_SEND_SECONDS = 30

# A server that is told to end sends what it has begun; uvicorn waits for that.
AppStatus.enable_automatic_graceful_drain = False


def event_stream(
    head: Mapping[str, Any],
    tickets: Sequence[Ticket],
    *,
    chat: bool,
    include_usage: bool,
    ended: Callable[[Sequence[Outcome]], Awaitable[None]],
    left: Callable[[], None],
) -> EventSourceResponse:
    """Return the response that streams the answers to `tickets`.

    `head` are the keys that all chunks have. `ended` is awaited before the last chunk, and `left`
    called if the client goes before it. Comments show that the model is still at work.
    """

    writings = [Writing(ticket) for ticket in tickets]

    async def events() -> AsyncIterator[ServerSentEvent]:
        outcomes: list[Outcome] = []
        ready: list[dict[str, Any]] = []
        try:
            for index, ticket in enumerate(tickets):
                sent = ""
                async for more in writings[index].grown():
                    if chat and not sent:
                        yield _event({**head, "choices": [_begun(index)]}, include_usage)
                    choice = _delta(index, {"content": more}) if chat else _part(index, more)
                    yield _event({**head, "choices": [choice]}, include_usage)
                    sent += more
                outcomes.append(await ticket.future)
                ready += (_chat if chat else _text)(index, outcomes[-1], sent)
                # The last one is held back for the receipts.
                for choice in ready[:-1]:
                    yield _event({**head, "choices": [choice]}, include_usage)
                ready = ready[-1:]
            await ended(outcomes)
            last = {**head, "choices": ready, "ttsi": answers.receipts(outcomes)}
            yield _event(last, include_usage)
            if include_usage:
                yield _event({**head, "choices": [], "usage": answers.usage(outcomes)}, False)
        except Refusal as refusal:
            yield _sent(json.dumps(refusal.body()))
        finally:
            left()
        yield _sent("[DONE]")

    return EventSourceResponse(
        events(),
        ping=PING_SECONDS,
        ping_message_factory=lambda: ServerSentEvent(comment="at work", sep="\n"),
        send_timeout=_SEND_SECONDS,
    )


def _event(chunk: dict[str, Any], include_usage: bool) -> ServerSentEvent:
    """Return a chunk as an event; where usage is asked for, chunks before the last have a null."""
    return _sent(json.dumps({**chunk, "usage": None} if include_usage else chunk))


def _sent(data: str) -> ServerSentEvent:
    return ServerSentEvent(data, sep="\n")


def _chat(index: int, outcome: Outcome, sent: str) -> Iterator[dict[str, Any]]:
    """Yield the choices of the chunks of one answer, whose text was `sent` so far."""
    message, told = answers.message_of(outcome), answers.chat_logprobs(outcome)
    if not sent:
        yield _begun(index, None if _calls(message) else "")
    if message.get("reasoning_content"):
        yield _delta(index, {"reasoning_content": message["reasoning_content"]})
    for at, call in enumerate(_calls(message)):
        function = call["function"]
        named = {"name": function["name"], "arguments": ""}
        begun = {"tool_calls": [{**call, "index": at, "function": named}]}
        yield _delta(index, begun, None if at else told)
        written = {"index": at, "function": {"arguments": function["arguments"]}}
        yield _delta(index, {"tool_calls": [written]})
    if content := _rest(message["content"] or "", sent):
        yield _delta(index, {"content": content}, told)
    yield {**_delta(index, {}), "finish_reason": answers.finish_of(message, outcome)}


def _text(index: int, outcome: Outcome, sent: str) -> Iterator[dict[str, Any]]:
    choice = answers.text_choice(index, outcome)
    yield {**choice, "text": _rest(choice["text"], sent)}


def _rest(text: str, sent: str) -> str:
    """Return what has not been sent of a text. Raises Refusal if another beginning was sent."""
    if not text.startswith(sent):
        raise Refusal(500, "The answer was begun anew, and is not what was sent of it.")
    return text[len(sent) :]


def _begun(index: int, content: str | None = "") -> dict[str, Any]:
    return _delta(index, {"role": "assistant", "content": content})


def _part(index: int, text: str) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": None}


def _calls(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(message.get("tool_calls") or ())


def _delta(index: int, delta: dict[str, Any], logprobs: Any = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}
