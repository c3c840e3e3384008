"""The tables of README.md, between two markers; what stands around them is left as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttsi.errors import UsageError
from ttsi.leaderboard.view import link
from ttsi.report import text

if TYPE_CHECKING:
    from ttsi.leaderboard.render import Board

BEGIN = "<!-- boards: written by `ttsi leaderboard render` -->"
END = "<!-- end of boards -->"
MOST = 10
"""How many entries of each board; the page has all."""

_HEADS = ("#", "method", "by", "model", "accuracy, %", "base", "difference", "s / sample", "files")
_MARKS = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\`*_[]|~:@#!$"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
)
_LONGEST = 60


def with_tables(readme: str | None, boards: Sequence[Board], *, where: Path) -> str:
    """`readme` with the tables of `boards` between its markers; None: a new one.

    Raises UsageError where the markers are missing or in the wrong order.
    """
    if readme is None:
        readme = f"# Leaderboards\n\n{BEGIN}\n{END}\n"
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError(
            "The boards have no place in this README.",
            where=str(where),
            cure=f"Put these two lines where they should stand: {BEGIN} and {END}",
        )
    tables = "\n".join(_table(board) for board in boards) or "No submission yet.\n"
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def _table(board: Board) -> str:
    rows = [_row(rank, each) for rank, each in zip(board.ranks(), board.entries, strict=True)]
    lines = [
        f"## {plain(board.benchmark)}",
        "",
        _line(_HEADS),
        _line(["--:", "---", "---", "---", "--:", "--:", "--:", "--:", "---"]),
        *(_line(row) for row in rows[:MOST]),
    ]
    if len(rows) > MOST:
        lines += ["", f"And {len(rows) - MOST:,} more in [index.html](index.html)."]
    return "\n".join(lines) + "\n"


def _row(rank: int, entry: Mapping[str, Any]) -> list[str]:
    return [
        str(rank),
        plain(entry["method"]),
        plain(entry["org"]),
        plain(entry["model"]),
        _measured(entry["accuracy"], text.figure),
        _measured(entry["base_accuracy"], text.figure),
        _measured(entry["difference"], text.points),
        text.figures(entry["seconds_per_sample"]),
        f"[files]({link(entry['path'])})",
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _measured(measure: Mapping[str, float] | None, form: Any) -> str:
    if measure is None:
        return text.NOTHING
    return f"{form(measure['mean'])} {text.interval((measure['low'], measure['high']))}"


def plain(value: str) -> str:
    """A stranger's text as Markdown that reads as it stands: no link, tag, table or mark-up."""
    shown = text.excerpt(text.visible(value), _LONGEST).translate(_MARKS)
    return shown.replace("www.", "www\\.")
