"""`ttsi report`: write runs as one HTML file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ttsi.cli import beside_seeds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ttsi.results.runs import Run

EPILOG = """\
RUN is a folder that `ttsi eval` wrote: runs/NAME-HASH with all its seeds, or one seed of it. Runs
that are not finished are shown as far as they are. Several runs are compared first, then shown one
by one.

The file needs no network and no other file. Requests and references are read from the benchmark; a
report is made without them where that cannot be loaded.

examples:
  ttsi report runs/quickstart-d34db33f00
  ttsi report runs/quickstart-d34db33f00 --open
  ttsi report runs/base-7c0de51a92 runs/tt-si-1f3b6e88d0 -o both.html
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "report",
        help="runs as one HTML page that needs no network",
        description="Write one self-contained HTML page on one run or more: accuracy with "
        "intervals, flips, the estimator's curves, cost, and every sample to browse.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="the folder of a run")
    parser.add_argument(
        "-o", "--out", metavar="FILE", help="write here (default for one run: RUN/report.html)"
    )
    parser.add_argument(
        "--limit-samples",
        type=int,
        default=500,
        metavar="N",
        help="this many samples of each run to browse (default: 500); flips and errors first; "
        "each adds 1 to 10 kB to the page",
    )
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ttsi._common import console
    from ttsi.errors import UsageError
    from ttsi.report import write_report
    from ttsi.results.runs import open_run

    if args.limit_samples < 0:
        raise UsageError(
            "--limit-samples cannot be negative.", cure="--limit-samples 0 shows none."
        )
    path = _path(args.out, args.runs)
    runs = [open_run(folder) for folder in args.runs]
    _warn_of_size(runs, args.limit_samples)
    write_report(runs, path, sections=_sections(runs), limit_samples=args.limit_samples)
    if not args.quiet:
        console.say(str(path))
    if args.open:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
    return 0


def _path(out: str | None, runs: Sequence[str]) -> Path:
    """Return where to write the report. Raises UsageError."""
    from ttsi.errors import UsageError

    if out is None and len(runs) > 1:
        what = "A report on several runs needs a place of its own."
        raise UsageError(what, cure="Add -o FILE, such as -o report.html.")
    return beside_seeds(out, runs[0], "report.html", "-o")


_LARGE = 50 * 2**20
"""Bytes of a page beyond which browsers are slow to open it."""


def _warn_of_size(runs: Sequence[Run], limit: int) -> None:
    """Say so before the work if the page will be large: it is about as large as its records."""
    from ttsi._common import console
    from ttsi.records.journal import SAMPLES

    size = 0.0
    for run in runs:
        records = sum(len(seed.records) for seed in run.seeds)
        stored = sum((seed.folder / SAMPLES).stat().st_size for seed in run.seeds)
        size += stored * min(1.0, limit / max(records, 1))
    if size > _LARGE:
        console.note(
            f"note: the page will have about {size / 2**20:,.0f} MiB, which browsers are slow to "
            "open or refuse. --limit-samples 500 shows flips and errors first."
        )


def _sections(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Return the sections that plugins add; with several runs, titles name the run's folder."""
    from ttsi.hooks import Hooks

    hooks = Hooks()
    return [
        (f"{title} ({run.folder.name})" if len(runs) > 1 else title, html)
        for run in runs
        for title, html in hooks.report_sections(run)
    ]
