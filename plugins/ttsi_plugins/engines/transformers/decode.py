"""Generation: rows with their own sampling, seed and grammar share each step of the model.

A batch is prefilled once per distinct prompt, padded on the left; then each step draws a token for
every row, drops the rows that are done from cache and mask, and runs the model on the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ttsi.types import Request

from .grammar import Matcher
from .sampling import choose


@dataclass(eq=False)
class Row:
    """One request under way."""

    request: Request
    prompt: list[int]
    matcher: Matcher | None = None
    text: list[int] = field(default_factory=list)
    logprob: float = 0.0
    drawn: int = 0
    finish: str = ""

    def __post_init__(self) -> None:
        self._generator = torch.Generator().manual_seed(self.request.seed)
        self._seen = torch.tensor(self.prompt, dtype=torch.long)

    @property
    def room(self) -> int:
        """Tokens that the row may come to hold."""
        return len(self.prompt) + self.request.sampling.max_tokens

    def take(self, logits: Tensor, mass: float, ends: Sequence[int]) -> int:
        """Draw the next token from logits [V], whose log-sum-exp is `mass`."""
        allowed = logits if self.matcher is None else self.matcher.masked(logits)
        token = choose(allowed, self._seen, self.request.sampling, self._generator)
        self.logprob += float(logits[token]) - mass
        self.drawn += 1
        if token in ends:
            self.finish = "stop"
            return token
        if self.matcher is not None:
            self.matcher.accept(token)
        self.text.append(token)
        self._seen = torch.cat([self._seen, torch.tensor([token])])
        if self.drawn >= self.request.sampling.max_tokens:
            self.finish = "length"
        return token


def batches(rows: Sequence[Row], max_batch: int, max_tokens: int) -> Iterator[list[Row]]:
    """Rows in groups of like length, each within `max_batch` rows and `max_tokens` padded tokens.

    A row that is larger than the budget goes alone.
    """
    batch: list[Row] = []
    for row in sorted(rows, key=lambda row: (len(row.prompt), row.prompt)):
        room = max([row.room, *(other.room for other in batch)])
        if batch and (len(batch) == max_batch or room * (len(batch) + 1) > max_tokens):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


@torch.inference_mode()
def decode(
    model: Any, rows: list[Row], ends: Sequence[int], finished: Callable[[int], None]
) -> None:
    """Run `rows` until each is finished; `finished(count)` is told as they are."""
    logits, state = _prefill(model, rows)
    while True:
        masses = logits.logsumexp(-1).tolist()
        tokens = [row.take(logits[i], masses[i], ends) for i, row in enumerate(rows)]
        alive = [i for i, row in enumerate(rows) if not row.finish]
        if len(alive) < len(rows):
            finished(len(rows) - len(alive))
            rows, tokens = [rows[i] for i in alive], [tokens[i] for i in alive]
            if not rows:
                return
            state.keep(alive)
        logits = state.step(model, tokens)


@dataclass
class _State:
    """Key-value cache and attention mask [rows, columns] of the rows under way."""

    cache: Any
    mask: Tensor
    padded: bool

    def keep(self, rows: list[int]) -> None:
        index = torch.tensor(rows, device=self.mask.device)
        self.cache.batch_select_indices(index)
        self.mask = self.mask[index]

    def step(self, model: Any, tokens: list[int]) -> Tensor:
        """Append one token per row; the logits after it, float32 [rows, V] on the CPU."""
        positions = self.mask.sum(1, keepdim=True)
        self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], dim=1)
        out = model(
            input_ids=torch.tensor(tokens, device=self.mask.device)[:, None],
            attention_mask=self.mask if self.padded else None,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        return _to_cpu(out.logits[:, -1])


def _prefill(model: Any, rows: list[Row]) -> tuple[Tensor, _State]:
    """The first logits [rows, V] of all rows; rows with the same prompt are computed once."""
    slots: dict[tuple[int, ...], int] = {}
    order = [slots.setdefault(tuple(row.prompt), len(slots)) for row in rows]
    longest = max(map(len, slots))
    ids = torch.zeros(len(slots), longest, dtype=torch.long)
    mask = torch.zeros(len(slots), longest, dtype=torch.long)
    for prompt, slot in slots.items():
        ids[slot, longest - len(prompt) :] = torch.tensor(prompt)
        mask[slot, longest - len(prompt) :] = 1
    ids, mask = ids.to(model.device), mask.to(model.device)
    padded = not bool(mask.all())
    out = model(
        input_ids=ids,
        attention_mask=mask if padded else None,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        use_cache=True,
        logits_to_keep=1,
    )
    state = _State(out.past_key_values, mask, padded)
    if order != list(range(len(slots))):
        state.keep(order)
    return _to_cpu(out.logits[:, -1])[order], state


def _to_cpu(logits: Tensor) -> Tensor:
    return logits.float().cpu()
