"""`ttsi new-plugin KIND NAME`: write a package to start a plugin from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EPILOG = """\
KIND is what the plugin does in a run:
  benchmark    asks: rows as samples, with the right answers
  environment  a benchmark of episodes: conversations with tools, played in steps
  answer       a form of answers: reads, writes and compares them
  estimator    H: is the model uncertain about this input?
  generator    G: makes training examples like the input
  learner      T: adapts the model to them
  inference    draws the answer
  engine       runs the model
  executor     runs waves of samples on workers
  scorer       tells whether an answer is right

NAME is the package's name, or package/plugin: acme-doubt gives the package acme-doubt with the
plugin acme-doubt/doubt, acme-doubt/length the same package with the plugin acme-doubt/length. That
is the name which specs use.

What is written works at once: a small plugin with options, tests that hold it to the contract of
its kind, a spec that runs it, a README, and a workflow for CI. Nothing is ever overwritten.

examples:
  ttsi new-plugin estimator acme-doubt/length
  ttsi new-plugin benchmark acme-desk --to ~/plugins
  ttsi new-plugin environment acme-house
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "new-plugin",
        help="write a package to start a plugin from",
        description="Write a complete package with a plugin in it, ready to be installed, tested, "
        "changed and published.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", metavar="KIND", help="estimator, benchmark, ... (see below)")
    parser.add_argument("name", metavar="NAME", help="PACKAGE or PACKAGE/PLUGIN")
    parser.add_argument(
        "--to",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where to put the package's folder; default: here",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ttsi._common import console
    from ttsi.scaffold.names import read_names
    from ttsi.scaffold.package import write

    names = read_names(args.kind, args.name)
    written = write(names, args.to)
    folder = args.to / names.distribution
    if args.quiet:
        return 0
    console.say(f"The {names.noun} {names.name}, in {folder}:")
    for path in written:
        console.say(f"  {path.relative_to(folder)}")
    _say_what_next(folder, names.name, spec=folder / "spec.json" in written)
    return 0


def _say_what_next(folder: Path, name: str, *, spec: bool) -> None:
    import shlex

    from ttsi._common import console

    commands = {
        f"cd {shlex.quote(str(folder))}": "",
        'python -m pip install -e ".[test]"': "ttsi finds it from then on",
        "python -m pytest": "its contract, and what it does",
        f"ttsi plugins check {name}": "the contract alone",
    }
    if spec:
        commands["ttsi validate spec.json"] = "a spec that names it"
        commands["ttsi eval spec.json"] = "and a short run"
    console.say("\nNext:")
    width = max(len(command) for command in list(commands)[1:]) + 2
    for command, what in commands.items():
        console.say(f"  {command:<{width}}{what}".rstrip())
