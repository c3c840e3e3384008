"""Checks of a seed's sessions: their versions, and the last one's engines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ttsi.leaderboard.check_evidence import FINISH
from ttsi.leaderboard.faults import Fault, shown
from ttsi.leaderboard.submission import RESULTS, Seed
from ttsi.records.identity import differences
from ttsi.records.sessions import SESSIONS

_RESTORE = "Restore the file from the run, or submit the run again."


def session_faults(seed: Seed) -> Iterator[Fault]:
    """Yield faults of sessions.json, alone and against identity and results."""
    where, sessions = f"{seed.name}/{SESSIONS}", seed.sessions
    for what in _versions(seed):
        yield Fault("session", where, what, _RESTORE)
    last = sessions[-1]
    if last["finished"] is None or not last["engines"]:
        what = "the last session did not end, so nothing proves that the weights were left alone."
        yield Fault("no-engine", where, what, FINISH)
    elif last["engines"] != seed.results["engines"]:
        what = f"the engines of the last session are not those of {RESULTS}."
        yield Fault("session", where, what, _RESTORE)
    delivered = sum(session["samples"] or 0 for session in sessions)
    killed = any(session["finished"] is None for session in sessions)
    if not killed and delivered < len(seed.rows):
        what = f"the sessions delivered {delivered} samples; there are {len(seed.rows)} records."
        yield Fault("session", where, what, _RESTORE)


def _versions(seed: Seed) -> Iterator[str]:
    """Yield where a session had other versions of ttsi, plugins or packages than are recorded."""
    identity = seed.identity
    for at, session in enumerate(seed.sessions):
        if session["ttsi"] != identity["ttsi"]:
            yield f"session {at} had ttsi {shown(session['ttsi'])}; the run {identity['ttsi']!r}."
        if any(differences(identity["plugins"], session["plugins"], "plugins")):
            yield f"session {at} had other plugins than the run's identity names."
        for engine in session["engines"] or ():
            yield from _packages(seed, session, engine, at)


def _packages(
    seed: Seed, session: Mapping[str, Any], engine: Mapping[str, Any], at: int
) -> Iterator[str]:
    """Yield where a local engine names other package versions than its session does."""
    if seed.spec["executor"]["name"] != "local":
        return
    for package, version in engine.get("versions", {}).items():
        said = session["packages"].get(package, version)
        if said != version:
            yield (
                f"session {at} had {shown(package)} {shown(said)}; its engine says "
                f"{shown(version)}."
            )
