"""Reading for models whose layers carry states, and the choice of a reader.

States hold for one place in a text. They are kept at the cuts where a text may go on otherwise: at
the end of what prompts have in common, and before the last token of a prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .branches import branched
from .caches import Past
from .passes import Network, Row, Rows
from .prefixes import Prefixes, common
from .reading import NO_TRIE, WORTH_WAITING, Reader, Text
from .trie import Trie


def reader(network: Network, budget: int, pass_tokens: int, logits: float = 0.0) -> Reader:
    """Return the reader of a model, which keeps at most `budget` bytes of what it has read."""
    kind = CarryingReader if network.carries else Reader
    return kind(network, Prefixes(budget, network.carries), pass_tokens, logits)


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
        for at, index in enumerate(order):
            ids = prompts[index]
            following = prompts[order[at + 1]] if at + 1 < len(order) else ()
            stops = {common(ids, following), cuts[index] if cuts else 0}
            yield index, self._until(ids[:-1], stops)

    def past(self, ids: Sequence[int]) -> Past:
        return self._until(ids, set())

    def chunks(self, texts: dict[int, Text]) -> Iterator[list[int]]:
        """Yield the keys of `texts` in groups of the same length: states are those of its end."""
        lengths = sorted({len(text.ids) for text in texts.values()})
        for length in lengths:
            same = {key: text for key, text in texts.items() if len(text.ids) == length}
            yield from super().chunks(same)

    def _until(self, ids: Sequence[int], stops: set[int]) -> Past:
        """Return what is kept of `ids`, which is read now from stop to stop where it is not."""
        past = self.prefixes.longest(ids)
        # Where the text parts from those that were read before, the next one may do so, too.
        stops = {*stops, self.prefixes.known(ids)}
        # A few tokens are not worth the memory of their states.
        worth = past.length + WORTH_WAITING
        for stop in sorted({stop for stop in stops if worth <= stop < len(ids)} | {len(ids)}):
            if past.length < stop:
                (reading,) = self.run([Text(ids[past.length : stop], past, NO_TRIE)])
                self.prefixes.add(ids[:stop], past.length, reading.piece)
                past = past.then(reading.piece)
        return past

    def _candidates(self, last: Sequence[int], past: Past, trie: Trie) -> Tensor:
        device = self.network.device

        def run(ids: Tensor, lengths: Sequence[int], read: Tensor) -> Tensor:
            # Padding repeats the last position, since positions must stay in the model's range.
            ends = torch.tensor(lengths)[:, None] - 1
            positions = past.length + torch.arange(ids.shape[1]).minimum(ends)
            plan = Rows([Row(length, past) for length in lengths])
            return self.network.run(ids.to(device), positions.to(device), plan, read.to(device))

        return branched(last, trie, self.room, run, 1 + self._logits)
