"""`ttsi plugins [KIND]`: what is installed, where it comes from, and whether it loads."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ttsi import console

_COLUMNS = ("kind", "name", "distribution", "version", "origin", "state")


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "plugins",
        help="list what is installed and whether it loads",
        description="List the plugins that are installed, where each comes from, and whether it "
        "loads: ready, broken, clash (two claim one name) or off (TTSI_LOAD_PLUGINS).",
    )
    parser.add_argument("kind", nargs="?", metavar="KIND", help="benchmarks, estimators, ...")
    parser.add_argument("--json", action="store_true", help="print it as JSON, with the options")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ttsi import registry

    kind = args.kind
    if kind is not None and f"{kind}s" in registry.KINDS:
        kind = f"{kind}s"
    rows = registry.listing(kind)
    if args.json:
        console.print_json({"plugins": rows})
        return 0
    _print_table(rows)
    for row in rows:
        if row["state"] in ("broken", "clash"):
            console.note(f"{row['kind']} {row['name']}: {row['why']}")
    return 0


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in _COLUMNS:
        table.add_column(column, overflow="fold", no_wrap=not sys.stdout.isatty())
    for row in rows:
        table.add_row(*(row[column] for column in _COLUMNS))
    # Into a pipe or file, lines are as long as they need to be: nothing is wrapped or cut.
    width = None if sys.stdout.isatty() else 1000
    Console(no_color=console.is_plain(sys.stdout), highlight=False, width=width).print(table)
