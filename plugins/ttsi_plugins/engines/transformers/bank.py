"""Many LoRA adapters beside one base model, each acting on its own rows of a pass.

One forward hook on each linear layer adds (x A^T) B^T, scaled, to the layer's output; A [rows, r,
in] and B [rows, out, r] are batched over the rows. The base model's modules and weights stay as
they are. Adapters of different ranks are padded with zeros, which change nothing and stay zero in
training.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ttsi import Adapter, EngineError, LoraRecipe, Training

from . import lora
from .spread import Spread
from .stack import Factors, Layer, Stack


class Bank:
    """The adapters of one model. Slot -1 is the base model; others come from `load`.

    Resident adapters and their copies for a pass take at most `budget` bytes, provided that callers
    give a pass no more rows than `fitting` returns.
    """

    def __init__(self, model: Any, model_id: str, budget: int = sys.maxsize) -> None:
        self.budget = budget
        linear = lora.adaptable(model)
        self.layers = tuple(Layer(name, *lora.widths(module)) for name, module in linear.items())
        self._where = f"model {model_id}"
        self._model_id = model_id
        names = [name for name, _ in model.named_modules()]
        # By `LoraRecipe.modules`, the layers that adapters act on, and PEFT's names for them.
        self._acted = {kind: lora.of_kind(kind, linear) for kind in lora.MODULES}
        self._targets = {kind: lora.shortest(some, names) for kind, some in self._acted.items()}
        # At least float32, whatever the precision of the base model.
        dtype = torch.promote_types(model.dtype, torch.float32)
        self._like = torch.empty(0, dtype=dtype, device=model.device)
        # Row 0 stays zero: it is the base model.
        self._store = Stack(self.layers, 1, 1, self._like)
        self._held: dict[int, Adapter] = {}
        self._copies = self._like.new_empty(0, 0)
        self._copied: list[int] = []
        self._asked: tuple[int, ...] = ()
        self._latest: Factors | None = None
        self._on: Factors | None = None
        self._hooks = [
            module.register_forward_hook(self._hook(index))
            for index, module in enumerate(linear.values())
        ]

    # ------------------------------------------------------------ passes

    def on(
        self, slots: Tensor | Sequence[int] | None, spread: Spread | None = None
    ) -> AbstractContextManager[None]:
        """Apply the adapter in slots[i] to row i of the passes in the block; -1 is the base model.

        With None no row has an adapter. With `spread` the passes have a row for each token of its
        line, and the adapter acts on those of its row i. A list, or a tensor on the CPU, avoids a
        wait for the GPU. Raises ValueError for a slot that holds no adapter.
        """
        if slots is None:
            return nullcontext()
        listed = slots.tolist() if isinstance(slots, Tensor) else slots
        factors = self._factors(tuple(slot + 1 for slot in listed))
        return self.through(factors if spread is None else replace(factors, spread=spread))

    @contextmanager
    def through(self, factors: Factors) -> Iterator[None]:
        """Add `factors` in the passes in the block."""
        before, self._on = self._on, factors
        try:
            yield
        finally:
            self._on = before

    def close(self) -> None:
        """Remove the hooks and forget all adapters."""
        for hook in self._hooks:
            hook.remove()
        self.clear()

    # ------------------------------------------------------------ residents

    def load(self, adapters: Sequence[Adapter]) -> list[int]:
        """Return slots that hold `adapters`, for `on`; resident ones are not copied again.

        The least recently used adapters lose their slots, but none of `adapters` does. Raises
        EngineError for an adapter that does not fit the model.
        """
        found = [self._find(adapter) for adapter in adapters]
        missing = [each for each, row in zip(adapters, found, strict=True) if row is None]
        if missing:
            self.reserve(len({id(adapter) for adapter in adapters}), self._rank(missing))
            # If `reserve` made a new store, no adapter is resident any more.
            found = [row if row in self._held else None for row in found]
        pinned = {row for row in found if row is not None}
        slots = []
        for adapter, known in zip(adapters, found, strict=True):
            row = known or self._find(adapter)
            if row is None:
                row = self._settle(adapter, self._unpacked(adapter), 0, pinned)
            pinned.add(row)
            self._held[row] = self._held.pop(row)
            slots.append(row - 1)
        return slots

    def keep(self, stack: Stack, adapters: Sequence[Adapter]) -> None:
        """Make `adapters` resident from the first rows of `stack`, where they have been trained.

        Adapters that find no room are loaded when they are used.
        """
        self.reserve_for([stack.rank] * len(adapters))
        pinned: set[int] = set()
        for row, adapter in enumerate(adapters[: len(self._store) - 1]):
            pinned.add(self._settle(adapter, stack, row, pinned))

    def fitting(self, adapters: Sequence[Adapter]) -> int:
        """Return how many rows of a pass may have one of `adapters` within the budget."""
        return self._most(self._rank({id(adapter): adapter for adapter in adapters}.values()))

    def reserve(self, count: int, rank: int = 1) -> None:
        """Make room for `count` adapters of up to `rank`.

        A larger store forgets all adapters first: the old and the new might not fit together.
        """
        rows, rank = max(count + 1, len(self._store)), max(rank, self._store.rank)
        if rows == len(self._store) and rank == self._store.rank:
            return
        # Rows beyond `count` stay only as far as the budget allows at the new rank.
        rows = max(count, min(rows - 1, self._most(rank))) + 1
        self.clear()
        self._store = Stack(self.layers, rows, rank, self._like)

    def reserve_for(self, ranks: Sequence[int]) -> None:
        """Make room for adapters of these ranks, as many as the budget allows."""
        rank = max(ranks, default=1)
        self.reserve(min(len(ranks), self._most(rank)), rank)

    def bytes(self) -> int:
        """Return the bytes of resident adapters and their copies for passes."""
        return self._store.flat.nbytes + self._copies.nbytes

    def _rank(self, adapters: Iterable[Adapter]) -> int:
        return max((self._form(adapter).rank for adapter in adapters), default=1)

    def _most(self, rank: int) -> int:
        """Return how many adapters fit the budget with a copy each, beside the zero row."""
        row = self.parameters(max(rank, self._store.rank)) * self._like.itemsize
        return max(1, (self.budget // max(1, row) - 1) // 2)

    def clear(self) -> None:
        """Forget all adapters and free their memory."""
        self._store = Stack(self.layers, 1, 1, self._like)
        self._held = {}
        self._forget_seats()

    # ------------------------------------------------------------ training

    def parameters(self, rank: int) -> int:
        """Return how many numbers an adapter of `rank` has."""
        return rank * sum(layer.inside + layer.outside for layer in self.layers)

    def fresh(self, recipes: Sequence[tuple[LoraRecipe, int]]) -> Stack:
        """Return new adapters, one row for each (recipe, seed): A as PEFT draws it, B zero.

        A is drawn on the CPU from the seed alone, so a seed gives the same weights on every device.
        Raises EngineError for a model without such linear layers as the recipe names.
        """
        rank = max(recipe.rank for recipe, _ in recipes)
        stack = Stack(self.layers, len(recipes), rank, self._like)
        for row, (recipe, seed) in enumerate(recipes):
            drawn = Stack(self.layers, 1, recipe.rank, self._like.cpu())
            drawn.scales[0] = recipe.alpha / recipe.rank
            generator = torch.Generator().manual_seed(seed)
            acted = self._layers(recipe)
            for layer, (a, _) in zip(self.layers, drawn.split(drawn.flat), strict=True):
                # Elsewhere A and B are zero, have gradients of zero and so stay zero.
                if layer.name in acted:
                    nn.init.kaiming_uniform_(a[0], a=math.sqrt(5), generator=generator)
            stack.put(row, drawn, 0)
        return stack

    def adapter(
        self,
        stack: Stack,
        row: int,
        recipe: LoraRecipe,
        invocation: Sequence[int] = (),
        training: Training | None = None,
    ) -> Adapter:
        """Return a row of `stack` in PEFT's format; with `invocation` it acts from these ids on."""
        pairs = stack.split(stack.flat[row : row + 1].detach().cpu())
        acted = self._layers(recipe)
        parts = {
            layer.name: (a[0, : recipe.rank], b[0, :, : recipe.rank])
            for layer, (a, b) in zip(self.layers, pairs, strict=True)
            if layer.name in acted
        }
        targets = self._targets[recipe.modules]
        config = lora.write_config(recipe, targets, self._model_id, invocation)
        return Adapter(lora.pack(parts), config, training)

    # ------------------------------------------------------------ inside

    def _layers(self, recipe: LoraRecipe) -> list[str]:
        """Return the names of the layers that the recipe's adapters act on, at least one."""
        found = self._acted[recipe.modules]
        if not found:
            kind = "" if recipe.modules == "all" else f" of kind {recipe.modules}"
            raise EngineError(
                f"The model has no linear layers{kind} that an adapter could act on.",
                where=self._where,
                cure='Set "modules": "all" for the learner.' if kind else "Use another model.",
            )
        return found

    def _hook(self, index: int) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor | None]:
        def add(module: nn.Module, given: tuple[Tensor], out: Tensor) -> Tensor | None:
            factors = self._on
            if factors is None:
                return None
            a, b = factors.pairs[index]
            x = _by_row(given[0], factors).to(a.dtype)
            if factors.untrained:
                x, a = x.detach(), a.detach()
            if factors.drop is not None:
                x = factors.drop(x)
            low = torch.bmm(x, a.mT).mul_(factors.scales)
            if factors.spread is not None:
                added = torch.bmm(low, b.mT).flatten(0, 1)
                out.view(-1, out.shape[-1]).add_(factors.spread.flat(added))
                return None
            total = _by_row(out, factors)
            if total.dtype != low.dtype:
                total.add_(torch.bmm(low, b.mT))
            elif out.requires_grad:
                # Not in place: autograd would have to copy a view that is written to.
                return torch.baddbmm(total, low, b.mT).view_as(out)
            else:
                total.baddbmm_(low, b.mT)
            return None

        return add

    def _factors(self, rows: tuple[int, ...]) -> Factors:
        """Return the factors of these rows of the store; those of the last call are kept."""
        if rows != self._asked:
            if any(row and row not in self._held for row in rows):
                raise ValueError(f"no adapter in some of the slots {[row - 1 for row in rows]}")
            flat = self._view(rows)
            scales = self._store.scales[list(rows), None, None]
            self._latest = Factors(self._store.split(flat), scales)
            self._asked = rows
        assert self._latest is not None
        return self._latest

    def _view(self, rows: tuple[int, ...]) -> Tensor:
        """Return the weights of `rows`, [len(rows), P]: a view if evenly spaced, else a copy."""
        flat, first = self._store.flat, rows[0]
        steps = {after - before for before, after in pairwise(rows)}
        if steps <= {0}:
            return flat[first : first + 1].expand(len(rows), -1)
        if len(steps) == 1 and min(steps) > 0:
            return flat[first : rows[-1] + 1 : min(steps)]
        if len(rows) > len(self._copies):
            self._forget_seats()
            self._copies = flat.new_empty(len(rows), flat.shape[1])
        self._copied += [-1] * (len(rows) - len(self._copied))
        for place, row in enumerate(rows):
            # From pass to pass few rows change, so only those are copied.
            if self._copied[place] != row:
                self._copies[place] = flat[row]
                self._copied[place] = row
        return self._copies[: len(rows)]

    def _forget_seats(self) -> None:
        self._copies, self._copied = self._like.new_empty(0, 0), []
        self._asked, self._latest = (), None

    def _find(self, adapter: Adapter) -> int | None:
        """Return the store's row that holds `adapter`, or None."""
        for row, held in self._held.items():
            if held is adapter:
                return row
        form = self._form(adapter)
        same = (
            row
            for row, held in self._held.items()
            if held.digest == adapter.digest and self._form(held) == form
        )
        return next(same, None)

    def _form(self, adapter: Adapter) -> lora.Form:
        return lora.read_form(adapter.config, [layer.name for layer in self.layers], self._where)

    def _unpacked(self, adapter: Adapter) -> Stack:
        """Return the weights of `adapter` on the CPU, as the only row of a stack."""
        form = self._form(adapter)
        sizes = {layer.name: (layer.inside, layer.outside) for layer in self.layers}
        parts = lora.unpack(adapter.safetensors, form, sizes, self._where)
        stack = Stack(self.layers, 1, form.rank, self._like.cpu())
        stack.scales[0] = form.scale
        for layer, (a, b) in zip(self.layers, stack.split(stack.flat), strict=True):
            if layer.name in parts:
                a[0], b[0] = parts[layer.name]
        return stack

    def _settle(self, adapter: Adapter, stack: Stack, source: int, pinned: set[int]) -> int:
        """Copy a row of `stack` into a free or the least recently used row; return that row."""
        free = (row for row in range(1, len(self._store)) if row not in self._held)
        oldest = (row for row in self._held if row not in pinned)
        row = next(free, None) or next(oldest)
        self._held.pop(row, None)
        self._store.put(row, stack, source)
        self._held[row] = adapter
        self._copied = [-1 if place == row else place for place in self._copied]
        self._asked = ()
        return row


def _by_row(tensor: Tensor, factors: Factors) -> Tensor:
    """Return `tensor` as [rows of the factors, T, width]; some layers get [rows * T, width]."""
    rows = len(factors.scales)
    if factors.spread is not None:
        tensor = factors.spread.padded(tensor.reshape(-1, tensor.shape[-1]))
    elif tensor.dim() == 3:
        return tensor
    return tensor.view(rows, -1, tensor.shape[-1])
