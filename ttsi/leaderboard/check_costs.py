"""Checks of seconds, tokens and losses, as far as no honest run can have them.

What is merely untrue cannot be seen: leaderboards/CONTRIBUTING.md says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ttsi.leaderboard.check_records import Case
from ttsi.leaderboard.faults import Fault, shown
from ttsi.leaderboard.publishing import parts
from ttsi.leaderboard.submission import Seed
from ttsi.records.journal import SAMPLES
from ttsi.types import Completion, Record

_RESTORE = "Restore the receipts and costs from the run."
_TRAINS = ("lora_sft", "sft", "nearest")
_ANSWERING = ("answer", "adapted")
_ROUNDING = 1e-6


def cost_faults(case: Case) -> Iterator[Fault]:
    """Yield the faults of one record's costs, and of what its answers and receipts say of them."""
    record, own = case.record, _is_own(case.spec, "inference")
    for stage, cost in record.costs.items():
        free = [] if cost.seconds > 0 else ["seconds"]
        if own and stage in _ANSWERING and not record.error and not cost.prompt_tokens > 0:
            free.append("prompt tokens")
        if free:
            what = f"the stage {stage} took no {' and no '.join(free)}."
            yield case.fault("cost", what, _RESTORE)
    for name, answer in _answers(record):
        read, written = answer.prompt_tokens > 0, answer.completion_tokens > 0
        if own and not (read and (written or not answer.text)):
            what = f"the {name} answer was read or written in no tokens."
            yield case.fault("cost", what, _RESTORE)
        if answer.logprob > _ROUNDING * max(1, answer.completion_tokens):
            what = f"the {name} answer has a log-probability of {answer.logprob:g}, above 0."
            yield case.fault("cost", what, _RESTORE)
    for part in parts([case.row]):
        if part["receipt"] is not None:
            yield from _receipt(case, part["receipt"])


def total_faults(seed: Seed) -> Iterator[Fault]:
    """Yield faults where a seed's answers and receipts have more tokens than its stages spent.

    A wave's samples share what it spent, so this holds of sums alone.
    """
    if not _is_own(seed.spec, "inference"):
        return
    where = f"{seed.name}/{SAMPLES}"
    records = [record for record in seed.records if not record.error]
    receipts = (each["receipt"] or {} for each in parts(seed.rows))
    trained = [receipt for receipt in receipts if receipt.get("kind") == "lora"]
    for stage, what, said in (
        ("answer", "the base answers", [r.base for r in records if not r.base_steps]),
        ("adapted", "the adapted answers", [r.final for r in records if r.adapted and not r.steps]),
    ):
        for kind in ("prompt_tokens", "completion_tokens"):
            told = sum(getattr(answer, kind) for answer in said if answer)
            yield from _more(seed, where, (stage, kind), what, told)
    if _is_own(seed.spec, "learner") and not any(receipt.get("source") for receipt in trained):
        told = sum(receipt.get("tokens", 0) for receipt in trained)
        yield from _more(seed, where, ("learn", "prompt_tokens"), "the receipts", told)


def _more(seed: Seed, where: str, of: tuple[str, str], who: str, told: float) -> Iterator[Fault]:
    stage, kind = of
    spent = math.fsum(getattr(r.costs[stage], kind) for r in seed.records if stage in r.costs)
    if told > spent * (1 + _ROUNDING) + _ROUNDING:
        words = kind.replace("_", " ")
        what = f"{who} have {told:g} {words}; the stage {stage} spent {spent:g}."
        yield Fault("cost", where, what, _RESTORE)


def _answers(record: Record) -> Iterator[tuple[str, Completion]]:
    steps = [*((f"step {at}", s.answer) for at, s in enumerate(record.steps))]
    steps += [(f"base step {at}", s.answer) for at, s in enumerate(record.base_steps)]
    for name, answer in (("base", record.base), ("final", record.final), *steps):
        if answer is not None:
            yield name, answer


def _receipt(case: Case, receipt: Any) -> Iterator[Fault]:
    """Yield faults of an adapter's receipt; a third party's learner may have losses of any sign."""
    trained = receipt["kind"] == "lora" and case.spec["learner"]["name"] in _TRAINS
    if not trained or not (receipt.get("steps") or _is_own(case.spec, "engine")):
        return
    for key in ("steps", "seconds", "tokens"):
        if not receipt.get(key, 0) > 0:
            what = f"the adapter was trained in {shown(receipt.get(key))} {key}."
            yield case.fault("cost", what, _RESTORE)
    numbers = [*receipt.get("losses", ()), *receipt.get("held_out", ())]
    low = min(numbers, default=0.0)
    if low < 0:
        yield case.fault("cost", f"the receipt has a loss of {low:g}, below 0.", _RESTORE)


def _is_own(spec: Any, role: str) -> bool:
    """Return whether the plugin is ttsi's, so that what it spends is known to pass the engine."""
    return "/" not in spec[role]["name"]
