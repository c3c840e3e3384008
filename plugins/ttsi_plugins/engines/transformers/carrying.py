"""Reading for models whose layers carry states, and the choice of a reader.

States hold for one place in a text. They are kept at the cuts where a text may go on otherwise: at
the end of what prompts have in common, and before the last token of a prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from .branches import branched
from .caches import Past
from .passes import Network, Row, Rows
from .prefixes import Prefixes, common
from .reading import NO_TRIE, WORTH_WAITING, Reader, Reading, Text
from .trie import Trie


def reader(
    network: Network, budget: int, pass_tokens: int, logits: float = 0.0, states: float = 0.0
) -> Reader:
    """Return the reader of a model, which keeps at most `budget` bytes of what it has read."""
    kind = CarryingReader if network.carries else Reader
    return kind(network, Prefixes(budget, network.carries), pass_tokens, logits, states)


class CarryingReader(Reader):
    """A reader that reads prompts one by one, from cut to cut, and candidates as rows."""

    def read(
        self,
        prompts: Sequence[Sequence[int]],
        tries: Sequence[Trie] | None = None,
        cuts: Sequence[int] | None = None,
    ) -> Iterator[tuple[int, Past, Tensor]]:
        """As Reader has it; what is yielded of a prompt lacks its last token."""
        for index, past in self.before_last(prompts, cuts):
            trie = tries[index] if tries else NO_TRIE
            yield index, past, self._candidates(prompts[index][-1:], past, trie)

    def before_last(
        self, prompts: Sequence[Sequence[int]], cuts: Sequence[int] | None = None
    ) -> Iterator[tuple[int, Past]]:
        """Yield (index of the prompt, what is kept of it up to its last token) in any order."""
        order = sorted(range(len(prompts)), key=lambda index: tuple(prompts[index]))
        texts = [prompts[index] for index in order]
        shared = [common(one, other) for one, other in pairwise(texts)]
        for at, index in enumerate(order):
            # What a text has in common with each of those that follow.
            stops = set(accumulate(shared[at:], min))
            if cuts:
                stops.add(cuts[index])
            yield index, self._until(texts[at][:-1], stops)

    def past(self, ids: Sequence[int]) -> Past:
        return self._until(ids, set())

    def chunks(self, texts: dict[int, Text]) -> Iterator[list[int]]:
        """Yield the keys of `texts` in groups of the same length: states are those of its end."""
        lengths = sorted({len(text.ids) for text in texts.values()})
        for length in lengths:
            same = {key: text for key, text in texts.items() if len(text.ids) == length}
            yield from super().chunks(same)

    def run(self, texts: Sequence[Text]) -> list[Reading]:
        """As Reader has it. Raises ValueError for texts of different lengths, or with candidates:
        their states would not be those of their ends."""
        if len({len(text.ids) for text in texts}) > 1 or any(text.trie.ids for text in texts):
            raise ValueError("texts that are kept together must have one length")
        return super().run(texts)

    def _until(self, ids: Sequence[int], stops: set[int]) -> Past:
        """Read what is not kept of `ids`, in parts that end at `stops`; return what is kept."""
        past = self.prefixes.longest(ids)
        # Where the text parts from those that were read before, the next one may do so, too.
        for stop in sorted({*stops, self.prefixes.known(ids)}):
            # The states after a few tokens more are not worth their memory.
            if past.length + WORTH_WAITING <= stop < len(ids):
                past = self._on(ids, past, stop)
        return past if past.length == len(ids) else self._on(ids, past, len(ids))

    def _on(self, ids: Sequence[int], past: Past, stop: int) -> Past:
        (reading,) = self.run([Text(ids[past.length : stop], past, NO_TRIE)])
        self.prefixes.add(ids[:stop], past.length, reading.piece)
        return past.then(reading.piece)

    def _candidates(self, last: Sequence[int], past: Past, trie: Trie) -> Tensor:
        device = self.network.device

        def run(ids: Tensor, lengths: Sequence[int], read: Tensor) -> Tensor:
            # Padding repeats the last position, since positions must stay in the model's range.
            ends = torch.tensor(lengths)[:, None] - 1
            positions = past.length + torch.arange(ids.shape[1]).minimum(ends)
            plan = Rows([Row(length, past) for length in lengths])
            return self.network.run(ids.to(device), positions.to(device), plan, read.to(device))

        return branched(last, trie, self.room, run, 1 + self._logits, self._states)
