"""`ttsi schema [NAME]`: print a JSON Schema, for editors and for programs that read results."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ttsi._common import console

_FOLDER = Path(__file__).parent.parent / "schemas"
_SUFFIX = ".schema.json"


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "schema",
        help="print a JSON Schema; without a name, the names there are",
        description="Print a JSON Schema; without a name, the names there are. That of a spec is "
        "composed from the plugins installed here.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="spec, results, record, ...")
    parser.add_argument(
        "--builtins", action="store_true", help="spec: leave third-party plugins out"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ttsi._common.suggest import did_you_mean
    from ttsi.errors import UsageError

    names = sorted({path.name.removesuffix(_SUFFIX) for path in _FOLDER.glob(f"*{_SUFFIX}")})
    names = sorted({*names, "spec"})
    if args.name is None:
        for name in names:
            console.say(name)
    elif args.name == "spec":
        from ttsi.spec.schema import compose_schema

        console.print_json(compose_schema(builtins_only=args.builtins))
    elif args.name in names:
        console.say((_FOLDER / f"{args.name}{_SUFFIX}").read_text(encoding="utf-8").rstrip())
    else:
        what = f'There is no schema "{args.name}".'
        raise UsageError(what, cure=did_you_mean(args.name, names, noun="schemas"))
    return 0
