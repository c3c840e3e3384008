"""Read prompts: one pass over the tokens that are not cached, and logits where they are needed.

The token tree of a prompt's candidates follows the prompt in the same pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .caches import Past, Piece
from .memory import Room
from .passes import Network, Row, Rows
from .prefixes import Prefixes, common
from .together import past_tokens
from .trie import Trie

# Prompts with this many uncached tokens in common are read in turn, so that one serves the next.
WORTH_WAITING = 16


@dataclass(frozen=True)
class Text:
    """Tokens to read after `past`, then those of `trie`."""

    ids: Sequence[int]
    past: Past
    trie: Trie

    @property
    def room(self) -> int:
        return len(self.ids) + len(self.trie.ids)


@dataclass(frozen=True)
class Reading:
    """The result of a pass over a Text.

    `piece` is what its ids left behind, `logits` [1 + nodes, V] are those at its last id and at the
    nodes of its trie.
    """

    piece: Piece
    logits: Tensor


NO_TRIE = Trie([])


class Reader:
    """A reader of prompts, in passes of at most `pass_tokens` tokens, padding included.

    The logits at one token count as `logits` tokens more, the states of a row as `states`. Prefixes
    are read by the base model.
    """

    def __init__(
        self,
        network: Network,
        prefixes: Prefixes,
        pass_tokens: int,
        logits: float = 0.0,
        states: float = 0.0,
    ) -> None:
        self.network = network
        self.prefixes = prefixes
        self.room = Room(pass_tokens)
        self._logits, self._states = logits, states

    def read(
        self,
        prompts: Sequence[Sequence[int]],
        tries: Sequence[Trie] | None = None,
        cuts: Sequence[int] | None = None,
    ) -> Iterator[tuple[int, Past, Tensor]]:
        """Yield (index of the prompt, its KV cache, logits [1 + nodes, V]) in any order.

        The prompts must differ from each other. `cuts` are lengths, one for each prompt, after
        which a later text may go on otherwise; here a text is kept so that it can do so anywhere.
        """
        tries = tries or [NO_TRIE] * len(prompts)
        waiting = sorted(range(len(prompts)), key=lambda index: tuple(prompts[index]))
        while waiting:
            texts: dict[int, Text] = {}
            last: Sequence[int] = ()
            for index in waiting:
                ids = prompts[index]
                # The last token is always read, for its logits.
                past = self.prefixes.longest(ids[:-1])
                if common(ids, last) < past.length + WORTH_WAITING:
                    texts[index] = Text(ids[past.length :], past, tries[index])
                    last = ids
            for chunk in self.chunks(texts):
                group = [texts.pop(index) for index in chunk]
                for index, text, reading in zip(chunk, group, self.run(group), strict=True):
                    ids, past = prompts[index], text.past
                    self.prefixes.add(ids, past.length, reading.piece)
                    yield index, past.then(reading.piece), reading.logits
                waiting = [index for index in waiting if index not in chunk]

    def past(self, ids: Sequence[int]) -> Past:
        """Return the KV cache of `ids`; tokens that are not cached are read now."""
        past = self.prefixes.longest(ids)
        if past.length < len(ids):
            ((_, past, _),) = self.read([ids])
        return past

    def forget(self) -> None:
        """Drop what was read."""
        self.prefixes.clear()

    def chunks(self, texts: dict[int, Text]) -> Iterator[list[int]]:
        """Yield the keys of `texts` in groups of similar length, each for one pass.

        A text that exceeds the limit is a group by itself.
        """
        chunk: list[int] = []
        for key in sorted(texts, key=lambda key: texts[key].room):
            joined = [*chunk, key]
            if chunk and self._size([texts[each] for each in joined]) > self.room.limit:
                yield chunk
                joined = [key]
            chunk = joined
        if chunk:
            yield chunk

    def run(self, texts: Sequence[Text]) -> list[Reading]:
        """Run one pass over `texts`, under the adapters that are on."""
        with self.room.taking(self._size(texts)):
            return self._run(texts)

    def _size(self, texts: Sequence[Text]) -> int:
        """Return the size of a pass over `texts` in tokens, logits and states included."""
        read = sum(1 + len(text.trie.ids) for text in texts)
        # States are stacked for the pass, and copied out of it.
        row = max(text.room for text in texts) + 2 * self._states
        pasts = (text.past.length for text in texts)
        table = past_tokens(self.network.device, pasts, len(self.network.shapes))
        return int(len(texts) * row + self._logits * read + table)

    @torch.no_grad()
    def _run(self, texts: Sequence[Text]) -> list[Reading]:
        rows, width = len(texts), max(text.room for text in texts)
        ids = torch.zeros(rows, width, dtype=torch.long)
        positions = torch.zeros(rows, width, dtype=torch.long)
        plan, wanted = [], []
        for row, text in enumerate(texts):
            line, depths = len(text.ids), torch.tensor(text.trie.depths, dtype=torch.long)
            ids[row, : text.room] = torch.tensor([*text.ids, *text.trie.ids])
            positions[row, :line] = torch.arange(line) + text.past.length
            positions[row, line : text.room] = text.past.length + line - 1 + depths
            tree = text.trie.mask() if text.trie.ids else None
            plan.append(Row(line, text.past, tree))
            wanted.append(torch.arange(line - 1, text.room) + row * width)
        passed = Rows(plan, keep=True)
        device = self.network.device
        logits = self.network.run(
            ids.to(device), positions.to(device), passed, torch.cat(wanted).to(device)
        )
        each = logits.split([len(some) for some in wanted])
        return [
            Reading(passed.piece(row, 0, len(text.ids)), each[row])
            for row, text in enumerate(texts)
        ]
