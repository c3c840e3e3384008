"""Checks of dates: each is a day of the calendar, not to come, and in the order of events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import pairwise

from ttsi.leaderboard.faults import Fault, shown
from ttsi.leaderboard.submission import HEAD, RESULTS, SPEC, Seed, Submission
from ttsi.records.identity import IDENTITY
from ttsi.records.sessions import SESSIONS

FIRST = date(2026, 11, 21)
"""The day on which ttsi was begun: nothing was run or submitted before."""

_RESTORE = "Restore the file from the run, or submit the run again."
_CLOCK = "Restore the file from the run; if it is what the run wrote, set the clock and run again."


def date_faults(submission: Submission) -> Iterator[Fault]:
    """Yield the faults of all dates and times of a submission."""
    submitted = submission.head["submitted"]
    yield from _sound("submitted", submitted, HEAD)
    for seed in submission.seeds:
        yield from _times(seed)
        yield from _day(seed)
        if submitted < seed.results["finished"][:10]:
            what = f"was submitted on {submitted}, before a seed of it ended."
            yield Fault("date", HEAD, what, _RESTORE)


def _sound(key: str, text: str, where: str) -> Iterator[Fault]:
    """Yield a fault unless `text` is a day or time between ttsi's first day and now, in UTC."""
    found = _time(text)
    if found is None:
        yield Fault("date", where, f"{key} {shown(text)} is no date of the calendar.", _RESTORE)
    elif found > datetime.now(UTC):
        yield Fault("date", where, f"{key} {shown(text)} is yet to come.", _CLOCK)
    elif found.date() < FIRST:
        what = f"{key} {shown(text)} is before {FIRST}, when ttsi was begun."
        yield Fault("date", where, what, _CLOCK)


def _time(text: str) -> datetime | None:
    """Return a day or a time as a time in UTC, or None where there is no such day or time."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _times(seed: Seed) -> Iterator[Fault]:
    """Yield faults of when a seed was worked on; the texts have one form, so they sort as times."""
    where, sessions, ended = f"{seed.name}/{SESSIONS}", seed.sessions, seed.results["finished"]
    yield from _sound("finished", ended, f"{seed.name}/{RESULTS}")
    for at, session in enumerate(sessions):
        started, finished = session["started"], session["finished"]
        for key in ("started", "finished"):
            if session[key] is not None:
                yield from _sound(f"session {at} {key}", session[key], where)
        if finished is not None and finished < started:
            what = f"session {at} began at {shown(started)} and ended at {shown(finished)}."
            yield Fault("session", where, what, _RESTORE)
    for at, (one, other) in enumerate(pairwise(sessions), 1):
        if other["started"] < (one["finished"] or one["started"]):
            what = f"session {at} began at {shown(other['started'])}, before the one before ended."
            yield Fault("session", where, what, _RESTORE)
    last = sessions[-1]["finished"] or sessions[-1]["started"]
    if ended < last:
        what = f"the last session was at work at {shown(last)}; {RESULTS} ended at {shown(ended)}."
        yield Fault("session", where, what, _RESTORE)


def _day(seed: Seed) -> Iterator[Fault]:
    """Yield where the template's date is not the spec's or, without one, after the seed began."""
    where, said = f"{seed.name}/{IDENTITY}", seed.identity["date"]
    wanted = seed.spec["model"].get("date")
    if wanted is not None and said != wanted:
        what = f"the date is {shown(said)}; the spec says {shown(wanted)}."
        yield Fault("date", where, what, _RESTORE)
    if wanted is not None and _time(wanted) is None:
        what = f"model.date {shown(wanted)} is no date of the calendar."
        yield Fault("date", f"{seed.name}/{SPEC}", what, _RESTORE)
    if wanted is not None:
        return
    yield from _sound("the date", said, where)
    # The date is that of the run's first seed, which may have begun long before this one.
    if said > seed.sessions[0]["started"][:10]:
        what = f"the date is {shown(said)}, after the day on which {SESSIONS} says that it began."
        yield Fault("date", where, what, _RESTORE)
