"""Evidence that every board requires: an identity, proof of the reset, and base answers.

It is checked before the schemas are, so that a fault names the evidence that is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ttsi.leaderboard.faults import Fault
from ttsi.types import JSON, Record

FINISH = "Run the same command again: it loads the model, proves the reset, and finishes the run."
_ANEW = "Run the spec anew with this version of ttsi, in a folder of its own."
_CHANGED = "These answers are not to be used. Run the spec anew, and tell the author of the engine."
_BASE = 'Run with "baseline": true, so that every sample is answered by the base model, too.'


def no_identity(where: str) -> Fault:
    """Return the fault of a run without identity.json."""
    what = "is not there: nothing says which weights, templates and versions the run had."
    return Fault("no-identity", where, what, _ANEW)


def identity_lacks(identity: JSON, where: str) -> Iterator[Fault]:
    """Yield a fault where identity.json has no weights digest; the schema checks the rest."""
    engine = identity.get("engine") if isinstance(identity, dict) else None
    if isinstance(engine, dict) and engine.get("weights_digest") is None:
        what = "has no weights_digest: nothing says which weights answered."
        yield Fault("no-weights", where, what, _ANEW)


def results_lack(results: JSON, where: str) -> Iterator[Fault]:
    """Yield a fault for each piece of evidence that results.json lacks."""
    if not isinstance(results, dict):
        return
    if not results.get("identity"):
        what = "holds no identity, so the results could be those of any run."
        yield Fault("no-identity", where, what, _ANEW)
    engines = results.get("engines")
    if not engines:
        what = "names no engine, so nothing proves that every adaptation was thrown away."
        yield Fault("no-engine", where, what, FINISH)
    elif isinstance(engines, list):
        yield from _proofs(engines, where)


def _proofs(engines: Sequence[JSON], where: str) -> Iterator[Fault]:
    for engine in engines:
        if not isinstance(engine, dict):
            continue
        before, after = engine.get("weights_digest"), engine.get("weights_digest_after")
        if before is None:
            what = "an engine says no digest of the weights that it loaded."
            yield Fault("no-weights", where, what, FINISH)
        elif after is None:
            what = "an engine says no digest of its weights after the run, which proves the reset."
            yield Fault("no-proof", where, what, FINISH)
        elif before != after:
            what = "the base weights were others after the run: an adaptation was not thrown away."
            yield Fault("changed-weights", where, what, _CHANGED)


def base_lacks(spec: Mapping[str, Any], records: Sequence[Record], seed: str) -> Iterator[Fault]:
    """Yield a fault unless the base model answered every sample that has no error.

    Base and final accuracy are then of the same samples.
    """
    if not spec["baseline"]:
        what = "asks for no baseline: what adaptation changed cannot be known."
        yield Fault("no-base", f"{seed}/spec.resolved.json", what, _BASE)
        return
    lacking = [record.id for record in records if record.base is None and not record.error]
    if lacking:
        some = f"{len(lacking)} of {len(records)} samples"
        what = f"{some} have no base answer, first {lacking[0][:80]!a}."
        yield Fault("no-base", f"{seed}/samples.jsonl", what, _BASE)
