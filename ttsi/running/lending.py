"""What a cell of a matrix takes over from cells before it: base answers, and estimates.

Cells often differ in G, T or the estimator alone, and their base model would answer every sample
alike. It answers once, and the records of the later cells have the answer with what it cost then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ttsi.records import identity
from ttsi.records.identity import Identity
from ttsi.records.journal import ESTIMATES, read
from ttsi.solving.budget import unadapted
from ttsi.spec import Spec, resolved
from ttsi.types import JSON, Record, Sample

_ANSWERS = ("model", "engine", "benchmark", "inference", "episodes")
"""The keys of a spec that shape the base model's answers."""
_STATED = ("ttsi", "revision", "date", "seed")
"""The same of an identity, besides the plugins; a chat template may tell the date."""


@dataclass(frozen=True)
class Lender:
    """A run whose records may be used again: its resolved spec, its folder, the journal's name."""

    spec: Mapping[str, JSON]
    folder: Path
    journal: str


def lent(
    lenders: Iterable[Lender], spec: Spec, whose: Identity, samples: Iterable[Sample]
) -> dict[str, Record]:
    """Return records with base answers to these samples that the run would make again, by id.

    They have an estimate where the lender's estimator is the run's. Episodes are not lent: what is
    estimated and answered there depends on what was adapted before. Where anything is lent, `whose`
    admits the lender's engine only.
    """
    found: dict[str, Record] = {}
    own = resolved(spec)
    wanted = {each.id: each.digest for each in samples if each.episode is None}
    for lender in lenders:
        folder = lender.folder / f"seed-{whose.known['seed']}"
        stated = identity.read(folder)
        alike = _alike(lender.spec, stated, own, whose.known) if stated else frozenset()
        if stated is None or not alike.issuperset(_ANSWERS):
            continue
        # Under a budget other samples count as uncertain than by the threshold.
        by_threshold = lender.spec.get("budget") is None or lender.journal == ESTIMATES
        estimates = "estimator" in alike and by_threshold
        lacking = {id for id in wanted if id not in found or (estimates and not found[id].estimate)}
        made = {
            record.id: unadapted(record, estimates=estimates)
            for record in (read(folder / lender.journal) if lacking else ())
            if record.id in lacking and record.digest == wanted[record.id] and _lendable(record)
        }
        if made and whose.takes_over(folder, stated["engine"]):
            found |= made
    return found


def without_lent(record: Record, known: Mapping[str, Record]) -> Record:
    """Return a failed record without the costs that were lent to it: its next try has them again.

    Other records stay as they are.
    """
    if not record.error or record.id not in known:
        return record
    costs = known[record.id].costs
    own = {stage: cost for stage, cost in record.costs.items() if costs.get(stage) != cost}
    return replace(record, costs=own)


def _alike(
    lender: Mapping[str, JSON],
    stated: Mapping[str, JSON],
    own: Mapping[str, JSON],
    known: Mapping[str, JSON],
) -> frozenset[str]:
    """Return those keys of a spec in which two runs, by specs and identities, do not differ."""
    if any(stated.get(key) != known[key] for key in _STATED):
        return frozenset()
    return frozenset(
        key
        for key in (*_ANSWERS, "estimator")
        if lender.get(key) == own.get(key)
        and stated.get("plugins", {}).get(key) == known["plugins"].get(key)
    )


def _lendable(record: Record) -> bool:
    return not record.error and record.base is not None and not record.steps
