"""Forward passes of the model, for reading, scoring, decoding and training.

The engine keeps its own KV caches. The attention function, registered with transformers, asks the
pass's plan which keys and values each row attends to and where to store the new ones. Only layers
that carry states are given something in place of a cache. Query heads that share a key head use it
without a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AttentionInterface

from . import products, together
from .caches import NO_PAST, Past, Piece, Shapes, Slots, token_bytes
from .sight import BOUNDS, EVERYTHING, Look, Sight, attention, sights
from .states import Carried, State, arguments, nbytes, stacked
from .support import carries

ATTENTION = "ttsi"


class Plan(Protocol):
    """How a pass computes attention: which keys and values each row attends to."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, look: Look) -> Tensor:
        """Return [rows, heads, T, E]: attention of q [rows, heads, T, D] to what the rows have read
        before, and to k [rows, key heads, T, D] and v [rows, key heads, T, E]."""
        ...

    def states(self) -> State:
        """Return the states [rows, ...] of layers that carry some, before the pass."""
        ...

    def carry(self, states: State) -> None:
        """Take the states [rows, ...] after the pass."""
        ...


class Narrow:
    """Application of the output layer to the tokens alone whose logits are wanted.

    Logits of a whole prompt never exist, where a model has an output layer of its own.
    """

    def __init__(self, model: Any) -> None:
        head = model.get_output_embeddings()
        self._read: Tensor | None = None
        self._hook = None if head is None else head.register_forward_pre_hook(self._narrowed)

    def run(self, read: Tensor, forward: Callable[[], Any]) -> Tensor:
        """Return `forward`'s logits [len(read), V] at `read`, indices into its tokens [rows, T]."""
        self._read = read
        try:
            logits: Tensor = forward().logits
        finally:
            self._read = None
        return logits if self._hook is not None else logits.flatten(0, 1)[read]

    def close(self) -> None:
        if self._hook is not None:
            self._hook.remove()

    def _narrowed(self, head: Any, given: tuple[Tensor]) -> tuple[Tensor] | None:
        return None if self._read is None else (given[0].flatten(0, 1)[self._read],)


class Network:
    """A causal language model of transformers, run pass by pass over caches of the engine."""

    mode = "fast"

    def __init__(self, model: Any) -> None:
        config = model.config.get_text_config()
        self.model = model
        self.sights = self._declared = sights(config)
        self.device: torch.device = model.device
        self.carries = carries(model)
        self._own_attention = str(config._attn_implementation)
        self._weights = products.quickened(model.modules())
        self._begin()
        self._narrow = Narrow(model)
        try:
            self.shapes, self.state_bytes = self._measured()
            # A convolution beside the language model, for sounds or images, carries nothing.
            self.carries = self.state_bytes > 0
        except BaseException:
            self.close()
            raise

    def run(self, ids: Tensor, positions: Tensor, plan: Plan, read: Tensor) -> Tensor:
        """Return logits [len(read), V] at `read`, indices into the flattened `ids` [rows, T]."""
        passing = _PASS.set((plan, self.sights, self._declared))
        try:
            return self._narrow.run(read, lambda: self._forward(ids, positions, plan))
        finally:
            _PASS.reset(passing)

    def _forward(self, ids: Tensor, positions: Tensor, plan: Plan) -> Any:
        if not self.carries:
            return self.model(input_ids=ids, position_ids=positions, use_cache=False)
        carried = Carried(plan.states())
        made = self.model(input_ids=ids, **arguments(self.model, positions, carried))
        plan.carry(carried.states)
        return made

    def own(self, ids: Tensor, read: Tensor) -> Tensor:
        """Return logits [len(read), V] at `read` of the model's own pass over `ids` [rows, T]."""
        with self.native() as model:
            return self._narrow.run(read, lambda: model(input_ids=ids, use_cache=False))

    @contextmanager
    def native(self) -> Iterator[Any]:
        """Yield the model with transformers' own attention and products, for others to call."""
        self._end()
        try:
            yield self.model
        finally:
            self._begin()

    @contextmanager
    def short_sighted(self, size: int) -> Iterator[None]:
        """Bound windows and chunks to `size` tokens within the block, for the model and here.

        So a text of a few more tokens shows whether each layer sees what its config says.
        """
        config = self.model.config.get_text_config()
        before = {name: getattr(config, name, None) for name in BOUNDS}
        shorter = {name: size for name, own in before.items() if own is not None and own > size}
        try:
            for name, value in shorter.items():
                setattr(config, name, value)
            self.sights = sights(config)
            yield
        finally:
            for name in shorter:
                setattr(config, name, before[name])
            self.sights = self._declared

    @property
    def bounded(self) -> bool:
        """Whether tokens of some layers see only a part of what is before them."""
        return any(sight != EVERYTHING for sight in self.sights)

    def token_bytes(self) -> int:
        """Return the bytes that the keys and values of one token take."""
        return token_bytes(self.shapes, int(self.model.dtype.itemsize))

    @torch.no_grad()
    def _measured(self) -> tuple[Shapes, int]:
        """Read a token, and return the heads and widths of each layer, and the bytes of states."""
        plan, zero = Rows([Row(1)], keep=True), torch.zeros(1, 1, dtype=torch.long)
        zero = zero.to(self.device)
        self.run(zero, zero, plan, zero[0])
        piece = plan.piece(0, 0, 1)
        shapes = {at: (k.shape[0], k.shape[-1], v.shape[-1]) for at, (k, v) in piece.layers.items()}
        return shapes, nbytes(piece.state)

    def slots(self, count: int, tokens: int) -> Slots:
        """Return slots for `count` rows of up to `tokens` tokens each."""
        return Slots(self.shapes, count, tokens, self.model.dtype, self.device)

    def close(self) -> None:
        self._narrow.close()
        self._end()

    def _begin(self) -> None:
        self.model.set_attn_implementation(ATTENTION)
        products.quicken(self._weights)

    def _end(self) -> None:
        self.model.set_attn_implementation(self._own_attention)
        products.restore(self._weights)


@dataclass(frozen=True)
class Row:
    """One row of a pass: `line` tokens in a line, then the tokens of a tree, then padding.

    `tree` [M, M], on the host, is True where its token i sees token j; all M see the past and the
    line.
    """

    line: int
    past: Past = NO_PAST
    tree: Tensor | None = None

    @property
    def whole(self) -> bool:
        """Whether the row is a text from its beginning, without a tree."""
        return not self.past.pieces and self.tree is None


@dataclass
class Rows:
    """A plan for rows [N, T]: each is causal and attends to its own past.

    With `keep`, `piece` gives the keys, values and states of the rows after the pass. States are
    those after its last column, so rows of a model that carries some must have the same length.
    """

    rows: Sequence[Row]
    keep: bool = False
    _kept: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _states: State = field(default_factory=dict)
    # Masks are the same in layers of a kind: of lines by (past, length), of trees by row.
    _masks: dict[tuple[int, int, Sight], Tensor] = field(default_factory=dict)
    _trees: dict[tuple[int, Sight], Tensor] = field(default_factory=dict)
    _table: together.Table | None = None

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, look: Look) -> Tensor:
        if self.keep:
            self._kept[layer] = (k, v)
        if all(row.whole for row in self.rows):
            return self._lines(q, k, v, look)
        if together.worth(q.device) and not q.requires_grad:
            if self._table is None:
                self._table = together.Table(self.rows, q.shape[2], q.device)
            return self._table.attend(layer, q, k, v, look)
        each = [
            self._row(row, layer, q[i : i + 1], k[i : i + 1], v[i : i + 1], look)
            for i, row in enumerate(self.rows)
        ]
        return torch.cat(each) if len(each) > 1 else each[0]

    def states(self) -> State:
        return stacked([row.past.state for row in self.rows])

    def carry(self, states: State) -> None:
        if self.keep:
            self._states = states

    def piece(self, row: int, start: int, stop: int) -> Piece:
        """Return what columns start to stop of a row leave behind, to be appended to its Past."""
        some = slice(start, stop)
        layers = {
            at: (k[row, :, some].clone(), v[row, :, some].clone())
            for at, (k, v) in self._kept.items()
        }
        last = stop == max(each.line for each in self.rows)
        state = {key: states[row].clone() for key, states in self._states.items() if last}
        return Piece(stop - start, layers, state)

    def _lines(self, q: Tensor, k: Tensor, v: Tensor, look: Look) -> Tensor:
        """Return attention of rows that begin with this pass: they have one mask."""
        mask = self._line(0, q.shape[2], look.sight, q.device)
        return attention(q, k, v, look.over(q.shape[1], 1, 1), mask)

    def _row(self, row: Row, layer: int, q: Tensor, k: Tensor, v: Tensor, look: Look) -> Tensor:
        before = [piece.layers[layer] for piece in row.past.pieces]
        if before:
            k = torch.cat([*(key for key, _ in before), k[0]], dim=1)[None]
            v = torch.cat([*(value for _, value in before), v[0]], dim=1)[None]
        past = k.shape[2] - q.shape[2]
        ends = [row.line] if row.tree is None else [row.line, row.line + len(row.tree)]
        parts, start = [], 0
        for end in ends:
            if end > start:
                tree = row.tree is not None and end > row.line
                seen = slice(past + end)
                mask = (
                    self._tree(row, past, look.sight, q.device)
                    if tree
                    else self._line(past, end, look.sight, q.device)
                )
                parts.append(_folded(q[:, :, start:end], k[:, :, seen], v[:, :, seen], look, mask))
            start = end
        if start < q.shape[2]:
            parts.append(q.new_zeros(*q.shape[:2], q.shape[2] - start, v.shape[-1]))
        return torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]

    def _line(self, past: int, length: int, sight: Sight, device: torch.device) -> Tensor | None:
        """Return the mask [length, past + length] of tokens in a line; None: causal, no past."""
        bounded = sight.bounds(past + length)
        if past == 0 and not bounded:
            return None
        key = past, length, sight if bounded else EVERYTHING
        if key not in self._masks:
            whole = torch.ones(length, past + length, dtype=torch.bool, device=device).tril(past)
            if bounded:
                places = torch.arange(past + length, device=device)
                whole &= sight.visible(places[past:], places)
            self._masks[key] = whole
        return self._masks[key]

    def _tree(self, row: Row, past: int, sight: Sight, device: torch.device) -> Tensor:
        """Return the mask [M, past + line + M] of a tree's tokens."""
        assert row.tree is not None
        before = past + row.line
        # The number of tree tokens that a token sees, itself included, is its depth.
        places = before - 1 + row.tree.sum(1)
        bounded = sight.bounds(int(places.max()) + 1)
        key = id(row), sight if bounded else EVERYTHING
        if key not in self._trees:
            mask = torch.cat([row.tree.new_ones(len(row.tree), before), row.tree], dim=1)
            if bounded:
                keys = torch.cat([torch.arange(before, device=places.device), places])
                mask = mask & sight.visible(places, keys)
            self._trees[key] = mask.to(device)
        return self._trees[key]


def _folded(q: Tensor, k: Tensor, v: Tensor, look: Look, mask: Tensor | None) -> Tensor:
    """Return the attention of one row; heads that share a key head use it without a copy."""
    _, heads, length, width = q.shape
    keys = k.shape[1]
    shared = heads // keys
    out = attention(
        q.reshape(keys, shared, length, width),
        k[0, :, None].expand(-1, shared, -1, -1),
        v[0, :, None].expand(-1, shared, -1, -1),
        look.over(keys, shared, 1, 1),
        mask,
    )
    return out.reshape(1, heads, length, v.shape[-1])


_Seen = Sequence[Sight]
_PASS: ContextVar[tuple[Plan, _Seen, _Seen] | None] = ContextVar("pass", default=None)
"""The plan of the current pass, what each layer sees in it, and what its config declared. A plan
that is passed as an argument would not arrive: some models drop what they do not know."""


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    sliding_window: int | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Compute a layer's attention for transformers; returns [rows, T, heads, E]."""
    passing = _PASS.get()
    if passing is None:
        raise NotImplementedError("attention was called without a plan")
    plan, seen, declared = passing
    sight, window = seen[module.layer_idx], declared[module.layer_idx].window
    # Some models pass the window of their config, which a proof makes shorter for a while.
    if sliding_window not in (None, window, sight.window):
        raise NotImplementedError(
            f"attention with sliding_window {sliding_window} where the config says {window}"
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    look = Look(scale, sight, softcap, s_aux)
    out = plan.attend(module.layer_idx, query, key, value, look)
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, _attention)
