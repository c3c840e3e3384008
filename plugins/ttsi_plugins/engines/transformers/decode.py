"""Generation: rows with their own sampling, seed, grammar and adapter share each step of the model.

Finished rows leave and waiting ones enter. A prompt is read once, however many rows begin with it,
and what the reader has kept of it is not read again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ttsi import Adapter, EngineError, Request

from .bank import Bank
from .caches import NO_PAST, Past, Slots
from .carrying import CarryingReader
from .grammar import Matcher, allowed
from .memory import Room
from .passes import Network
from .reading import NO_TRIE, Reader, Text
from .sampling import choose, likeliest, penalised
from .thoughts import Thought

BASE = -1
"""The adapter slot of a row without one."""


@dataclass(eq=False)
class Row:
    """One request under way. Its adapter, if any, acts from prompt token `start` on."""

    request: Request
    prompt: list[int]
    matcher: Matcher | None = None
    start: int = 0
    thought: Thought | None = None
    text: list[int] = field(default_factory=list)
    logprob: float = 0.0
    drawn: int = 0
    finish: str = ""

    def __post_init__(self) -> None:
        self._generator = torch.Generator().manual_seed(self.request.seed)
        self.seen = torch.tensor(self.prompt, dtype=torch.long)
        # The token that the next step reads: the last one drawn, at first the prompt's last.
        self.token = self.prompt[-1]
        # The thought that is not closed yet, and the tokens that were written up to its end.
        self._open, self._before = self.thought, 0
        # Tokens to write next, whatever the model would draw.
        self._forced: deque[int] = deque()

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
    def grammar(self) -> Matcher | None:
        """The grammar that holds for the next token: none in a thought."""
        return None if self._open is not None else self.matcher

    @property
    def adapter(self) -> Adapter | None:
        return self.request.adapter

    def draw(self, values: Tensor, ids: Tensor, ends: Sequence[int]) -> int:
        """Draw the next token from the likeliest ones.

        A thought that is as long as it may be, or that would end the text, is closed instead.
        """
        if not self._forced:
            token = choose(values, ids, self.request.sampling, self._generator)
            thought = self._open
            if thought is None or (self._before < thought.most and token not in ends):
                return token
            self._forced.extend(thought.closing)
        return self._forced.popleft()

    def take(self, token: int, logprob: float, ends: Sequence[int]) -> None:
        """Add `token`, of log-probability `logprob` in nats; an end token finishes the row."""
        self.logprob += logprob
        self.drawn += 1
        if token in ends:
            self.finish = "stop"
            return
        if self.grammar is not None:
            self.grammar.accept(token)
        self.token = token
        self.text.append(token)
        self.seen = torch.cat([self.seen, torch.tensor([token])])
        if self._open is not None:
            self._before += 1
            if not self._forced and self._open.closes(self.text):
                self._open = None
        elif self.drawn - self._before >= self.request.sampling.max_tokens:
            self.finish = "length"


class Decoder:
    """A decoder that runs as many rows at a time as memory allows.

    `slot_bytes` is the memory for the slots of all rows and the `step_bytes` of each in a step.
    """

    def __init__(
        self,
        reader: Reader,
        bank: Bank,
        ends: Sequence[int],
        slot_bytes: int,
        step_bytes: int = 0,
    ) -> None:
        self._reader = reader
        self._network: Network = reader.network
        self._bank = bank
        self._ends = ends
        self.room = Room(slot_bytes)
        self._step_bytes = step_bytes

    def run(
        self, rows: Sequence[Row], max_rows: int, finished: Callable[[int], None] = lambda _: None
    ) -> None:
        """Decode `rows` in place, at most `max_rows` at a time.

        `finished` is called with the number of rows that have just finished.
        """
        tokens = max(row.room for row in rows)
        network = self._network
        each = tokens * network.token_bytes() + network.state_bytes + self._step_bytes
        count = min(max_rows, self.room.limit // each, len(rows))
        adapters = [row.adapter for row in rows if row.adapter is not None]
        if adapters:
            count = min(count, self._bank.fitting(adapters))
        count = max(1, count)
        with self.room.taking(count * each):
            self._run(rows, self._network.slots(count, tokens), count, finished)

    @torch.no_grad()
    def _run(
        self, rows: Sequence[Row], slots: Slots, count: int, finished: Callable[[int], None]
    ) -> None:
        waiting = deque(sorted(rows, key=lambda row: (-row.room, row.prompt)))
        active: list[Row] = []
        while waiting or active:
            while waiting and len(active) < count:
                entering = [
                    waiting.popleft() for _ in range(min(count - len(active), len(waiting)))
                ]
                for row, past in self._begin(entering, active):
                    if row.finish:
                        finished(1)
                    else:
                        slots.put(len(active), past)
                        active.append(row)
            if active:
                self._step(active, slots)
                finished(_leave(active, slots))

    def _step(self, active: list[Row], slots: Slots) -> None:
        """Run the model once and draw each row's next token."""
        device = self._network.device
        ids = torch.tensor([[row.token] for row in active], device=device)
        positions = slots.step(len(active))
        read = torch.arange(len(active), device=device)
        with self._bank.on(self._slots_of(active)):
            logits = self._network.run(ids, positions, slots, read)
        take(active, logits, self._ends)

    def _begin(self, rows: list[Row], beside: list[Row]) -> Iterator[tuple[Row, Past]]:
        """Read the rows' prompts, draw first tokens, and yield the rows with their KV caches.

        A row whose prompt is cached up to its last token draws its first token in the next step, as
        do all rows without an adapter where layers carry states.
        """
        plain = [row for row in rows if row.adapter is None]
        adapted = [row for row in rows if row.adapter is not None]
        by_prompt: dict[tuple[int, ...], list[Row]] = {}
        for row in plain:
            past = self._reader.prefixes.longest(row.prompt[:-1])
            if past.length == len(row.prompt) - 1:
                yield row, past
            else:
                by_prompt.setdefault(tuple(row.prompt), []).append(row)
        yield from self._begin_plain(by_prompt)
        if adapted:
            # Loaded together, so that none takes another's slot.
            self._bank.load([row.adapter for row in [*beside, *adapted] if row.adapter])
            yield from self._begin_adapted(adapted)

    def _begin_plain(
        self, by_prompt: Mapping[tuple[int, ...], list[Row]]
    ) -> Iterator[tuple[Row, Past]]:
        prompts = list(by_prompt)
        if isinstance(self._reader, CarryingReader):
            for index, past in self._reader.before_last(prompts):
                yield from ((row, past) for row in by_prompt[prompts[index]])
            return
        for index, past, logits in self._reader.read(prompts):
            same = by_prompt[prompts[index]]
            take(same, logits.expand(len(same), -1), self._ends)
            yield from ((row, past) for row in same)

    def _begin_adapted(self, rows: list[Row]) -> Iterator[tuple[Row, Past]]:
        texts = {}
        for index, row in enumerate(rows):
            past = self._reader.past(row.prompt[: row.start]) if row.start else NO_PAST
            texts[index] = Text(row.prompt[row.start :], past, NO_TRIE)
        for chunk in self._reader.chunks(texts):
            some = [rows[index] for index in chunk]
            with self._bank.on(self._slots_of(some)):
                readings = self._reader.run([texts[index] for index in chunk])
            take(some, torch.cat([reading.logits for reading in readings]), self._ends)
            for row, index, reading in zip(some, chunk, readings, strict=True):
                yield row, texts[index].past.then(reading.piece)

    def _slots_of(self, rows: Sequence[Row]) -> list[int] | None:
        """Return the adapter slot of each row, or None if no row has an adapter."""
        adapters = [row.adapter for row in rows if row.adapter is not None]
        if not adapters:
            return None
        slots = iter(self._bank.load(adapters))
        return [BASE if row.adapter is None else next(slots) for row in rows]


def take(rows: Sequence[Row], logits: Tensor, ends: Sequence[int]) -> list[int]:
    """Draw each row's next token from logits [rows, V], and let the row go on with it.

    `ends` are the tokens that end a text. Raises EngineError where logits are no finite numbers.
    """
    dtype, logits = logits.dtype, logits.float()
    log_sums = logits.logsumexp(-1)
    if not log_sums.isfinite().all():
        raise EngineError(
            "The model's logits are not finite numbers.",
            where=f"engine transformers, dtype {dtype}",
            cure='Use a wider type: "dtype": "float32" or "bfloat16" for the model.',
        )
    samplings = [row.request.sampling for row in rows]
    penalties = [sampling.repetition_penalty for sampling in samplings]
    scores = penalised(logits, [row.seen for row in rows], penalties)
    scores = allowed(scores, [row.grammar for row in rows])
    tokens = [
        row.draw(values, ids, ends)
        for row, (values, ids) in zip(rows, likeliest(scores, samplings), strict=True)
    ]
    picked = logits.gather(1, torch.tensor(tokens, device=logits.device)[:, None])[:, 0]
    logprobs = (picked - log_sums).tolist()
    for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
        row.take(token, logprob, ends)
    return tokens


def _leave(active: list[Row], slots: Slots) -> int:
    """Remove finished rows, move the last rows into their slots, and return how many finished."""
    done = [at for at, row in enumerate(active) if row.finish]
    for at in reversed(done):
        last = active.pop()
        if at < len(active):
            slots.move(len(active), at)
            active[at] = last
    return len(done)
