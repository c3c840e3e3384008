"""`ttsi export`: write the records of a run as a table, or as a log of Inspect."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ttsi.cli import beside_seeds

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {"csv": "records.csv", "parquet": "records.parquet", "inspect": "records.eval"}

EPILOG = """\
RUN is a folder that `ttsi eval` wrote: runs/NAME-HASH with all its seeds, or one seed of it. Of a
run that is not finished, the samples so far are written.

csv      a row for each sample and seed. Beware of types: `parquet` keeps them. A text that a
         spreadsheet would calculate (it begins with = + - @ and is no number) gets an apostrophe in
         front, and so does a text that begins with one.
parquet  the same table, with types and exact texts; needs pip install 'ttsi[export]'
inspect  a log for `inspect view` and Inspect's data frames, with requests, answers and scores;
         needs pip install 'ttsi[inspect]'

The columns and their units are in docs/export.md.

examples:
  ttsi export runs/quickstart-d34db33f00
  ttsi export runs/quickstart-d34db33f00 --to parquet --out records.parquet
  ttsi export runs/quickstart-d34db33f00/seed-0 --to inspect --out logs/quickstart.eval
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "export",
        help="a run's records as CSV, Parquet, or a log that `inspect view` opens",
        description="Write the records of a run as a table with a row for each sample and seed, or "
        "as a log of Inspect.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_folder", metavar="RUN", help="the folder of a run")
    parser.add_argument("--to", choices=KINDS, default="csv", help="default: csv")
    parser.add_argument(
        "-o", "--out", metavar="FILE", help="write here (default: RUN/records.csv, and so on)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ttsi._common import console
    from ttsi.errors import StorageError

    path = beside_seeds(args.out, args.run_folder, KINDS[args.to], "--out")
    try:
        _write(args.to, Path(args.run_folder), path)
    except StorageError as error:
        cure = "Name a file that can be written with --out FILE."
        raise StorageError(error.what, where=error.where, cure=cure) from error
    # The output may be a pipe to another program, which wants no more than the table.
    if not args.quiet and path.is_file():
        console.say(str(path))
    return 0


def _write(kind: str, run: Path, path: Path) -> None:
    from ttsi._common import console
    from ttsi.results.inspect_log import write_inspect
    from ttsi.results.tabular import write_csv, write_parquet

    if kind == "csv":
        write_csv(run, path)
    elif kind == "parquet":
        write_parquet(run, path)
    elif trouble := write_inspect(run, path):
        console.note(f"The log has no requests and references: {trouble}")
