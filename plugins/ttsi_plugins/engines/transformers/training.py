"""Training of adapters as transformers' Trainer does it with the paper's arguments (F.3).

AdamW (0.9, 0.999, 1e-8), one pair a step in the order given, cosine schedule with warm-up, gradient
norm clipped; no other process, no disk, no data loader. Jobs of similar length are trained in the
same passes, a row each: no row's loss, gradient, clipping or optimiser state depends on another's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ttsi import Adapter, LoraRecipe, Training

from .bank import Bank
from .caches import NO_PAST, Past
from .native import NativeNetwork
from .passes import Network, Row, Rows
from .stack import Factors

# A job joins a group if padding then makes up no more than this share of the group's tokens.
_PADDING = 0.2


@dataclass(frozen=True)
class Pair:
    """A `target` to learn after `prompt`, both token ids; the adapter acts from `start` on.

    `past` is what the base model's reading of prompt[:start] left behind. The adapter always acts
    on the prompt's last token, which predicts the target's first. Raises ValueError for an empty
    target, or a `start` that does not fit the prompt and `past`.
    """

    prompt: Sequence[int]
    target: Sequence[int]
    past: Past = field(default=NO_PAST, compare=False)
    start: int = 0

    def __post_init__(self) -> None:
        if not self.target or not 0 <= self.start < len(self.prompt):
            raise ValueError(f"nothing to learn from {len(self.prompt)} tokens at {self.start}")
        if self.past.length != self.start:
            raise ValueError(f"a past of {self.past.length} tokens before token {self.start}")

    @property
    def line(self) -> list[int]:
        """The tokens that a pass reads: the target's last token is only predicted."""
        return [*self.prompt[self.start :], *self.target[:-1]]


@dataclass(frozen=True)
class TokenJob:
    """One adapter to be trained; `invocation` are the ids from which an activated adapter acts."""

    id: str
    pairs: Sequence[Pair]
    recipe: LoraRecipe
    seed: int
    invocation: Sequence[int] = ()

    @property
    def order(self) -> list[Pair]:
        """The pair of each step."""
        return list(self.pairs) * self.recipe.epochs


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


def losses(network: Network | NativeNetwork, pairs: Sequence[Pair]) -> list[Tensor]:
    """Each pair's mean cross entropy over its target's tokens; the head is applied there only."""
    lines = [pair.line for pair in pairs]
    width, device = max(map(len, lines)), network.device
    ids = torch.tensor([line + [0] * (width - len(line)) for line in lines], device=device)
    # Padding repeats the last position, since positions must stay in the model's range.
    ends = torch.tensor([[len(line) - 1] for line in lines], device=device)
    starts = torch.tensor([[pair.start] for pair in pairs], device=device)
    positions = starts + torch.arange(width, device=device).minimum(ends)
    counts = [len(pair.target) for pair in pairs]
    read = _ranges(
        (row * width + len(line) - count, count)
        for row, (line, count) in enumerate(zip(lines, counts, strict=True))
    )
    plan = Rows([Row(len(line), pair.past) for line, pair in zip(lines, pairs, strict=True)])
    logits = network.run(ids, positions, plan, read.to(device))
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    labels = torch.tensor([token for pair in pairs for token in pair.target], device=device)
    each = nn.functional.cross_entropy(logits, labels, reduction="none")
    return [part.mean() for part in torch.split(each, counts)]


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
    found = [torch.stack(each).tolist() if each else [] for each in group.losses]
    reports = _reports(group, found, time.perf_counter() - started)
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
        self._optimizer = torch.optim.AdamW(settings, lr=0.0, fused=True)
        # As in Trainer, a limit of 0 is none.
        limits = [job.recipe.max_grad_norm or math.inf for job in jobs]
        self._limits = flat.new_tensor(limits)
        self._generators = [torch.Generator(flat.device).manual_seed(job.seed) for job in jobs]

    def run(self, stepped: Callable[[int], None]) -> None:
        for step in range(max(map(len, self.orders))):
            live = [row for row, order in enumerate(self.orders) if step < len(order)]
            self._step(step, live)
            stepped(len(live))

    def _step(self, step: int, live: list[int]) -> None:
        fresh = [row for row in live if not self._repeats(row, step)]
        if fresh:
            untrained = not any(rate for row in fresh for rate in self.rates[row][:step])
            self._backward(fresh, [self.orders[row][step] for row in fresh], untrained)
        for row, weights in enumerate(self._weights):
            # None, not zero, for a finished row: Adam's moments would still move its weights.
            weights.grad = self.gradients[row] if row in live else None
        for row in live:
            self._optimizer.param_groups[row]["lr"] = self.rates[row][step]
            if row not in fresh:
                self.losses[row].append(self.losses[row][-1])
        self._optimizer.step()

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
        first = rows == list(range(len(rows)))
        which = slice(len(rows)) if first else rows
        # A slice gives views; a list of rows gives copies.
        flat, gradients = self.stack.flat[which], self.gradients[which]
        leaves = [
            (a.detach().requires_grad_(), b.detach().requires_grad_())
            for a, b in self.stack.split(flat)
        ]
        scales = self.stack.scales[which][:, None, None]
        factors = Factors(leaves, scales, self._drop(rows, pairs), untrained)
        found, parts = self._gradients(factors, pairs)
        places = [place for pair in self.stack.split(gradients) for place in pair]
        for place, part in zip(places, parts, strict=True):
            place.copy_(part)
        # Summed in float32, a norm over millions of numbers would be off by a thousandth.
        norms = torch.linalg.vector_norm(gradients, dim=1, dtype=torch.float64).to(gradients.dtype)
        gradients *= (self._limits[which] / (norms + 1e-6)).clamp(max=1.0)[:, None]
        if not first:
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


def _reports(group: _GroupTraining, found: list[list[float]], seconds: float) -> list[Training]:
    """Return each job's report; its seconds are its share, by tokens, of the group's."""
    tokens = [
        sum(len(pair.prompt) - pair.start + len(pair.target) for pair in order)
        for order in group.orders
    ]
    return [
        Training(tuple(loss), tuple(rates), seconds * own / max(1, sum(tokens)), own)
        for loss, rates, own in zip(found, group.rates, tokens, strict=True)
    ]


def _ranges(spans: Iterable[tuple[int, int]]) -> Tensor:
    """Return the numbers of all spans (first, count), concatenated."""
    return torch.cat([torch.arange(first, first + count) for first, count in spans])
