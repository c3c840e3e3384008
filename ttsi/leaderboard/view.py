"""The boards' page as plain data for its template; page/ holds template, style and script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ttsi.leaderboard.boards import Board, titles
from ttsi.leaderboard.comparable import in_words
from ttsi.pages import text
from ttsi.pages.plots import Scale, ticks

PARTIAL = "Not ranked, since they answered a part of the samples, which may be the easier one"

_LONGEST = 120
"""The most characters of a name on the page; the submission's files have the whole name."""


@dataclass(frozen=True)
class Column:
    """A sortable column. `first`: the order after the first click, "-" for descending."""

    key: str
    label: str
    kind: str = "number"
    first: str = ""


COLUMNS = (
    Column("rank", "rank", "rank"),
    Column("method", "method", "text"),
    Column("model", "model", "text"),
    Column("engine", "engine", "text"),
    Column("accuracy", "accuracy, %", first="-"),
    Column("base", "base, %", first="-"),
    Column("difference", "difference", first="-"),
    Column("seconds", "s / sample"),
    Column("tokens", "tokens / sample"),
    Column("usd", "$ / sample"),
    Column("samples", "samples", first="-"),
    Column("submitted", "submitted", "date", first="-"),
)


def view(boards: Sequence[Board]) -> dict[str, Any]:
    """Return the template's variables for these boards."""
    found = [_board(title, board) for title, board in zip(titles(boards), boards, strict=True)]
    return {"boards": found, "columns": COLUMNS, "partial": PARTIAL}


def _board(title: str, board: Board) -> dict[str, Any]:
    scale = _scale(board.entries)
    rows = [
        _row(board, rank, entry, scale)
        for rank, entry in zip(board.ranks(), board.entries, strict=True)
    ]
    return {
        "key": board.key,
        "title": _name(title),
        "lede": _lede(board),
        "axis": [(_place(scale(tick)), f"{100 * tick:g}") for tick in _ticks(scale)],
        "rows": rows,
        "partial": [_row(board, 0, entry, scale) for entry in board.partial],
    }


def _lede(board: Board) -> str:
    methods, models = ({entry[key] for entry in board.entries} for key in ("method", "model"))
    return (
        f"{text.count(len(board.entries), 'ranked submission')}: "
        f"{text.count(len(methods), 'method')} on {text.count(len(models), 'model')}. "
        f"Data {_name(board.ground.revision)}"
    )


# ---------------------------------------------------------------- one entry


def _row(board: Board, rank: int, entry: Mapping[str, Any], scale: Scale) -> dict[str, Any]:
    accuracy, base, difference = (
        entry[name] for name in ("accuracy", "base_accuracy", "difference")
    )
    return {
        "anchor": f"{board.key}/" + entry["path"].removeprefix("submissions/"),
        "rank": rank,
        "method": _name(entry["method"]),
        "org": _name(entry["org"]),
        "model": _name(entry["model"]),
        "engine": _name(entry["engine"]),
        "submitted": _name(entry["submitted"]),
        "accuracy": _measure(accuracy, text.figure),
        "base": _measure(base, text.figure),
        "difference": _measure(difference, text.points),
        "sure": not difference["low"] <= 0 <= difference["high"],
        "seconds": _number(entry["seconds_per_sample"], text.figures),
        "tokens": _number(entry["tokens_per_sample"], text.figures),
        "usd": _number(entry["usd_per_sample"], text.figures),
        "samples": _number(entry["samples"], lambda value: f"{value:,}"),
        "selection": _name(entry["selection"]),
        "seeds": text.count(entry["seeds"], "seed"),
        "plot": [
            (kind, *(_place(scale(measure[end])) for end in ("mean", "low", "high")))
            for kind, measure in (("base", base), ("final", accuracy))
        ],
        "facts": _facts(entry),
        "apart": _name(board.apart(entry)),
        "notes": _name("; ".join(entry["notes"])),
        "files": [(_name(name), link(f"{entry['path']}/{name}")) for name in entry["files"]],
    }


def _facts(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (label, value) pairs of what the columns have no room for."""
    base = _measure(entry["base_accuracy"], text.percent)
    return [
        ("base accuracy", f"{base['shown']} {base['interval']}".strip()),
        ("settings", _name(", ".join(in_words(entry["settings"])) or "all defaults")),
        ("p of the difference", text.p_value(entry["p"])),
        ("uncertain", text.percent(entry["uncertain"])),
        ("adapted", text.percent(entry["adapted"])),
        ("errors", f"{entry['errors']:,}"),
        ("hardware", _name(entry["hardware"])),
        ("ttsi", _name(entry["ttsi"])),
        ("spec", _name(entry["spec_digest"])),
        ("data", _name(entry["revision"])),
    ]


def _measure(measure: Mapping[str, float], form: Any) -> dict[str, str]:
    interval = text.interval((measure["low"], measure["high"]))
    return {"key": repr(measure["mean"]), "shown": form(measure["mean"]), "interval": interval}


def _number(value: float, form: Any) -> dict[str, str]:
    return {"key": repr(value), "shown": form(value)}


def link(path: str) -> str:
    """Return a relative path as a link, quoted so that a colon cannot make a URL scheme of it."""
    return quote(path, errors="replace")


def _name(value: object) -> str:
    return text.excerpt(text.visible(str(value)), _LONGEST)


# ---------------------------------------------------------------- the small plots


def _scale(entries: Sequence[Mapping[str, Any]]) -> Scale:
    """Return the board's common scale from accuracies to per cent of the plot's width."""
    measures = [entry[name] for entry in entries for name in ("accuracy", "base_accuracy")]
    ends = [measure[end] for measure in measures for end in ("low", "mean", "high")]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    margin = max((high - low) * 0.02, 0.005)
    return Scale(max(low - margin, 0.0), min(high + margin, 1.0), 4, 96)


def _ticks(scale: Scale) -> list[float]:
    return ticks(scale.low, scale.high, 4)


def _place(per_cent: float) -> str:
    return f"{per_cent:.1f}%"
