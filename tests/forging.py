"""Forgeries of submissions: careful ones, with all digests made anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edits import put, session
from submissions import Change, edit, sealed, summed_up

from ttsi.leaderboard.submission import HEAD

RAN, DAY = "2026-11-25T10:00:00+00:00", "2026-11-26"
Forgery = Callable[[Path], Any]


def dated(folder: Path, ran: str, day: str) -> Path:
    """Return the submission as if it had been run and submitted then."""
    for seed in folder.glob("seed-*"):
        edit(seed, "results.json", put("finished", ran))
        edit(seed, "identity.json", put("date", ran[:10]))
        for key in ("started", "finished"):
            edit(seed, "sessions.json", session(key, ran))
    edit(folder, HEAD, put("submitted", day))
    return sealed(folder)


def in_all(change: Change, name: str = "samples.jsonl") -> Forgery:
    """Return a forgery that changes a file of every seed."""

    def forge(folder: Path) -> None:
        for seed in folder.glob("seed-*"):
            edit(seed, name, change)

    return forge


def each_row(change: Callable[[Any], object]) -> Change:
    """Return a change of each record."""

    def apply(rows: list[Any]) -> None:
        for row in rows:
            change(row)

    return apply


def forged(forge: Forgery, folder: Path) -> Path:
    forge(folder)
    summed_up(folder)
    return sealed(folder)


def in_turn(*forgeries: Forgery) -> Forgery:
    def forge(folder: Path) -> None:
        for each in forgeries:
            each(folder)

    return forge


def seconds(factor: Callable[[], float]) -> Change:
    def change(row: Any) -> None:
        for cost in row["costs"].values():
            cost["seconds"] *= factor()

    return each_row(change)


def words(change: Callable[[str], str]) -> Change:
    def apply(row: Any) -> None:
        for name in ("base", "final"):
            row[name]["text"] = change(row[name]["text"])

    return each_row(apply)


def receipt(key: str, value: Callable[[Any], Any]) -> Change:
    return each_row(lambda row: row["receipt"].update({key: value(row["receipt"].get(key))}))


def of_answers(key: str, value: Any) -> Change:
    return each_row(lambda row: [row[name].update({key: value}) for name in ("base", "final")])
