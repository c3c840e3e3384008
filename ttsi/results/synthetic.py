"""The quality of synthetic examples, measured from a run's records: one function for each figure.

A text is compared with another by its words: overlap is the share of words that both have among the
words that either has, each as often as it stands there, without case and punctuation.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median
from typing import Any

from ttsi.types import JSON, Example, Record

NEAR = 0.8
"""The overlap from which on a text is a near-copy of another."""

# In scripts without spaces each character is a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")


@dataclass(frozen=True)
class Made:
    """The examples that were made for one task. `seed`: its input, None where it is not known."""

    seed: str | None
    examples: Sequence[Example]
    receipt: Mapping[str, JSON] | None

    @property
    def readable(self) -> list[Example]:
        """The examples with their text; a submission withholds some, which repeat the benchmark."""
        return [example for example in self.examples if example.task.input]


def made(records: Iterable[Record], inputs: Mapping[str, str]) -> list[Made]:
    """Return what was made for each task that has examples, those of an episode's steps apart.

    `inputs`: by sample, the task's input.
    """
    found = []
    for record in records:
        if record.steps:
            seed = None
            for step in record.steps:
                seed = step.request or seed
                found.append(Made(seed, step.examples, step.receipt))
        else:
            found.append(Made(inputs.get(record.id), record.examples, record.receipt))
    return [each for each in found if each.examples]


def quality(records: Iterable[Record], inputs: Mapping[str, str]) -> dict[str, JSON] | None:
    """Return all figures; None where no example was made. `inputs` as for `made`."""
    every = made(records, inputs)
    if not every:
        return None
    return {
        "tasks": len(every),
        "examples": sum(len(each.examples) for each in every),
        "attempts": attempts(every),
        "distance": distance(every),
        "distinctness": distinctness(every),
        "evidence": evidence(every),
        "loss": loss(every),
        "length": length(every),
    }


def attempts(every: Sequence[Made]) -> dict[str, JSON]:
    """Return how many examples were valid at the first attempt, at the second, and so on."""
    counts = Counter(example.attempts for each in every for example in each.examples)
    return {str(attempt): counts[attempt] for attempt in sorted(counts)}


def distance(every: Sequence[Made]) -> dict[str, JSON] | None:
    """Return how many requests copy their seed or nearly do, and the mean overlap with it.

    Examples whose seed is not known are left out; None where none is.
    """
    pairs = [(each.seed, example) for each in every if each.seed for example in each.readable]
    if not pairs:
        return None
    shares = overlaps_with_seed(every)
    copies = sum(_folded(seed) == _folded(example.task.input) for seed, example in pairs)
    near = sum(share >= NEAR for share in shares)
    return {
        "examples": len(pairs),
        "copies": copies,
        "near_copies": near - copies,
        "overlap": fmean(shares),
    }


def overlaps_with_seed(every: Sequence[Made]) -> list[float]:
    """Return the overlap of each request with its seed, where that is known."""
    return [
        overlap(words(each.seed), words(example.task.input))
        for each in every
        if each.seed
        for example in each.readable
    ]


def distinctness(every: Sequence[Made]) -> dict[str, JSON] | None:
    """Return the mean over tasks of 1 - overlap between the requests made for a task, by pairs.

    `near_copies` are pairs. None where no task has two examples.
    """
    several = [[words(example.task.input) for example in each.readable] for each in every]
    pairs = [list(combinations(some, 2)) for some in several if len(some) > 1]
    if not pairs:
        return None
    shares = [[overlap(a, b) for a, b in some] for some in pairs]
    return {
        "tasks": len(pairs),
        "mean": fmean(1 - fmean(some) for some in shares),
        "near_copies": sum(share >= NEAR for some in shares for share in some),
    }


def evidence(every: Sequence[Made]) -> dict[str, JSON]:
    """Return count, mean and least of each kind of evidence that the generator gave."""
    found: dict[str, list[float]] = {}
    for each in every:
        for example in each.examples:
            for name, share in example.evidence.items():
                found.setdefault(name, []).append(share)
    return {
        name: {"examples": len(some), "mean": fmean(some), "least": min(some)}
        for name, some in sorted(found.items())
    }


def loss(every: Sequence[Made]) -> dict[str, JSON] | None:
    """Return the mean training loss over the first and over the last pass through the examples.

    A step's loss is from before its update. None where no adapter was trained on them.
    """
    passes = []
    for each in every:
        losses = _losses(each.receipt)
        if losses:
            steps = _steps_of_a_pass(each, len(losses))
            passes.append((fmean(losses[:steps]), fmean(losses[-steps:])))
    if not passes:
        return None
    return {
        "tasks": len(passes),
        "first": fmean(first for first, _ in passes),
        "last": fmean(last for _, last in passes),
    }


def _steps_of_a_pass(made: Made, steps: int) -> int:
    """Return how many steps a pass through the examples has: those held out are not trained on."""
    held_out = (made.receipt or {}).get("held_out")
    passes = len(held_out) - 1 if isinstance(held_out, list) else 0
    return max(1, steps // passes) if passes > 0 else len(made.examples)


def _losses(receipt: Mapping[str, Any] | None) -> list[float]:
    """Return the losses of a receipt; none where one is no finite number."""
    found = (receipt or {}).get("losses")
    told = found if isinstance(found, list) else []
    sound = all(isinstance(each, int | float) and math.isfinite(each) for each in told)
    return told if sound else []


def length(every: Sequence[Made]) -> dict[str, JSON]:
    """Return the median length in characters of requests, targets and seeds; None if not known."""
    examples = [example for each in every for example in each.readable]
    lengths = {
        "request": [len(example.task.input) for example in examples],
        "target": [_target(example) for example in examples],
        "seed": [len(each.seed) for each in every if each.seed],
    }
    return {name: median(some) if some else None for name, some in lengths.items()}


def _target(example: Example) -> int:
    value = json.dumps(example.answer.value, ensure_ascii=False)
    return len(example.answer.work) + len(value)


def words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text.casefold()))


def overlap(a: Counter[str], b: Counter[str]) -> float:
    """Return the share of words that both have among those that either has; 1 without words."""
    both = sum(min(count, b[word]) for word, count in a.items())
    either = a.total() + b.total() - both
    return both / either if either else 1.0


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
