"""Training of adapters as transformers' Trainer does it with the paper's arguments (F.3).

AdamW (0.9, 0.999, 1e-8) or SGD, one pair a step in the order given, cosine schedule with warm-up,
gradients clipped or normalised; no other process, no disk, no data loader. Jobs of similar length
are trained in the same passes, a row each: no row's loss, gradient, clipping or optimiser state
depends on another's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ttsi import Adapter, LoraRecipe, Training

from .bank import Bank
from .checkpoints import Checkpoints
from .native import NativeNetwork
from .pairs import Pair, TokenJob, losses
from .passes import Network
from .stack import Factors, selected

# A job joins a group if padding then makes up no more than this share of the group's tokens.
_PADDING = 0.2
_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": lambda rows: torch.optim.AdamW(rows, lr=0.0, fused=True),
    "sgd": lambda rows: torch.optim.SGD(rows, lr=0.0),
}


def learning_rates(steps: int, recipe: LoraRecipe) -> list[float]:
    """Return each step's rate: a linear warm-up from 0, then half a cosine to 0 after the last.

    The warm-up takes ceil(ratio * steps) steps, so the first rate is 0 whenever there is one: for
    one pair and three epochs the rates are 0, peak, peak / 2.
    """
    warmup = math.ceil(recipe.warmup_ratio * steps)
    rates = []
    for step in range(steps):
        if step < warmup:
            factor = step / max(1, warmup)
        else:
            progress = (step - warmup) / max(1, steps - warmup)
            factor = max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))
        rates.append(recipe.learning_rate * factor)
    return rates


def groups(widths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Return groups of indices of jobs to be trained together, the widest first.

    `widths` are the tokens of each job's longest pair. The jobs of a group have similar widths, and
    a pass reads at most `token_budget` tokens, padding included; a wider job is a group by itself.
    """
    parts: list[list[int]] = []
    for index in sorted(range(len(widths)), key=lambda each: -widths[each]):
        if parts:
            joined = [*parts[-1], index]
            room = len(joined) * widths[joined[0]]
            used = sum(widths[each] for each in joined)
            if room <= token_budget and used >= (1 - _PADDING) * room:
                parts[-1] = joined
                continue
        parts.append([index])
    return parts


def fit(
    network: Network | NativeNetwork,
    bank: Bank,
    jobs: Sequence[TokenJob],
    stepped: Callable[[int], None] = lambda count: None,
) -> list[Adapter]:
    """Train `jobs` together; return their adapters, which are then resident in `bank`.

    A pass reads one pair of each job, padded to the longest; `groups` says which jobs fit together.
    `stepped` is called after each step with the number of jobs that took it.
    """
    started = time.perf_counter()
    # Jobs with the most steps first, so that the unfinished jobs are always the first rows.
    places = sorted(range(len(jobs)), key=lambda each: -len(jobs[each].order))
    group = _GroupTraining(network, bank, [jobs[place] for place in places])
    group.run(stepped)
    reports = _reports(group, time.perf_counter() - started)
    adapters = [
        bank.adapter(group.stack, row, job.recipe, job.invocation, report)
        for row, (job, report) in enumerate(zip(group.jobs, reports, strict=True))
    ]
    bank.keep(group.stack, adapters)
    return [adapters[places.index(index)] for index in range(len(jobs))]


class _GroupTraining:
    """A group in training: weights, gradients and optimiser state, a row for each job."""

    def __init__(
        self, network: Network | NativeNetwork, bank: Bank, jobs: Sequence[TokenJob]
    ) -> None:
        self.network, self.bank, self.jobs = network, bank, jobs
        self.orders = [job.order for job in jobs]
        self.rates = [
            learning_rates(len(order), job.recipe)
            for order, job in zip(self.orders, jobs, strict=True)
        ]
        self.losses: list[list[Tensor]] = [[] for _ in jobs]
        self.stack = bank.fresh([(job.recipe, job.seed) for job in jobs])
        flat = self.stack.flat
        self.gradients = torch.zeros_like(flat)
        self._weights = [nn.Parameter(flat[row]) for row in range(len(flat))]
        settings = [
            {"params": [weights], "weight_decay": job.recipe.weight_decay}
            for weights, job in zip(self._weights, jobs, strict=True)
        ]
        self._optimizers: list[torch.optim.Optimizer] = []
        # By row, what its optimizer goes by.
        self._groups: dict[int, dict[str, Any]] = {}
        for name, make in _OPTIMIZERS.items():
            rows = [at for at, job in enumerate(jobs) if job.recipe.optimizer == name]
            if rows:
                self._optimizers.append(make([settings[row] for row in rows]))
                self._groups |= zip(rows, self._optimizers[-1].param_groups, strict=True)
        # As in Trainer, a limit of 0 is none.
        limits = [job.recipe.max_grad_norm or math.inf for job in jobs]
        self._limits = flat.new_tensor(limits)
        self._normalised = torch.tensor([job.recipe.normalised for job in jobs], device=flat.device)
        self._generators = [torch.Generator(flat.device).manual_seed(job.seed) for job in jobs]
        # By row, the pair of its last step, as it was given and with its KV cache.
        self._kept: dict[int, tuple[Pair, Pair]] = {}
        self.checkpoints = Checkpoints(network, bank, jobs, self.stack)

    def run(self, stepped: Callable[[int], None]) -> None:
        self.checkpoints.take(range(len(self.jobs)))
        for step in range(max(map(len, self.orders))):
            live = [row for row, order in enumerate(self.orders) if step < len(order)]
            self._step(step, live)
            self._end_epochs(step, live)
            stepped(len(live))
        self.checkpoints.restore()

    def _end_epochs(self, step: int, live: list[int]) -> None:
        """Take a checkpoint of the rows whose epoch ends with this step."""
        moved = []
        for row in live:
            epoch = len(self.jobs[row].pairs)
            if (step + 1) % epoch == 0:
                if any(self.rates[row][step + 1 - epoch : step + 1]):
                    moved.append(row)
                else:
                    self.checkpoints.repeat(row)
        self.checkpoints.take(moved)

    def _step(self, step: int, live: list[int]) -> None:
        fresh = [row for row in live if not self._repeats(row, step)]
        if fresh:
            untrained = not any(rate for row in fresh for rate in self.rates[row][:step])
            self._backward(fresh, [self._ready(row, step) for row in fresh], untrained)
        for row, weights in enumerate(self._weights):
            # None, not zero, for a finished row: Adam's moments would still move its weights.
            weights.grad = self.gradients[row] if row in live else None
        for row in live:
            self._groups[row]["lr"] = self.rates[row][step]
            if row not in fresh:
                self.losses[row].append(self.losses[row][-1])
        for optimizer in self._optimizers:
            optimizer.step()

    def _ready(self, row: int, step: int) -> Pair:
        """Return the pair of a step with its KV cache, which the row keeps until its next pair."""
        pair = self.orders[row][step]
        if self._kept.get(row, (None,))[0] is not pair:
            self._kept.pop(row, None)
            self._kept[row] = pair, pair.ready()
        return self._kept[row][1]

    def _repeats(self, row: int, step: int) -> bool:
        """Return whether the last step had the same gradient: the same pair, and a rate of 0.

        The gradient is then computed once and used in both of Adam's updates.
        """
        return (
            step > 0
            and self.rates[row][step - 1] == 0
            and self.jobs[row].recipe.dropout == 0
            and self.orders[row][step - 1] == self.orders[row][step]
        )

    def _backward(self, rows: list[int], pairs: list[Pair], untrained: bool) -> None:
        """Write the clipped gradients of `rows`, for a pair each, to their rows of `gradients`."""
        which = selected(rows)
        gradients = self.gradients[which]
        factors = self.stack.factors(rows)
        leaves = [
            (a.detach().requires_grad_(), b.detach().requires_grad_()) for a, b in factors.pairs
        ]
        drop = self._drop(rows, pairs)
        factors = replace(factors, pairs=leaves, drop=drop, untrained=untrained)
        found, parts = self._gradients(factors, pairs)
        places = [place for pair in self.stack.split(gradients) for place in pair]
        for place, part in zip(places, parts, strict=True):
            place.copy_(part)
        # Summed in float32, a norm over millions of numbers would be off by a thousandth.
        norms = torch.linalg.vector_norm(gradients, dim=1, dtype=torch.float64).to(gradients.dtype)
        clipped = (self._limits[which] / (norms + 1e-6)).clamp(max=1.0)
        # A gradient of zero stays zero.
        whole = norms.clamp(min=torch.finfo(norms.dtype).tiny).reciprocal()
        gradients *= torch.where(self._normalised[which], whole, clipped)[:, None]
        if not isinstance(which, slice):
            self.gradients[which] = gradients
        for row, loss in zip(rows, found, strict=True):
            self.losses[row].append(loss)

    @torch.enable_grad()
    def _gradients(self, factors: Factors, pairs: list[Pair]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the losses [rows], and the gradient of their sum by each A and B in turn."""
        with self.bank.through(factors):
            found = torch.stack(losses(self.network, pairs))
            # Layers that the pass skips get a gradient of zero, and so does A where B is zero.
            inputs = [part for pair in factors.pairs for part in pair]
            return found.detach(), torch.autograd.grad(found.sum(), inputs, materialize_grads=True)

    def _drop(self, rows: list[int], pairs: list[Pair]) -> Callable[[Tensor], Tensor] | None:
        """Return dropout that draws each row's mask from its job's seed alone, or None for none."""
        shares = [self.jobs[row].recipe.dropout for row in rows]
        if not any(shares):
            return None
        lengths = [len(pair.line) for pair in pairs]

        def drop(x: Tensor) -> Tensor:
            kept = torch.ones_like(x)
            for at, (row, share, length) in enumerate(zip(rows, shares, lengths, strict=True)):
                if share:
                    mask = kept[at, :length].bernoulli_(1 - share, generator=self._generators[row])
                    mask /= 1 - share
            return x * kept

        return drop


def _reports(group: _GroupTraining, seconds: float) -> list[Training]:
    """Return each job's report; its seconds are its share, by tokens, of the group's."""
    tokens = [job.tokens for job in group.jobs]
    return [
        Training(
            tuple(_read(loss)),
            tuple(rates),
            seconds * own / max(1, sum(tokens)),
            own,
            tuple(_read(held_out)),
        )
        for loss, rates, own, held_out in zip(
            group.losses, group.rates, tokens, group.checkpoints.losses, strict=True
        )
    ]


def _read(numbers: Sequence[Tensor]) -> list[float]:
    found: list[float] = torch.stack(list(numbers)).tolist() if numbers else []
    return found
