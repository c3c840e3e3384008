"""The tables of README.md, between two markers; the text around them is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ttsi.errors import UsageError
from ttsi.leaderboard.boards import Board, titles
from ttsi.leaderboard.view import PARTIAL, link
from ttsi.pages import text

BEGIN = "<!-- boards: written by `ttsi leaderboard render` -->"
END = "<!-- end of boards -->"
MOST = 10
"""The most entries of a board that a table shows; the page has all."""

NONE = (
    "No submission yet under these rules. [CONTRIBUTING.md](CONTRIBUTING.md) says how to make the "
    "first.\n"
)

_WHO = (("", "method"), ("by ", "org"), ("on ", "model"))
_HEADS = {
    "#": "--:",
    "method": "---",
    "by": "---",
    "model": "---",
    "samples": "--:",
    "accuracy, %": "--:",
    "base": "--:",
    "difference": "--:",
    "s / sample": "--:",
    "files": "---",
}
_MARKS = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\`*_[]|~:@#!$"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
)
_LONGEST = 60


def with_tables(readme: str | None, boards: Sequence[Board], *, where: Path) -> str:
    """Return `readme`, or a new one for None, with the tables of `boards` between its markers.

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
    tables = "\n".join(map(_section, titles(boards), boards)) or NONE
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def _section(title: str, board: Board) -> str:
    ranked = [
        _row(rank, each, board.apart(each))
        for rank, each in zip(board.ranks(), board.entries, strict=True)
    ]
    lines = [f"## {plain(title)}"]
    if ranked:
        lines += ["", _line(list(_HEADS)), _line(list(_HEADS.values())), *map(_line, ranked[:MOST])]
        lines += _more(len(ranked))
    if board.partial:
        lines += [
            "",
            f"{PARTIAL}:",
            "",
            *(_item(each, board.apart(each)) for each in board.partial[:MOST]),
        ]
        lines += _more(len(board.partial))
    return "\n".join(lines) + "\n"


def _more(count: int) -> list[str]:
    if count <= MOST:
        return []
    return ["", f"And {count - MOST:,} more in [index.html](index.html)."]


def _item(entry: Mapping[str, Any], apart: str) -> str:
    """Return the list item of an entry without a rank; `apart` tells it from others like it."""
    who = (f"{word}{plain(entry[key])}" for word, key in _WHO)
    return (
        f"- {' '.join(who)}: {text.count(entry['samples'], 'sample')} "
        f"({plain(entry['selection'])}){_behind(apart)}, "
        f"accuracy {_measured(entry['accuracy'], text.figure)}, "
        f"base {_measured(entry['base_accuracy'], text.figure)}, "
        f"difference {_measured(entry['difference'], text.points)}, "
        f"[files]({link(entry['path'])})"
    )


def _behind(apart: str) -> str:
    return f", {plain(apart)}" if apart else ""


def _samples(entry: Mapping[str, Any]) -> str:
    seeds = entry["seeds"]
    return f"{entry['samples']:,}" + (f" x {seeds} seeds" if seeds > 1 else "")


def _row(rank: int, entry: Mapping[str, Any], apart: str) -> list[str]:
    return [
        str(rank),
        plain(entry["method"]) + _behind(apart),
        plain(entry["org"]),
        plain(entry["model"]),
        _samples(entry),
        _measured(entry["accuracy"], text.figure),
        _measured(entry["base_accuracy"], text.figure),
        _measured(entry["difference"], text.points),
        text.figures(entry["seconds_per_sample"]),
        f"[files]({link(entry['path'])})",
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _measured(measure: Mapping[str, float], form: Any) -> str:
    return f"{form(measure['mean'])} {text.interval((measure['low'], measure['high']))}"


def plain(value: str) -> str:
    """Return an untrusted text escaped for Markdown: no link, tag, table or mark-up."""
    shown = text.excerpt(text.visible(value), _LONGEST).translate(_MARKS)
    return shown.replace("www.", "www\\.")
