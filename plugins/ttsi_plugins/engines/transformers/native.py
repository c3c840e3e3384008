"""The native mode: transformers' own passes, for layers that the engine's passes do not know.

Texts are read as a whole and decoded one row at a time, by transformers' own cache; nothing is kept
for the next call. Adapters act through the same hooks as in the fast mode, from a text's first
token on. The mode is right for every causal language model, and slow; a run says that it was used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from ttsi import EngineError

from . import products
from .bank import Bank
from .branches import branched
from .caches import NO_PAST, Past
from .drawing import take
from .memory import Room
from .passes import Narrow, Plan, Rows
from .reading import NO_TRIE
from .rows import Row
from .trie import Trie


class NativeNetwork:
    """A causal language model that reads whole texts by its own forward pass."""

    mode = "native"
    # Transformers' own cache is there while one row decodes, and is not counted.
    state_bytes = 0

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device: torch.device = model.device
        self._weights = products.quickened(model.modules())
        products.quicken(self._weights)
        self._narrow = Narrow(model)

    def run(self, ids: Tensor, positions: Tensor, plan: Plan, read: Tensor) -> Tensor:
        """Return logits [len(read), V] at `read`, indices into the flattened `ids` [rows, T].

        Rows must be whole texts, padded at their ends.
        """
        if not (isinstance(plan, Rows) and all(row.whole for row in plan.rows)):
            raise ValueError("native passes read whole texts")
        return self._narrow.run(read, lambda: self.model(input_ids=ids, use_cache=False))

    def own(self, ids: Tensor, read: Tensor) -> Tensor:
        """Return what `run` does, by torch's own matrix products."""
        with self.native():
            return self._narrow.run(read, lambda: self.model(input_ids=ids, use_cache=False))

    @contextmanager
    def native(self) -> Iterator[Any]:
        """Yield the model with torch's own matrix products, for others to call."""
        products.restore(self._weights)
        try:
            yield self.model
        finally:
            products.quicken(self._weights)

    def token_bytes(self) -> int:
        """Return a bound of a token's bytes in a cache; states of a fixed size are not counted."""
        config = self.model.config.get_text_config()
        size = int(self.model.dtype.itemsize)
        return 2 * int(config.num_hidden_layers) * int(config.hidden_size) * size

    def close(self) -> None:
        self._narrow.close()
        products.restore(self._weights)


class NativeReader:
    """A reader of prompts with their candidates, each as a whole text; see `reading.Reader`."""

    def __init__(self, network: NativeNetwork, pass_tokens: int) -> None:
        self.network = network
        self.room = Room(pass_tokens)

    def read(
        self,
        prompts: Sequence[Sequence[int]],
        tries: Sequence[Trie] | None = None,
        cuts: Sequence[int] | None = None,
    ) -> Iterator[tuple[int, Past, Tensor]]:
        """Yield (index of the prompt, an empty Past, logits [1 + nodes, V])."""
        for index, ids in enumerate(prompts):
            trie = tries[index] if tries else NO_TRIE
            yield index, NO_PAST, branched(ids, trie, self.room, self._run)

    def past(self, ids: Sequence[int]) -> Past:
        """Raise EngineError: an activated adapter would need a KV cache of what comes before it."""
        what = "This model keeps nothing that was read, so an adapter cannot begin behind it."
        raise _from_start_only(self.network, what)

    def forget(self) -> None:
        """Drop nothing: nothing is kept."""

    def _run(self, ids: Tensor, lengths: Sequence[int], read: Tensor) -> Tensor:
        device = self.network.device
        ids = ids.to(device)
        return self.network.run(ids, ids, Rows([]), read.to(device))


class NativeDecoder:
    """A decoder that runs transformers' own loop row by row, and draws as `drawing.take` does."""

    def __init__(self, network: NativeNetwork, bank: Bank, ends: Sequence[int]) -> None:
        self._network = network
        self._bank = bank
        self._ends = ends
        # Nothing is decoded side by side: there is no room to halve.
        self.room = Room(0)

    def run(
        self, rows: Sequence[Row], max_rows: int, finished: Callable[[int], None] = lambda _: None
    ) -> None:
        """Decode `rows` in place, and call `finished(1)` after each."""
        for row in rows:
            if row.start:
                what = "An adapter that begins behind the start cannot answer here."
                raise _from_start_only(self._network, what)
            slots = None if row.adapter is None else self._bank.load([row.adapter])
            with self._bank.on(slots):
                self._generate(row)
            finished(1)

    def _generate(self, row: Row) -> None:
        model = self._network.model
        ids = torch.tensor([row.prompt], device=self._network.device)
        before, model.generation_config = model.generation_config, GenerationConfig()
        try:
            model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                generation_config=GenerationConfig(max_new_tokens=row.most, pad_token_id=0),
                logits_processor=LogitsProcessorList([_Draw(row, self._ends)]),
                stopping_criteria=[lambda *_: torch.tensor([bool(row.finish)], device=ids.device)],
            )
        finally:
            model.generation_config = before


def _from_start_only(network: NativeNetwork, what: str) -> EngineError:
    return EngineError(
        what,
        where=f"{type(network.model).__name__}, which runs in native mode",
        cure='Set "active_from": "start" for the learner.',
    )


class _Draw(LogitsProcessor):
    """A processor that draws a row's next token, and leaves the loop no other choice."""

    def __init__(self, row: Row, ends: Sequence[int]) -> None:
        self._row = row
        self._ends = ends

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        take([self._row], scores, self._ends)
        # An end token is no part of the text. Which token is last does not matter: the row's
        # `finish` ends the loop.
        forced = torch.full_like(scores, -torch.inf)
        forced[0, self._row.token] = 0
        return forced
