"""Soft agreement: how far sampled answers agree with an answer, part by part.

The parts of an answer of calls are each call and each of its arguments; other forms have one part
(`ttsi.Form.parts`). Of all parts that the answer or a sample has,

    share(part) = share of all samples in which it is what it is in the answer, or absent in both

A sample that cannot be read, or was cut off before its answer, agrees in nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ttsi import Completion, Task, form_of

Parts: TypeAlias = Mapping[tuple[str, ...], str]


def shares(task: Task, answer: Completion, samples: Sequence[Completion]) -> list[float]:
    """Return the share of each part, at least one; all are 0 for an answer that cannot be read."""
    form = form_of(task)
    pool: list[Parts] = [form.parts(task, each.answer) for each in samples if each.readable]
    if not answer.readable:
        return [0.0]
    own: Parts = form.parts(task, answer.answer)
    places = dict.fromkeys(place for parts in (own, *pool) for place in parts)
    return [
        sum(parts.get(place) == own.get(place) for parts in pool) / max(1, len(samples))
        for place in places
    ]
