"""`ttsi plugins [KIND [NAME]]`: list the installed plugins, or show one with its options.

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

_WIDEST = 100
_INDENT = 22
_OTHER_KINDS = {
    "answers": "What an answer is; a benchmark's tasks name it.",
    "hooks": "What watches runs.",
}

EPILOG = """\
examples:
  ttsi plugins                                  all of them, and what each is for
  ttsi plugins estimators                       one kind
  ttsi plugins estimators rss_margin            one plugin: its options, and where it is
  ttsi plugins estimators --json                with the schemas of options, and folders
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
        usage="ttsi plugins [KIND [NAME]] [--json]\n       ttsi plugins check NAME [--kind KIND] "
        "[--set KEY=VALUE ...] [--json]",
        description="List the plugins that are installed and what each is for. One that is not "
        "ttsi's own has its package and version; one that cannot be used says why: broken, clash "
        "(two claim one name) or off (TTSI_LOAD_PLUGINS). Or show the options of one, or check "
        "that it keeps the contract of its kind.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", nargs="?", metavar="KIND", help="benchmarks, estimators, ...; or the word check"
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a plugin, as specs name it")
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
    if args.settings or args.kind:
        what = "--kind and --set belong to `ttsi plugins check`."
        raise UsageError(what, cure="ttsi plugins --help")
    _meant_check(args.what)
    return _list(args)


def _meant_check(word: str | None) -> None:
    """Raise UsageError for a word that is no kind and looks like `check`."""
    from ttsi._common.suggest import nearest
    from ttsi.errors import UsageError
    from ttsi.spec.schema import COMPONENTS

    kinds = [*COMPONENTS, *COMPONENTS.values(), *_OTHER_KINDS]
    if word is not None and nearest(word, ["check", *kinds]) == "check":
        what = f'There is no kind of plugin "{word[:200]}".'
        raise UsageError(what, cure="Did you mean: ttsi plugins check NAME")


# ---------------------------------------------------------------- the list


def _list(args: argparse.Namespace) -> int:
    from ttsi import registry

    rows = registry.listing(_plural(args.what))
    rows = [row | {"path": _path(row["origin"])} for row in rows]
    if args.name is not None:
        rows = _named(args.name, rows)
    if args.json:
        console.print_json({"plugins": rows})
    elif args.name is not None:
        console.say("\n\n".join(map(_whole, rows)))
    else:
        kinds = dict.fromkeys(row["kind"] for row in rows)
        said = [_of_kind(kind, [row for row in rows if row["kind"] == kind]) for kind in kinds]
        console.say("\n\n".join(said))
    return 0


def _named(name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of this name: two where it is a clash. Raises UsageError without any."""
    from ttsi._common.suggest import did_you_mean
    from ttsi.errors import UsageError

    found = [row for row in rows if row["name"] == name]
    if not found:
        names = sorted({row["name"] for row in rows})
        raise UsageError(f'There is no such plugin: "{name}".', cure=did_you_mean(name, names))
    return found


def _of_kind(kind: str, rows: Sequence[dict[str, Any]]) -> str:
    from ttsi.spec.schema import COMPONENTS, DESCRIPTIONS

    keys = {each: key for key, each in COMPONENTS.items()}
    what = DESCRIPTIONS[keys[kind]] if kind in keys else _OTHER_KINDS[kind]
    return "\n".join([_entry(kind, what, ""), *(_entry(row["name"], _gist(row)) for row in rows)])


def _gist(row: dict[str, Any]) -> str:
    """Return what a plugin is for, with its package if that is not ttsi, or why it is no use."""
    gist = " ".join(row["does"].partition("\n\n")[0].split())
    package = "" if row["builtin"] else f"({row['distribution']} {row['version']})"
    state = "" if row["state"] == "ready" else f"{row['state']}: {row['why']}"
    return " ".join(filter(None, (gist, package, state)))


def _entry(name: str, text: str, indent: str = "  ") -> str:
    """Return a name and a text beside it, in lines of the terminal's width."""
    head = f"{indent}{name}"
    first = head.ljust(_INDENT) if len(head) < _INDENT - 1 else head + "  "
    return _wrapped(first + text, " " * _INDENT) if text else head


def _wrapped(text: str, later: str = "") -> str:
    import shutil
    import textwrap

    width = min(shutil.get_terminal_size().columns, _WIDEST)
    lines = textwrap.wrap(
        text,
        max(width, 2 * _INDENT),
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def _whole(row: dict[str, Any]) -> str:
    """Return all about one plugin: its docstring, its options, and where it comes from."""
    about = [_wrapped(" ".join(each.split())) for each in row["does"].split("\n\n")]
    options = [_option(name, each) for name, each in _properties(row).items()]
    place = f"{row['distribution']} {row['version']}, {row['origin']}, in {row['path'] or '?'}"
    parts = [
        f"{row['kind']} {row['name']}",
        *filter(None, about),
        *([] if row["state"] == "ready" else [f"{row['state']}: {row['why']}"]),
        "\n".join(["options:", *options]) if options else "It has no options.",
        f"from {place}",
    ]
    return "\n\n".join(parts)


def _option(name: str, option: dict[str, Any]) -> str:
    import json

    default = json.dumps(option["default"]) if "default" in option else "..."
    allowed = [json.dumps(each) for each in option.get("enum", ())]
    one_of = f"One of {', '.join(allowed)}." if allowed else ""
    return _entry(f"{name}={default}", f"{option.get('description', '')} {one_of}".strip())


def _properties(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (row["options"] or {}).get("properties", {})
    return found


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
