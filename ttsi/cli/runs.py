"""`ttsi runs`: list runs, with what tells them apart."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ttsi._common import console

if TYPE_CHECKING:
    from ttsi.results.listing import Listed

EPILOG = """\
examples:
  ttsi runs                        those in the folder runs, the latest last
  ttsi runs elsewhere runs/old-HASH
  ttsi runs --json | jq '.runs[] | {folder, accuracy, differs}'

Below each run stand the settings in which runs of its name differ. Accuracies are means over the
finished seeds, before and with adaptation. An unfinished run goes on by the command that began it.
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "runs",
        help="list runs, with what tells them apart",
        description="List the runs in a folder: what they are of, how far they are, how they went, "
        "and the settings that tell runs of one name apart.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folders",
        nargs="*",
        default=["runs"],
        metavar="FOLDER",
        help="where runs are, or a run (default: runs)",
    )
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ttsi.results.listing import listed

    found = listed([Path(folder) for folder in args.folders])
    if args.json:
        console.print_json({"runs": [each.as_json() for each in found]})
        return 0
    for each in found:
        for line in _lines(each):
            console.say(line)
    return 0


def _lines(run: Listed) -> list[str]:
    """Return the lines about a run: its folder, what it is of, and the settings that differ."""
    from ttsi._common.inputs import shown

    if run.trouble:
        return [shown(run.folder), f"    cannot be read: {run.trouble}"]
    when = run.worked[:16].replace("T", " ")
    about = f"    {run.model} on {run.benchmark}, {_progress(run)}, {_accuracy(run)}"
    lines = [f"{shown(run.folder)}  {when}", about]
    if run.differs:
        lines.append(f"    {_settings(run)}")
    return lines


def _progress(run: Listed) -> str:
    finished = [str(seed) for seed, whole in run.seeds.items() if whole]
    begun = [str(seed) for seed, whole in run.seeds.items() if not whole]
    said = []
    if finished:
        errors = f" ({run.errors} errors)" if run.errors else ""
        said.append(f"seed {', '.join(finished)}: {run.samples} samples{errors}")
    if begun:
        said.append(f"seed {', '.join(begun)} unfinished: {run.so_far} finished so far")
    return "; ".join(said)


def _accuracy(run: Listed) -> str:
    if run.accuracy is None:
        return "no result yet"
    base = "" if run.base_accuracy is None else f"{100 * run.base_accuracy:.1f} % -> "
    return f"{base}{100 * run.accuracy:.1f} %"


def _settings(run: Listed) -> str:
    from ttsi.pages import text
    from ttsi.results.differences import short

    keys = list(run.differs)
    said = {short(key, keys): value for key, value in run.differs.items() if value is not None}
    return ", ".join(f"{key} {text.visible(text.setting(value))}" for key, value in said.items())
