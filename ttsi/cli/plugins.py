"""`ttsi plugins [KIND]`: list the installed plugins, and whether they load.

`ttsi plugins check NAME`: check that a plugin keeps the contract of its kind.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ttsi._common import console
from ttsi.cli import add_settings, settings

if TYPE_CHECKING:
    from ttsi.testing import Outcome

_COLUMNS = ("kind", "name", "distribution", "version", "origin", "state", "options")

EPILOG = """\
examples:
  ttsi plugins                                  all of them
  ttsi plugins estimators --json                one kind, with options schemas and folders
  ttsi plugins check rss_margin --set threshold=0.5
  ttsi plugins check transformers --set model=smollm2-135m
  ttsi plugins check acme/best --kind learners  where several kinds have one of that name

`check` runs the contract checks of ttsi.testing (docs/testing.md): on fakes, but for engines, which
load their model. A check that does not apply, or lacks what it needs, is skipped and says so.

exit codes of check:
  0 none failed   1 some failed   2 no such plugin, or a bad option
  5 the plugin cannot be loaded, or something it needs is not at hand, so that checks were skipped
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "plugins",
        help="list what is installed and whether it loads, or check a plugin's contract",
        usage="ttsi plugins [KIND] [--json]\n       ttsi plugins check NAME [--kind KIND] "
        "[--set KEY=VALUE ...] [--json]",
        description="List the plugins that are installed, where each comes from, and whether it "
        "loads: ready, broken, clash (two claim one name) or off (TTSI_LOAD_PLUGINS). Or check "
        "that one keeps the contract of its kind.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", nargs="?", metavar="KIND", help="benchmarks, estimators, ...; or the word check"
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="check: a plugin, as specs name it")
    parser.add_argument("--kind", metavar="KIND", help="check: the plugin's kind, if need be")
    add_settings(parser, "check: an option of the plugin, or the model of an engine")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ttsi.errors import UsageError

    if args.what == "check":
        if args.name is None:
            raise UsageError("Name the plugin to check.", cure="ttsi plugins lists them.")
        return _check(args)
    if args.name is not None or args.settings or args.kind:
        what = "A NAME, --kind and --set belong to `ttsi plugins check`."
        raise UsageError(what, cure="ttsi plugins --help")
    return _list(args)


# ---------------------------------------------------------------- the list


def _list(args: argparse.Namespace) -> int:
    from ttsi import registry

    rows = registry.listing(_plural(args.what))
    rows = [row | {"path": _path(row["origin"])} for row in rows]
    if args.json:
        console.print_json({"plugins": rows})
        return 0
    _print(_COLUMNS, [[*map(row.get, _COLUMNS[:-1]), _compact(row["options"])] for row in rows])
    for row in rows:
        if row["state"] in ("broken", "clash"):
            console.note(f"{row['kind']} {row['name']}: {row['why']}")
    places: dict[str, set[str]] = {}
    for row in rows:
        places.setdefault(f"{row['distribution']} {row['version']}", set()).add(row["path"])
    for distribution, paths in places.items():
        found = " and ".join(sorted(filter(None, paths))) or "no folder that Python looks in"
        console.note(f"{distribution} is in {found}")
    return 0


def _plural(kind: str | None) -> str | None:
    from ttsi import registry

    return f"{kind}s" if f"{kind}s" in registry.KINDS else kind


def _path(origin: str) -> str:
    """Return the folder that holds the package of "module:attribute", or "". Imports nothing."""
    from importlib.util import find_spec
    from pathlib import Path

    try:
        spec = find_spec(origin.partition(":")[0].partition(".")[0])
    except (ImportError, ValueError):
        return ""
    if spec is None:
        return ""
    folders = list(spec.submodule_search_locations or [])
    inside = folders[0] if folders else spec.origin or ""
    return str(Path(inside).parent) if inside else ""


def _compact(options: dict[str, Any] | None) -> str:
    """Return the options as name=default, the default in JSON; "..." for a required option."""
    import json

    known = (options or {}).get("properties", {})
    return " ".join(
        f"{name}={json.dumps(option['default'])}" if "default" in option else f"{name}=..."
        for name, option in known.items()
    )


# ---------------------------------------------------------------- the checks


def _check(args: argparse.Namespace) -> int:
    from ttsi.testing import check_plugin
    from ttsi.testing.running import kind_of

    options = settings(args.settings, example="--set threshold=0.5")
    kind = kind_of(args.name, _plural(args.kind))
    outcomes = check_plugin(args.name, options, kind)
    if args.json:
        found = {"kind": kind, "plugin": args.name, "options": options}
        console.print_json(found | {"checks": [outcome.as_json() for outcome in outcomes]})
    else:
        _print_outcomes(outcomes)
    if not all(outcome.passed for outcome in outcomes):
        return 1
    return 5 if any(outcome.missing for outcome in outcomes) else 0


def _print_outcomes(outcomes: Sequence[Outcome]) -> None:
    rows = [
        [outcome.check.name, outcome.state, outcome.message or outcome.check.why]
        for outcome in outcomes
    ]
    _print(("check", "state", "why"), rows)
    states = [outcome.state for outcome in outcomes]
    counts = [f"{states.count(each)} {each}" for each in ("passed", "failed", "skipped")]
    console.say(", ".join(counts))


def _print(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=not sys.stdout.isatty())
    for row in rows:
        # As Text: brackets in a plugin's strings are not markup.
        table.add_row(*(Text(" ".join(str(cell).split())) for cell in row))
    # In a pipe or file, lines are neither wrapped nor cut.
    width = None if sys.stdout.isatty() else 10_000
    Console(no_color=console.is_plain(sys.stdout), highlight=False, width=width).print(table)
