"""Checks for what was used twice in one submission: an adapter, or a whole seed.

An adapter of one sample begins at random numbers that its seed and its sample give, and G draws its
examples by them. So two samples never have one adapter, and two seeds never have the same examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from operator import eq
from typing import Any

from ttsi.leaderboard.faults import Fault
from ttsi.leaderboard.publishing import is_withheld, parts
from ttsi.leaderboard.submission import Seed, Submission
from ttsi.records.journal import SAMPLES

_OWN_ADAPTERS = ("lora_sft", "nearest")
_LEAST = 4
"""So many samples have to agree before two seeds are called one."""
_MOST = 0.9
_NUDGE = 1e-5
"""Seconds of two waves are never this near, relatively, in all of a run."""

_RECEIPTS = "Restore the receipts from the run."
_ANEW = "Submit each seed that was run, and once; a seed of its own is run with --seeds N."


def double_faults(submission: Submission) -> Iterator[Fault]:
    """Yield the faults of adapters and seeds that are there twice."""
    yield from _adapters(submission.seeds)
    for one, other in combinations(submission.seeds, 2):
        said = _same(one, other)
        if said:
            what = f"is {one.name} once more under another number: {said}."
            yield Fault("double", f"{other.name}/{SAMPLES}", what, _ANEW)


def _adapters(seeds: Sequence[Seed]) -> Iterator[Fault]:
    """Yield a fault for each seed in which an adapter is there that another sample has.

    A third party's engine may begin all adapters alike: the same examples then give the same one.
    """
    spec = seeds[0].spec
    own = "/" not in spec["engine"]["name"]
    first: dict[str, tuple[str, object]] = {}
    for seed in seeds if spec["learner"]["name"] in _OWN_ADAPTERS else ():
        again = []
        for place, receipt in _lora(seed):
            taught = [receipt["examples"], receipt.get("source")]
            owner, its = first.setdefault(receipt["digest"], (place, taught))
            if owner != place and (own or its != taught):
                again.append((place, owner))
        if again:
            what = f"{len(again)} adapters are another sample's, first that of {again[0][0]!a}, "
            what += f"which is that of {again[0][1]!a}; each begins at random numbers of its own."
            yield Fault("double", f"{seed.name}/{SAMPLES}", what, _RECEIPTS)


def _lora(seed: Seed) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (place, receipt) of each adapter of a seed."""
    for row in seed.rows:
        for at, part in enumerate(parts([row])):
            place = f"{seed.name}/{row['id']}" + (f", step {at - 1}" if at else "")
            if part["receipt"] is not None and part["receipt"]["kind"] == "lora":
                yield place, part["receipt"]


def _same(one: Seed, other: Seed) -> str:
    """Return in what two seeds are one, or ""."""
    if _drawn(one) and _agree(_examples(one), _examples(other), eq):
        return "its examples, which are drawn by the seed, are the same"
    if _agree(_seconds(one), _seconds(other), _near):
        return "its samples took the same seconds"
    return ""


def _drawn(seed: Seed) -> bool:
    """Return whether G is ttsi's and draws at a temperature."""
    generator = seed.spec["generator"]
    return "/" not in generator["name"] and generator.get("temperature", 0) > 0


def _agree(
    one: Mapping[str, Any], other: Mapping[str, Any], same: Callable[[Any, Any], bool]
) -> bool:
    """Return whether two seeds have the same of nearly all samples of which both have it."""
    both = one.keys() & other.keys()
    alike = sum(same(one[id], other[id]) for id in both)
    return len(both) >= _LEAST and alike >= _MOST * len(both)


def _examples(seed: Seed) -> dict[str, list[str]]:
    """Return, by sample id, the digests of the examples, of samples whose examples can be seen."""
    found: dict[str, list[str]] = {}
    for row in seed.rows:
        examples = [each for part in parts([row]) for each in part["examples"]]
        if examples and not any(map(is_withheld, examples)):
            found[row["id"]] = [each["digest"] for each in examples]
    return found


def _seconds(seed: Seed) -> dict[str, list[float]]:
    return {
        record.id: [cost.seconds for cost in record.costs.values()]
        for record in seed.records
        if record.costs
    }


def _near(one: list[float], other: list[float]) -> bool:
    return len(one) == len(other) and all(
        math.isclose(a, b, rel_tol=_NUDGE) for a, b in zip(one, other, strict=True)
    )
