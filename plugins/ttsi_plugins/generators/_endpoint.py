"""An OpenAI-compatible endpoint: requests, and what their answers and failures mean.

The `openai` client sends and retries: on 408, 409, 429, 5xx, a time-out or a lost connection it
waits as `Retry-After` asks, or else 0.5 s, doubled each time up to 8 s, with jitter; if the server
asks for more than two minutes it gives up. The body of an answer is parsed here: the client accepts
bodies that are no chat completion, and raises various exceptions for a body that is not JSON.

By default the client also sends headers from the environment to any host, and follows redirects.
Here a request carries only what its endpoint may have, and follows none.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from ttsi import EngineError, MissingAsset, RunError, StorageError, TtsiError, json_digest
from ttsi.assets import offline
from ttsi_plugins.generators._answers import Answer, Answers
from ttsi_plugins.generators._keys import Address, Key, how_to_set

Made = TypeVar("Made")

_LONGEST_WAIT = 120.0
_SHOWN = 300
_NO_KEY = "none"
_HEADERS = {"host", "accept", "accept-encoding", "connection", "user-agent"}
_HEADERS |= {"content-type", "content-length"}


@dataclass(frozen=True)
class Server:
    """An endpoint's address, key and limits. `timeout`: seconds without a byte."""

    address: Address
    key: Key | None
    concurrency: int
    timeout: float
    retries: int

    @property
    def place(self) -> str:
        return str(self.address)

    @property
    def secret(self) -> str:
        """The key, or a placeholder: servers without keys ignore it."""
        return self.key.secret if self.key else _NO_KEY

    @property
    def local(self) -> bool:
        host = self.address.host.strip("[]")
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def patience(self) -> float:
        """Seconds for all tries of a request: `timeout` alone would not end a trickling answer."""
        return (self.retries + 1) * self.timeout + self.retries * _LONGEST_WAIT


class Endpoint:
    """A client with at most `server.concurrency` requests at a time, an async context manager."""

    def __init__(self, server: Server, answers: Answers) -> None:
        self.server = server
        self._answers = answers
        self._places = asyncio.Semaphore(server.concurrency)
        self._refused: TtsiError | None = None

    async def __aenter__(self) -> Self:
        import openai

        self._client = openai.AsyncOpenAI(
            api_key=self.server.secret,
            base_url=self.server.place,
            timeout=self.server.timeout,
            max_retries=self.server.retries,
            http_client=openai.DefaultAsyncHttpxClient(
                follow_redirects=False, event_hooks={"request": [self._bare]}
            ),
        )
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._client.close()

    async def _bare(self, request: Any) -> None:
        """Remove the headers that the client takes from the environment.

        OPENAI_CUSTOM_HEADERS, organisation and project belong to the endpoint of OPENAI_API_KEY.
        """
        if self.server.key is not None and self.server.key.ambient:
            return
        for name in list(request.headers):
            if name.lower() not in _HEADERS and not name.lower().startswith("x-stainless-"):
                del request.headers[name]
        request.headers["Authorization"] = f"Bearer {self.server.secret}"

    async def ask(self, body: Mapping[str, Any], draw: int) -> Answer | TtsiError:
        """Return the answer to one chat request; `draw` tells it from others with the same body.

        An error is returned, not raised, so that other answers are not lost: EngineError if this
        request failed for good, another kind if every further one would fail too.
        """
        key = json_digest([self.server.place, body, draw])
        async with self._places:
            known = self._refused or self._answers.get(key)
            if known is not None:
                return known
            outcome = await self._post(body)
        try:
            if isinstance(outcome, Answer | EngineError):
                self._answers.put(key, outcome, str(body["model"]))
                return outcome
        except StorageError as error:
            outcome = error
        self._refused = outcome
        return outcome

    async def _post(self, body: Mapping[str, Any]) -> Answer | TtsiError:
        import openai

        if offline() and not self.server.local:
            return _forbidden(self.server)
        named = {key: body[key] for key in ("model", "messages")}
        extra = {key: value for key, value in body.items() if key not in named}
        create = self._client.chat.completions.with_raw_response.create
        try:
            async with asyncio.timeout(self.server.patience):
                response = await create(**named, extra_body=extra)
        except openai.APIStatusError as error:
            return _refusal(error.status_code, error.body, self.server)
        except (openai.APIConnectionError, TimeoutError) as error:
            return _no_answer(error, self.server)
        return read(response.http_response.content)


def run(work: Coroutine[Any, Any, Made]) -> Made:
    """Return the coroutine's result, also where an event loop is running already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def read(content: bytes) -> Answer:
    """Return the answer in the body of a 200, whatever that is. A null content is an empty text."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return Answer("", sound=False)
    usage = document.get("usage")
    tokens = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    match document.get("choices"):
        case [{"message": {"content": str(text)}, **rest}, *_]:
            return Answer(text, *tokens, cut=rest.get("finish_reason") == "length")
        case [{"message": {}, **rest}, *_]:
            return Answer("", *tokens, cut=rest.get("finish_reason") == "length")
    return Answer("", *tokens, sound=False)


def _count(usage: Any, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if type(value) is int and value > 0 else 0


# ---------------------------------------------------------------- failures

_RESUMES = "Run the same command again: it resumes, and answers already paid for are kept."


def _refusal(status: int, body: object, server: Server) -> TtsiError:
    """Return the error that a status of 300 or more means, with the server's text if it helps."""
    said = _said(body, server.key)
    code = body.get("code") if isinstance(body, dict) else None
    if status == 401:
        return _unknown_key(server)
    if 300 <= status < 400:
        what = f"The teacher's endpoint redirects ({status}); ttsi follows no redirects."
        cure = 'Set "base_url" of the generator to where the API is; most end in /v1.'
        return RunError(what, where=server.place, cure=cure)
    if status == 402 or code == "insufficient_quota":
        what = f"The teacher's account has no credit left ({status})."
        return RunError(what, where=server.place, cure=f"Add credit there. {_RESUMES}")
    if status == 404:
        what = f"The teacher's endpoint knows no such model or path (404){said}."
        cure = 'Correct "model" or "base_url" of the generator; most base URLs end in /v1.'
        return RunError(what, where=server.place, cure=cure)
    if status == 403:
        what = f"The teacher's endpoint forbids this request (403){said}."
        cure = f"Use a key or a model that may answer it. {_RESUMES}"
    elif status in (408, 409, 429) or status >= 500:
        what = f"The teacher's endpoint answered {status} to {_tries(server)}{said}."
        cure = f'Lower "concurrency" or raise "retries" of the generator. {_RESUMES}'
    else:
        what = f"The teacher's endpoint rejects the request ({status}){said}."
        cure = "Leave out or correct what it names; docs/teacher.md tells who takes which option."
    return EngineError(what, where=server.place, cure=cure)


def _unknown_key(server: Server) -> RunError:
    if server.key is None:
        what = "The teacher's endpoint asks for a key (401), and you have configured none for it."
        return RunError(what, where=server.place, cure=how_to_set(server.address))
    what = "The teacher's endpoint does not accept the key (401)."
    cure = f"Put a key that is valid there into {server.key.source}."
    return RunError(what, where=server.place, cure=cure)


def _no_answer(error: Exception, server: Server) -> EngineError:
    import openai

    if isinstance(error, TimeoutError | openai.APITimeoutError):
        what = f"The teacher's endpoint did not answer {_tries(server)} in time."
        cure = f'Raise "timeout" or lower "concurrency" of the generator. {_RESUMES}'
    else:
        cause = type(error.__cause__).__name__
        what = f"The connection to the teacher's endpoint failed in {_tries(server)} ({cause})."
        cure = f'See that the server is up and "base_url" of the generator right. {_RESUMES}'
    return EngineError(what, where=server.place, cure=cure)


def _forbidden(server: Server) -> MissingAsset:
    return MissingAsset(
        "A teacher's answer is not in the cache, and TTSI_OFFLINE forbids asking for it.",
        where=server.place,
        cure="Run with TTSI_OFFLINE unset, or with a teacher on this machine.",
    )


def not_a_chat(server: Server, tries: int) -> EngineError:
    """Return the error for an example of which no attempt got a chat completion."""
    return EngineError(
        f"The teacher's endpoint answered 200, but with no chat completion, {tries} times of "
        f"{tries}.",
        where=server.place,
        cure='See that "base_url" of the generator is an API and not a page; most end in /v1.',
    )


def _tries(server: Server) -> str:
    return f"{server.retries + 1} tries" if server.retries else "1 try"


def _said(body: object, key: Key | None) -> str:
    """Return ": " and the server's message on one line, cut short, with words of the key hidden."""
    text = body
    if isinstance(body, dict):
        text = body.get("message") or body.get("detail") or body
    if not text:
        return ""
    words = " ".join(
        "[key]" if key is not None and _tells(word, key.secret) else word
        for word in str(text).split()
    )
    return ": " + (words if len(words) <= _SHOWN else words[: _SHOWN - 1] + "…").rstrip(".")


def _tells(word: str, key: str) -> bool:
    """Return whether `word` has eight characters of the key in a row: servers echo parts of it."""
    return any(key[at : at + 8] in word for at in range(max(1, len(key) - 7)))
