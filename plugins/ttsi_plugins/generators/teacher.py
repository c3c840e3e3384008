"""G, TT-D: a stronger model writes the training examples (the paper's distillation variant).

It gets what the model itself would get under `self`: the task's instruction and input, never a
label. Its outputs must satisfy the same contract. It is asked over HTTP, through the `openai`
client (extra `teacher`), at any OpenAI-compatible endpoint. Its guide is docs/teacher.md.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from ttsi import (
    Completion,
    Engine,
    EngineCapability,
    EngineError,
    Example,
    Message,
    MissingAsset,
    Task,
    TtsiError,
    asked_outside,
    charge,
    draw_seed,
    option,
)
from ttsi.assets import cache_root
from ttsi_plugins.generators._answers import Answer, Answers
from ttsi_plugins.generators._asking import Asks
from ttsi_plugins.generators._contract import (
    Unfit,
    accept,
    answer_of,
    answer_schema,
    distinct,
    example_schema,
)
from ttsi_plugins.generators._endpoint import Endpoint, Server, not_a_chat, run
from ttsi_plugins.generators._keys import OPENAI, how_to_set, key_for, plain_address


@dataclass
class Drawn:
    """One example, None if all attempts were invalid, or the error; and the answers received.

    `rejected`: the texts that are no example, and why.
    """

    made: Example | TtsiError | None = None
    answers: list[Answer] = field(default_factory=list)
    rejected: list[tuple[str, Unfit]] = field(default_factory=list)


@dataclass(frozen=True)
class TeacherGenerator(Asks):
    """A stronger model writes the examples, at any OpenAI-compatible endpoint.

    It is asked for up to `attempts` outputs per example; the first valid one is kept.

    Making one raises MissingAsset (no `openai`, no usable key) or UsageError (no plain URL,
    a template that lacks a place).
    """

    needs: ClassVar[frozenset[EngineCapability]] = frozenset()

    model: str = option("gpt-5-mini", "The teacher, by its name at the endpoint.", minLength=1)
    base_url: str | None = option(
        None,
        "The endpoint, usually ending in /v1; null is OpenAI's own. It gets the key that the user "
        "has configured for it, and no other.",
        pattern="^https?://.",
    )
    samples: int = option(1, "K: how many examples to make for an input.", minimum=1, maximum=64)
    attempts: int = option(
        5, "How many outputs to ask for an example at most.", minimum=1, maximum=64
    )
    at_once: int = option(
        1,
        "How many attempts are asked for together. Changes the speed and the cost, and not the "
        "result: the first valid one in order is kept, and all are paid for.",
        minimum=1,
        maximum=64,
    )
    format: Literal["free", "json"] = option(
        "free", "Free text, or response_format with the JSON Schema of a valid example."
    )
    max_calls: int = option(4, "Most calls in an example under format json.", minimum=1)
    concurrency: int = option(8, "Most requests at a time.", minimum=1, maximum=256)
    timeout: float = option(
        120.0, "Seconds without a byte after which a request is tried again.", exclusiveMinimum=0
    )
    retries: int = option(
        4, "How often a request is tried again on 429, 5xx, time-out or cut.", minimum=0, maximum=20
    )
    max_tokens: int | None = option(
        4096, "Length at which an output is cut, reasoning included; null is not sent.", minimum=1
    )
    max_tokens_name: Literal["max_completion_tokens", "max_tokens"] = option(
        "max_completion_tokens", "What the endpoint calls it; older servers say max_tokens."
    )
    temperature: float | None = option(
        None, "Sampling temperature; null is not sent: gpt-5 models refuse it.", minimum=0
    )
    send_seed: bool = option(True, "Send each draw's seed, for endpoints that keep to it.")
    extra_body: dict[str, Any] = option(
        {},
        "More of the request's body, as it stands: top_k, reasoning_effort, ...",
        propertyNames={"not": {"enum": ["messages", "model", "n", "stream"]}},
    )
    usd_per_million_prompt_tokens: float | None = option(
        None, "Price of what is read; null: unknown, and no cost is reported.", minimum=0
    )
    usd_per_million_completion_tokens: float | None = option(
        None, "Price of what is written; null: unknown, and no cost is reported.", minimum=0
    )
    cache: bool = option(True, "Keep answers on disk, so that none is paid for twice.")

    _answers: Answers = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if importlib.util.find_spec("openai") is None:
            what = "The generator teacher needs the package openai, which is not installed."
            raise MissingAsset(what, where="generator", cure="pip install 'ttsi[teacher]'")
        self._server()
        folder = cache_root() / "teacher" if self.cache else None
        object.__setattr__(self, "_answers", Answers(folder))

    def generate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[list[Example]]:
        """Return each task's examples.

        A failure is raised after all requests of the wave, so that paid answers are kept.
        """
        for task in tasks:
            asked_outside(self._messages(task))
        drawn = run(self._wave(tasks, engine, seed))
        for task, some in zip(tasks, drawn, strict=True):
            self._charge(task, [answer for each in some for answer in each.answers])
            for text, unfit in (pair for each in some for pair in each.rejected):
                unfit.tell(task, text)
        failures = [
            each.made for some in drawn for each in some if isinstance(each.made, TtsiError)
        ]
        ending = [failure for failure in failures if not isinstance(failure, EngineError)]
        if failures:
            raise (ending or failures)[0]
        return [
            distinct(task, (each.made for each in some if isinstance(each.made, Example)))
            for task, some in zip(tasks, drawn, strict=True)
        ]

    def answers(self, tasks: Sequence[Task], seed: int) -> list[Completion | EngineError]:
        """Return the teacher's own answer to each task, for `ttsi judge`.

        A request that failed for good costs its task only. Raises TtsiError where every further one
        would fail, too.
        """
        outcomes = run(self._asked(tasks, seed))
        found: list[Completion | EngineError] = []
        for task, outcome in zip(tasks, outcomes, strict=True):
            if isinstance(outcome, Answer):
                self._charge(task, [outcome])
                found.append(self._completion(task, outcome))
            elif isinstance(outcome, EngineError):
                found.append(outcome)
            else:
                raise outcome
        return found

    async def _asked(self, tasks: Sequence[Task], seed: int) -> list[Answer | TtsiError]:
        async with Endpoint(self._server(), self._answers) as endpoint:
            draws = [draw_seed(seed, task.id, "judge", 0) % 2**31 for task in tasks]
            asked = (
                endpoint.ask(
                    self._request(_in_text(task).messages, answer_schema(task, self.max_calls), d),
                    d,
                )
                for task, d in zip(tasks, draws, strict=True)
            )
            return await asyncio.gather(*asked)

    def _completion(self, task: Task, answer: Answer) -> Completion | EngineError:
        if not answer.sound:
            return not_a_chat(self._server(), 1)
        read = answer_of(task, answer.text, as_json=self.format == "json")
        tokens = answer.prompt_tokens, answer.completion_tokens
        return Completion(answer.text, read, *tokens, cut=answer.cut)

    async def _wave(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[list[Drawn]]:
        done = 0

        async def drawn(endpoint: Endpoint, task: Task) -> list[Drawn]:
            nonlocal done
            each = (self._draw(endpoint, task, k, seed) for k in range(self.samples))
            some = await asyncio.gather(*each)
            done += 1
            if engine.on_progress is not None:
                engine.on_progress(done, len(tasks))
            return some

        async with Endpoint(self._server(), self._answers) as endpoint:
            return await asyncio.gather(*(drawn(endpoint, task) for task in tasks))

    async def _draw(self, endpoint: Endpoint, task: Task, k: int, seed: int) -> Drawn:
        drawn = Drawn()
        for first in range(0, self.attempts, self.at_once):
            attempts = range(first, min(first + self.at_once, self.attempts))
            draws = [draw_seed(seed, task.id, f"generate/{k}", a) % 2**31 for a in attempts]
            outcomes = await asyncio.gather(
                *(endpoint.ask(self._body(task, draw), draw) for draw in draws)
            )
            drawn.answers += [outcome for outcome in outcomes if isinstance(outcome, Answer)]
            drawn.made = next(_judged(task, k, attempts, outcomes, drawn.rejected), None)
            if drawn.made is not None:
                return drawn
        if not any(answer.sound for answer in drawn.answers):
            drawn.made = not_a_chat(endpoint.server, self.attempts)
        return drawn

    def _messages(self, task: Task) -> tuple[Message, ...]:
        """Return what the teacher is asked. It is another model: the tools stand in the text."""
        return self.asking(_in_text(task)).messages

    def _body(self, task: Task, draw: int) -> dict[str, Any]:
        return self._request(self._messages(task), example_schema(task, self.max_calls), draw)

    def _request(
        self, messages: Sequence[Message], schema: Mapping[str, Any], draw: int
    ) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [
                {"role": message.role, "content": message.content} for message in messages
            ],
        }
        if self.max_tokens is not None:
            body[self.max_tokens_name] = self.max_tokens
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.send_seed:
            body["seed"] = draw
        if self.format == "json":
            named = {"name": "example", "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        return body | self.extra_body

    def _charge(self, task: Task, answers: Sequence[Answer]) -> None:
        read = sum(answer.prompt_tokens for answer in answers)
        written = sum(answer.completion_tokens for answer in answers)
        prices = self.usd_per_million_prompt_tokens, self.usd_per_million_completion_tokens
        usd = 0.0
        if prices[0] is not None and prices[1] is not None:
            usd = (read * prices[0] + written * prices[1]) / 1e6
        charge(task.id, prompt_tokens=read, completion_tokens=written, usd=usd)

    def _server(self) -> Server:
        address = plain_address(self.base_url or OPENAI, "generator.base_url")
        key = key_for(address)
        if key is None and self.base_url is None:
            raise MissingAsset(
                "The teacher's key is missing: you have configured none for its endpoint.",
                where=str(address),
                cure=f"{how_to_set(address)} Or set base_url to an endpoint without keys.",
            )
        return Server(address, key, self.concurrency, self.timeout, self.retries)


def _in_text(task: Task) -> Task:
    """Return the task as another model is asked it: the tools stand in the text."""
    return replace(task, bare=None)


def _judged(
    task: Task,
    k: int,
    attempts: Sequence[int],
    outcomes: Sequence[Answer | TtsiError],
    rejected: list[tuple[str, Unfit]],
) -> Iterator[Example | TtsiError]:
    """Yield the failures and the valid examples of these attempts, in order.

    What is neither is added to `rejected`.
    """
    for attempt, outcome in zip(attempts, outcomes, strict=True):
        if not isinstance(outcome, Answer):
            yield outcome
            continue
        found = accept(task, k, attempt, outcome.text, cut=outcome.cut)
        if isinstance(found, Example):
            yield found
        else:
            rejected.append((outcome.text, found))
