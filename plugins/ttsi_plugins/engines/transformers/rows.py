"""One text that is being written: what it has, what it draws next, and when it ends."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ttsi import Adapter, Request

from .drafts import Drafter
from .grammar import Matcher
from .thoughts import Thought


@dataclass(eq=False)
class Row:
    """One request under way. Its adapter, if any, acts from prompt token `start` on."""

    request: Request
    prompt: list[int]
    matcher: Matcher | None = None
    start: int = 0
    thought: Thought | None = None
    drafter: Drafter | None = None
    # Whether the tokens written so far are the last: nobody waits for more, or wants more.
    over: Callable[[list[int], int], bool] | None = None
    text: list[int] = field(default_factory=list)
    # Of each token that was drawn, the one that ended the text included: its log-probability in
    # nats, and whether nothing else could have been written.
    logprobs: list[float] = field(default_factory=list)
    forced: list[bool] = field(default_factory=list)
    finish: str = ""

    def __post_init__(self) -> None:
        self._random = random.Random(self.request.seed)
        self._uniforms: list[float] = []
        # The token that the next step reads: the last one drawn, at first the prompt's last.
        self.token = self.prompt[-1]
        # The guess that the step reads behind it.
        self.draft: list[int] = []
        # The thought that is not closed yet, and the tokens that were written up to its end.
        self._open, self._before = self.thought, 0
        # Tokens to write next, whatever the model would draw.
        self._closing: deque[int] = deque()

    @property
    def room(self) -> int:
        """The most tokens that the row can hold."""
        return len(self.prompt) + self.most

    @property
    def most(self) -> int:
        """The most tokens that the row can write."""
        thought = 0 if self.thought is None else self.thought.room
        return thought + self.request.sampling.max_tokens

    @property
    def drawn(self) -> int:
        return len(self.logprobs)

    @property
    def logprob(self) -> float:
        return sum(self.logprobs)

    @property
    def grammar(self) -> Matcher | None:
        """The grammar that holds for the next token: none in a thought."""
        return None if self._open is not None else self.matcher

    @property
    def adapter(self) -> Adapter | None:
        return self.request.adapter

    def guess(self, room: int) -> None:
        """Set `draft`, of `room` tokens at most. Thoughts, whose end nobody knows, have none."""
        self.draft = []
        if self.drafter is not None and self._open is None:
            left = self.request.sampling.max_tokens - (self.drawn - self._before)
            room = min(room, left - 1)
            self.draft = self.drafter.guess(self.text, room, self.matcher)

    def seen(self) -> list[Tensor]:
        """Return the tokens before each that the step may draw."""
        ids = torch.tensor([*self.prompt, *self.text, *self.draft])
        first = len(ids) - len(self.draft)
        return [ids[: first + at] for at in range(len(self.draft) + 1)]

    def uniforms(self) -> list[float]:
        """Return the number in [0, 1) of each token that the step may draw; a seed's n-th is the
        n-th token's, whatever was guessed before."""
        end = self.drawn + len(self.draft) + 1
        if self.request.sampling.temperature > 0:
            while len(self._uniforms) < end:
                self._uniforms.append(self._random.random())
            return self._uniforms[self.drawn : end]
        return [0.0] * (len(self.draft) + 1)

    def instead(self, token: int, ends: Sequence[int]) -> int | None:
        """Return what is written where the model drew `token`; None for that token.

        A thought that is as long as it may be, or that would end the text, is closed instead.
        """
        if not self._closing:
            thought = self._open
            if thought is None or (self._before < thought.most and token not in ends):
                return None
            self._closing.extend(thought.closing)
        return self._closing.popleft()

    def take(self, token: int, logprob: float, forced: bool, ends: Sequence[int]) -> None:
        """Add `token`, as `logprobs` and `forced` have it; an end token finishes the row."""
        self.logprobs.append(logprob)
        self.forced.append(forced)
        if token in ends:
            self.finish = "stop"
            return
        if self.grammar is not None:
            self.grammar.accept(token)
        self.token = token
        self.text.append(token)
        if self._open is not None:
            self._before += 1
            if not self._closing and self._open.closes(self.text):
                self._open = None
        elif self.drawn - self._before >= self.request.sampling.max_tokens:
            self.finish = "length"
        thinking = self._open is not None
        if self.over is not None and self.over([] if thinking else self.text, self._before):
            self.finish = "length"
