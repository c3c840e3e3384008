"""Generation: rows with their own sampling, seed, grammar and adapter share each step of the model.

Finished rows leave and waiting ones enter. A prompt is read once, however many rows begin with it,
and what the reader has kept of it is not read again. A step reads each row's last token and what
the row may go on with.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

import torch

from .bank import Bank
from .caches import NO_PAST, Past, Slots
from .carrying import CarryingReader
from .drawing import take
from .memory import Room
from .passes import Network
from .reading import NO_TRIE, Reader, Text
from .rows import Row

BASE = -1
"""The adapter slot of a row without one."""

# Rows that must have a prompt, and the tokens that it must have, so that attending to it once for
# all of them is faster than copies of it in their slots.
_ROWS, _TOKENS = 4, 200
# The most tokens of a pass with guesses: more of them take longer than they save.
_PASS_TOKENS = 64


class Decoder:
    """A decoder that runs as many rows at a time as memory allows.

    `slot_bytes` is the memory for slots, common prompts, and the `step_bytes` of each token of a
    step.
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
        # A window may end within what rows share, and a state is each row's own.
        self._shares = not (self._network.bounded or self._network.carries)

    def run(
        self, rows: Sequence[Row], max_rows: int, finished: Callable[[int], None] = lambda _: None
    ) -> None:
        """Decode `rows` in place, at most `max_rows` at a time.

        `finished` is called with the number of rows that have just finished.
        """
        network, common = self._network, self._common(rows)
        # A row with a common prompt holds the rest in its slot.
        tokens = max(row.most + 1 if id(row) in common else row.room for row in rows)
        each = tokens * network.token_bytes() + network.state_bytes + self._step_bytes
        longest = max((len(row.prompt) for row in rows if id(row) in common), default=0)
        prompts, once = len(set(common.values())), longest * network.token_bytes()
        limit = self.room.limit
        # All common prompts at once, or one for each row.
        count = max((limit - prompts * once) // each, limit // (each + once) if once else 0)
        count = min(max_rows, count, len(rows))
        adapters = [row.adapter for row in rows if row.adapter is not None]
        if adapters:
            count = min(count, self._bank.fitting(adapters))
        count = max(1, count)
        # Guesses take what memory is left, and none where it ran out before.
        taken = count * each + min(count, prompts) * once
        spare = max(0, (limit - taken) // max(1, self._step_bytes))
        most = count if self.room.lowered else min(max(_PASS_TOKENS, count), count + spare)
        with self.room.taking(taken):
            slots = network.slots(count, tokens)
            self._run(rows, slots, count, most, common, finished)

    @torch.no_grad()
    def _run(
        self,
        rows: Sequence[Row],
        slots: Slots,
        count: int,
        most: int,
        common: Mapping[int, Hashable],
        finished: Callable[[int], None],
    ) -> None:
        """Decode with `count` rows and `most` tokens in a pass; `common` as `_common` has it."""
        waiting = deque(sorted(rows, key=lambda row: (-row.room, row.prompt)))
        active: list[Row] = []
        while waiting or active:
            while waiting and len(active) < count:
                entering = [
                    waiting.popleft() for _ in range(min(count - len(active), len(waiting)))
                ]
                for row, past in self._begin(entering, active):
                    if row.finish:
                        row.drafter = None
                        finished(1)
                    else:
                        slots.put(len(active), past, common.get(id(row)), len(row.prompt) - 1)
                        active.append(row)
            if active:
                self._step(active, slots, most)
                finished(_leave(active, slots))

    def _common(self, rows: Sequence[Row]) -> dict[int, Hashable]:
        """Return the prompts that enough base rows have in common with others, by the row's id."""
        if not self._shares:
            return {}
        prompts = {
            id(row): tuple(row.prompt)
            for row in rows
            if row.adapter is None and len(row.prompt) >= _TOKENS
        }
        counts = Counter(prompts.values())
        return {row: prompt for row, prompt in prompts.items() if counts[prompt] >= _ROWS}

    def _step(self, active: list[Row], slots: Slots, most: int) -> None:
        """Run the model once, over each row's last token and what it may go on with, and draw.

        It reads `most` tokens at most. A state cannot be taken back, so where layers carry states
        nothing is guessed.
        """
        left = 0 if self._network.carries else most - len(active)
        for at, row in enumerate(active):
            row.guess(left // (len(active) - at))
            left -= len(row.draft)
        widths = [1 + len(row.draft) for row in active]
        read = [[token] for row in active for token in (row.token, *row.draft)]
        ids = torch.tensor(read, device=self._network.device)
        positions = slots.step(widths)
        everything = torch.arange(len(ids), device=self._network.device)
        with self._bank.on(self._slots_of(active), slots.spread):
            logits = self._network.run(ids, positions, slots, everything)
        slots.keep(take(active, logits, self._ends))

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


def _leave(active: list[Row], slots: Slots) -> int:
    """Remove finished rows, move the last rows into their slots, and return how many finished."""
    done = [at for at, row in enumerate(active) if row.finish]
    for at in done:
        if (drafter := active[at].drafter) is not None:
            drafter.answers.add(drafter.question, active[at].text)
            # What it has found in the prompt takes more memory than the row.
            active[at].drafter = None
    for at in reversed(done):
        last = active.pop()
        if at < len(active):
            slots.move(len(active), at)
            active[at] = last
    return len(done)
