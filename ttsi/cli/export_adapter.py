"""`ttsi export-adapter`: write the adapter of one sample as a folder that PEFT loads."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttsi.types import JSON

EPILOG = """\
RUN is a folder that `ttsi eval` wrote: runs/NAME-HASH, or one seed of it. SAMPLE is a sample's id,
as in its samples.jsonl and its report.

A run throws each adapter away with its answer. What it was made of is in the sample's record: it is
made again from that, on the run's model and by the run's learner, and its digest is compared with
the recorded one. First it is trained alone. If the digest differs, because a batch rounds sums
differently, it is trained again with the other samples of its wave. If it still differs, nothing
is written and the exit code is 4, unless --allow-mismatch is given.

DIR is made: adapter_model.safetensors, adapter_config.json, README.md, and receipt.json, which says
where it comes from and whether the digest is equal.

examples:
  ttsi export-adapter runs/quickstart-d34db33f00 quickstart/3 adapters/quickstart-3
  ttsi export-adapter runs/tt-si-1f3b6e88d0 sealtool/17 ./adapter --seed 2 --json
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "export-adapter",
        help="the adapter of one sample, as a folder that PEFT loads",
        description="Make the adapter of one sample again from its record, compare its digest with "
        "the receipt's, and write it in PEFT's format.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_folder", metavar="RUN", help="the folder of a run")
    parser.add_argument("sample", metavar="SAMPLE", help="a sample's id, such as sealtool/17")
    parser.add_argument("folder", metavar="DIR", help="write here; must be new or empty")
    parser.add_argument(
        "--seed", type=int, metavar="N", help="the run seed (needed where RUN has several)"
    )
    parser.add_argument(
        "--allow-mismatch",
        action="store_true",
        help="write the adapter even if its digest is not the receipt's",
    )
    parser.add_argument("--json", action="store_true", help="print receipt.json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ttsi._common import console
    from ttsi.results.exporting import export
    from ttsi.results.runs import open_run

    receipt = export(
        open_run(args.run_folder),
        args.sample,
        Path(args.folder),
        seed=args.seed,
        allow_mismatch=args.allow_mismatch,
    )
    if args.json:
        console.print_json(receipt)
    elif not args.quiet:
        for line in _lines(receipt, args.folder):
            console.say(line)
    return 0


def _lines(receipt: Mapping[str, JSON], folder: str) -> list[str]:
    if receipt["equal"]:
        verdict = f"digest equal: {receipt['digest']}"
    else:
        verdict = f"digest NOT equal: {receipt['digest']}, in the record {receipt['recorded']}"
    lines = [f"{receipt['sample']}, seed {receipt['seed']}", verdict]
    if receipt["beside"]:
        lines.append(f"trained with {len(receipt['beside'])} others of its wave, as in the run")
    return [*lines, folder]
