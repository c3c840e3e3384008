"""`ttsi compare`: compare runs over the same samples, each with the first, pair by pair."""

from __future__ import annotations

import argparse
from itertools import count
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from ttsi.results.frontier import Cost, Frontier
    from ttsi.results.runs import Run

EPILOG = """\
Runs are folders that `ttsi eval` wrote: runs/NAME-HASH with all its seeds, or one seed of it. All
must be over the same samples (ids, prompts, references), scored alike, under the same seeds.

Two are compared in full, of more each with the first, A. What differs between the runs comes first:
settings, versions, weights. A difference is B less A. Its interval is a bootstrap over samples; p
is McNemar's exact test, and with several seeds the exact test that exchanges A and B on whole
samples. A sample that ended in an error counts as not correct.

Each method is held against the line of search: the best accuracy that the base model, votes or the
best of several answers reached at its cost or less. --plot draws that.

examples:
  ttsi compare runs/base-HASH runs/tt-si-HASH
  ttsi compare runs/base-HASH/seed-0 runs/tt-si-HASH/seed-0 --flips 0
  ttsi compare runs/base-HASH runs/votes-HASH runs/tt-si-HASH --plot frontier.svg
  ttsi compare runs/base-HASH runs/tt-si-HASH --json > comparison.json
"""

_LABELS = ("accuracy", "errors", "cost", "", "")
_HEAD = {"schema": "ttsi.comparisons/1"}
_WIDTH = 64


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "compare",
        help="runs over the same samples, paired",
        description="Compare runs sample by sample: the difference with its interval, an exact "
        "test, the samples on which two differ, and accuracy against cost.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="the folders of two runs or more")
    parser.add_argument(
        "--flips", type=int, default=20, metavar="N", help="show this many of them (default: 20)"
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="write accuracy against seconds (or tokens) as SVG"
    )
    parser.add_argument(
        "--cost", choices=["seconds", "tokens"], default="seconds", help="the cost of --plot"
    )
    parser.add_argument("--json", action="store_true", help="print it all as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ttsi._common import console
    from ttsi.errors import UsageError
    from ttsi.report.labels import labels
    from ttsi.results.comparison import compare
    from ttsi.results.frontier import frontier
    from ttsi.results.runs import open_run

    if len(args.runs) < 2:
        raise UsageError("One run is nothing to compare.", cure="ttsi compare RUN RUN ...")
    runs = [open_run(folder) for folder in args.runs]
    names = labels(runs)
    pairs = [compare(runs[0], other) for other in runs[1:]]
    found = frontier(runs, names)
    if args.plot:
        _write_plot(found, args.cost, args.plot)
    if args.json:
        document = pairs[0] if len(pairs) == 1 else {**_HEAD, "comparisons": pairs}
        console.print_json({**document, "frontier": found.as_json()})
        return 0
    from rich.console import Console

    from ttsi.report.frontier import sentences

    screen = Console(highlight=False, markup=False)
    if len(pairs) == 1:
        show(pairs[0], max(args.flips, 0), screen)
    else:
        show_all(pairs, runs, names, screen)
    for sentence in sentences(found):
        screen.print(printable(sentence), soft_wrap=True)
    return 0


def _write_plot(found: Frontier, cost: Cost, path: str) -> None:
    """Write the plot of a cost. Raises UsageError where there is nothing to plot."""
    from ttsi._common.files import write_atomically
    from ttsi.errors import UsageError
    from ttsi.pages.plots import standalone
    from ttsi.report.frontier import plots

    drawn = plots(found)
    if cost not in drawn:
        what = f"The runs have no {cost} to plot."
        raise UsageError(what, cure="Choose the other --cost, or runs that are begun.")
    write_atomically(Path(path), standalone(drawn[cost].svg))


def show_all(
    pairs: Sequence[dict[str, Any]], runs: Sequence[Run], names: Sequence[str], console: Console
) -> None:
    """Print a table with a row for each run; differences are to the first."""
    from rich.table import Table

    from ttsi.results.differences import differences, short

    first = pairs[0]
    console.print(_title(first), soft_wrap=True)
    rows = [(first["a"], None), *((pair["b"], pair) for pair in pairs)]
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    paid = any(side["cost"]["usd"] for side, _ in rows)
    columns = ["accuracy, %", "less A", "p", "fixed/broken", "s", "tokens"]
    for column in [*columns, "USD"] if paid else columns:
        table.add_column(column, justify="right", no_wrap=True)
    settings = differences(runs)
    for at, (letter, name, (side, pair)) in enumerate(zip(_letters(), names, rows, strict=False)):
        console.print(f"{letter}  {printable(name)}  {printable(side['folder'])}", soft_wrap=True)
        said = (f"{short(k, list(settings))} {_value(v[at])}" for k, v in settings.items())
        console.print(f"   {', '.join(said)}", soft_wrap=True)
        usd = [f"{side['cost']['usd'] / _answers(side):.4f}"] if paid else []
        table.add_row(letter, *_cells(side, pair), *usd)
    console.print(table)
    console.print("Seconds, tokens and dollars are those of an answer, all stages together.")
    unfinished = [side["name"] for side, _ in rows if not side["complete"]]
    if unfinished:
        console.print(f"not finished: {', '.join(unfinished)}", soft_wrap=True)


def _letters() -> Iterator[str]:
    """Yield A to Z, then A1 to Z1, and so on."""
    for number in count():
        yield from (f"{letter}{number or ''}" for letter in ascii_uppercase)


def _cells(side: dict[str, Any], pair: dict[str, Any] | None) -> list[str]:
    answers = _answers(side)
    cost, ends = side["cost"], side["accuracy_interval"]
    tokens = cost["prompt_tokens"] + cost["completion_tokens"]
    interval = f" {_interval([100 * end for end in ends])}" if ends else ""
    change = ["", "", ""]
    if pair is not None:
        of_change = f" {_interval(pair['points_interval'])}" if pair["points_interval"] else ""
        flips = f"{pair['fixed']}/{pair['broken']}"
        change = [f"{pair['points']:+.1f}{of_change}", f"{pair['p']:.2g}", flips]
    return [
        f"{100 * side['accuracy']:.1f}{interval}",
        *change,
        f"{cost['seconds'] / answers:.2f}",
        f"{tokens / answers:.0f}",
    ]


def _answers(side: dict[str, Any]) -> int:
    return sum(outcome["samples"] for outcome in side["by_seed"].values())


def _title(found: dict[str, Any]) -> str:
    seeds = ", ".join(str(seed) for seed in found["seeds"])
    return f"{found['benchmark']}, {found['samples']} samples, seed {seeds}"


def show(found: dict[str, Any], flips: int, console: Console) -> None:
    """Print both runs in a table, their paired difference below, and the first `flips` flips."""
    from rich.table import Table

    console.print(_title(found), soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("", "A", "B"):
        table.add_column(column, overflow="fold")
    columns = _side(found["a"]), _side(found["b"])
    numbers = zip(_LABELS, *columns, strict=True)
    for row in (*_which(found), *_settings(found["settings"]), *numbers):
        table.add_row(*row)
    console.print(table)
    if not found["settings"]:
        console.print("No setting differs, nor do versions and weights.")
    for line in (*_difference(found), *_notes(found)):
        console.print(line, soft_wrap=True)
    for line in _flips(found["flips"], flips):
        console.print(line, soft_wrap=True)


def _which(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows that say which runs are compared."""
    rows = {"run": "name", "folder": "folder", "model": "model"}
    a, b = found["a"], found["b"]
    return [(label, printable(a[key]), printable(b[key])) for label, key in rows.items()]


def _settings(differing: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return a row for each setting that differs: its key, and its value in A and in B."""
    return [
        (printable(key), _value(values["a"]), _value(values["b"]))
        for key, values in differing.items()
    ]


def _value(value: Any) -> str:
    from ttsi.pages import text

    return "–" if value is None else printable(text.setting(value))


def _side(side: dict[str, Any]) -> list[str]:
    """Return one run's column of the table, in the order of _LABELS."""
    interval, cost = side["accuracy_interval"], side["cost"]
    ends = f" {_interval([100 * end for end in interval])}" if interval else ""
    return [
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
    line = printable(" ".join(text.split()))
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"


def printable(text: str) -> str:
    """Return the text without what a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in text)


def _interval(ends: Sequence[float]) -> str:
    return f"[{ends[0]:.1f}, {ends[1]:.1f}]"
