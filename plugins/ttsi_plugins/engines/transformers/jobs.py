"""Training jobs as token ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from typing import NamedTuple

from ttsi import Prompt, TrainJob

from .caches import NO_PAST, Past
from .pairs import Pair, TokenJob
from .tokens import Tokens


class Text(NamedTuple):
    """A pair's ids; the adapter acts from `start` on and learns the prompt's last `taught`."""

    prompt: list[int]
    target: list[int]
    start: int
    taught: int


class Draft:
    """A job as token ids; `ready` adds how the tokens before the adapter acts are read."""

    def __init__(self, job: TrainJob, tokens: Tokens) -> None:
        self.job = job
        self._activated = job.recipe.active_from == "user_turn"
        self._tokens = tokens
        self.pairs = [self._text(*pair, learnt=job.prompt_loss > 0) for pair in job.pairs]
        self.held_out = [self._text(*pair, learnt=False) for pair in job.held_out]

    @property
    def texts(self) -> list[Text]:
        return [*self.pairs, *self.held_out]

    def ready(self, past: Callable[[Sequence[int]], Past]) -> TokenJob:
        """Return the job; `past` gives what the base model's reading of a text leaves behind.

        It is called when a pair is learnt from: the KV caches of all pairs might not fit.
        """
        job = self.job
        weights = job.weights or repeat(1.0)

        def made(text: Text, weight: float, prompt_loss: float) -> Pair:
            prompt, target, start, taught = text
            read = partial(past, prompt[:start]) if start else None
            return Pair(prompt, target, NO_PAST, start, weight, prompt_loss, taught, read)

        return TokenJob(
            job.id,
            [made(*each, job.prompt_loss) for each in zip(self.pairs, weights, strict=False)],
            job.recipe,
            job.seed,
            self._tokens.invocation if self._activated else [],
            [made(text, 1.0, 0.0) for text in self.held_out],
            job.keep == "best",
        )

    def _text(self, prompt: Prompt, target: str, *, learnt: bool) -> Text:
        ids = self._tokens.prompt(prompt)
        turn = self._tokens.user_turn(ids) if self._activated or learnt else 0
        # The token that begins the turn is the template's, and predicted by what comes before it.
        taught = len(ids) - turn - 1 if learnt else 0
        return Text(ids, self._tokens.target(target), turn if self._activated else 0, taught)
