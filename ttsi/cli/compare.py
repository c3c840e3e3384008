"""`ttsi compare`: compare two runs over the same samples, pair by pair."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

EPILOG = """\
A and B are folders that `ttsi eval` wrote: runs/NAME-HASH with all its seeds, or one seed of it.
Both must be over the same samples (ids, prompts, references), scored alike, under the same seeds.

The difference is B less A. Its interval is a bootstrap over samples; p is McNemar's exact test, and
with several seeds the exact test that exchanges A and B on whole samples. A sample that ended in an
error counts as not correct.

examples:
  ttsi compare runs/base-HASH runs/tt-si-HASH
  ttsi compare runs/base-HASH/seed-0 runs/tt-si-HASH/seed-0 --flips 0
  ttsi compare runs/base-HASH runs/tt-si-HASH --json > comparison.json
"""

_LABELS = ("run", "model", "accuracy", "errors", "cost", "", "")
_WIDTH = 64


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "compare",
        help="two runs over the same samples, paired",
        description="Compare two runs sample by sample: the difference with its interval, an exact "
        "test, what each cost, and the samples on which they differ.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", metavar="A", help="the folder of a run")
    parser.add_argument("b", metavar="B", help="the folder of another")
    parser.add_argument(
        "--flips", type=int, default=20, metavar="N", help="show this many of them (default: 20)"
    )
    parser.add_argument("--json", action="store_true", help="print it all as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ttsi._common import console
    from ttsi.results.comparison import compare
    from ttsi.results.runs import open_run

    found = compare(open_run(args.a), open_run(args.b))
    if args.json:
        console.print_json(found)
    else:
        from rich.console import Console

        show(found, max(args.flips, 0), Console(highlight=False, markup=False))
    return 0


def show(found: dict[str, Any], flips: int, console: Console) -> None:
    """Print both runs in a table, their paired difference below, and the first `flips` flips."""
    from rich.table import Table

    seeds = ", ".join(str(seed) for seed in found["seeds"])
    title = f"{found['benchmark']}, {found['samples']} samples, seed {seeds}"
    console.print(title, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("", "A", "B"):
        table.add_column(column, overflow="fold")
    for row in zip(_LABELS, _side(found["a"]), _side(found["b"]), strict=True):
        table.add_row(*row)
    console.print(table)
    for line in (*_difference(found), *_notes(found)):
        console.print(line, soft_wrap=True)
    for line in _flips(found["flips"], flips):
        console.print(line, soft_wrap=True)


def _side(side: dict[str, Any]) -> list[str]:
    """Return one run's column of the table, in the order of _LABELS."""
    interval, cost = side["accuracy_interval"], side["cost"]
    ends = f" {_interval([100 * end for end in interval])}" if interval else ""
    return [
        side["name"],
        side["model"],
        f"{100 * side['accuracy']:.1f} %{ends}",
        str(side["errors"]),
        f"{cost['seconds']:.1f} s",
        f"{cost['prompt_tokens'] + cost['completion_tokens']:.0f} tokens",
        f"{cost['usd']:.4f} USD",
    ]


def _difference(found: dict[str, Any]) -> list[str]:
    interval = found["points_interval"]
    spread = found["over_seeds"]
    lines = [
        f"B - A: {found['points']:+.1f} points, 95 % "
        + (_interval(interval) if interval else "unknown, as all resamples are the same")
        + f" (bootstrap over samples, {found['bootstrap']['resamples']} resamples, "
        f"seed {found['bootstrap']['seed']})",
        f"{found['fixed']} fixed, {found['broken']} broken; p = {found['p']:.2g} ({found['test']})",
    ]
    if spread["sd"]:
        lines.append(
            f"over seeds: {spread['mean']:+.1f} ± {spread['sd']:.1f} points, "
            f"95 % {_interval(spread['interval'])} (t, same samples under other seeds)"
        )
    elif spread["n"] > 1:
        lines.append("over seeds: the same difference under each")
    return lines


def _notes(found: dict[str, Any]) -> list[str]:
    return [
        f"{letter.upper()} is not finished: what is missing from it is missing here"
        for letter in ("a", "b")
        if not found[letter]["complete"]
    ]


def _flips(flips: Sequence[dict[str, Any]], most: int) -> list[str]:
    lines = []
    for flip in flips[:most]:
        lines.append(f"{flip['change']}  {flip['id']}  seed {flip['seed']}")
        for letter in ("a", "b"):
            answer = flip[letter]
            verdict = answer["reason"] or "right"
            lines.append(f"  {letter.upper()}  {verdict:<16} {_one_line(answer)}")
    if len(flips) > most:
        lines.append(f"{len(flips) - most} more flips (--flips {len(flips)} or --json)")
    return lines


def _one_line(answer: dict[str, Any]) -> str:
    """Return the answer on one short line, without terminal control characters."""
    text = answer["text"] if answer["text"] is not None else answer["detail"]
    line = "".join(char if char.isprintable() else " " for char in " ".join(text.split()))
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"


def _interval(ends: Sequence[float]) -> str:
    return f"[{ends[0]:.1f}, {ends[1]:.1f}]"
