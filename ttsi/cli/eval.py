"""`ttsi eval`: run a spec and score it; the run can be resumed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttsi.cli import add_cells, add_settings, settings, wanted_cells

if TYPE_CHECKING:
    from ttsi.running.cell_result import CellResult
    from ttsi.running.progress import Silent

EPILOG = """\
examples:
  ttsi eval specs/quickstart.json
  ttsi eval specs/sealtool-smollm2.json --limit 40
  ttsi eval specs/sealtool-smollm2.json --set inference.format=free --set seeds=[1,2,3]
  ttsi eval specs/paper/figure2-left.json --cell method=base --cell method=tt-si
  ttsi eval specs/sealtool-smollm2.json --model ./my-model --wave 4 --json > events.jsonl

Every finished sample is on disk at once. Stop it as you like: the same command resumes, and only
what is missing or failed is run. --set stop_at.minutes=30 or --set stop_at.usd=5 ends it by itself.
Cells that would get the same answers from the base model ask it once, if one command runs them.
What shapes results is in seed-S/identity.json: a run is not resumed with other weights, plugins or
data, and the message says what differs.
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "eval",
        help="run a spec on its benchmark and score it",
        description="Run the spec's method on its benchmark, score it, and leave files that can "
        "be verified. Base and adapted answers are paired.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("spec", metavar="SPEC", help="a JSON spec (see `ttsi schema spec`)")
    add_changes(parser, example="estimator.threshold=0.5")
    add_cells(parser)
    parser.add_argument("--fresh", action="store_true", help="forget what was finished before")
    parser.add_argument("--json", action="store_true", help="events as JSON lines on stdout")
    parser.add_argument("--progress", choices=["auto", "bars", "lines", "none"], default="auto")
    parser.set_defaults(run=run)


def add_changes(to: Any, *, example: str) -> None:
    """Add the options that `overrides` reads, and --out, to a parser or an argument group."""
    to.add_argument("--limit", type=int, help="this many samples, evenly spaced")
    to.add_argument("--model", metavar="ID", help="another model: Hub id, folder, .gguf")
    to.add_argument("--seeds", metavar="N,N,...", help="run seeds, comma-separated")
    to.add_argument("--wave", type=int, help="samples that pass the stages together")
    add_settings(to, f"change any key of the spec, such as {example}")
    to.add_argument("--out", default="runs", help="where run folders go (default: runs)")


def run(args: argparse.Namespace) -> int:
    from ttsi._common.console import note, warn
    from ttsi.errors import LimitReached
    from ttsi.running.evaluate import evaluate

    reporter = _reporter(args)
    try:
        cells = evaluate(
            Path(args.spec),
            out=args.out,
            overrides=overrides(args),
            reporter=reporter,
            fresh=args.fresh,
            cells=wanted_cells(args.cells),
        )
    except LimitReached as reached:
        reporter.stop()
        warn(str(reached))
        return reached.exit_code
    except KeyboardInterrupt:
        reporter.stop()
        note("\nInterrupted. Every finished sample is on disk; the same command resumes.")
        return 130
    finally:
        reporter.stop()
    if not args.json:
        _show(cells, quiet=args.quiet)
    return exit_code(cells)


def overrides(args: argparse.Namespace) -> dict[str, Any]:
    """Return the command line's changes to the spec, by dotted key. Raises UsageError."""
    from ttsi.errors import UsageError

    changed = settings(args.settings, example="--set seeds=[1,2]")
    if args.limit is not None:
        changed["benchmark.limit"] = args.limit
    if args.model is not None:
        changed["model.id"] = args.model
    if args.wave is not None:
        changed["executor.wave"] = args.wave
    if args.seeds is not None:
        try:
            changed["seeds"] = [int(seed) for seed in args.seeds.split(",")]
        except ValueError:
            raise UsageError(
                f"--seeds {args.seeds!r} is not a list of whole numbers.", cure="--seeds 0,1,2"
            ) from None
    return changed


def exit_code(cells: list[CellResult]) -> int:
    """Return 0 without errors, 3 where some samples ended in an error, 1 where all did."""
    errors = sum(cell.errors for cell in cells)
    if errors == 0:
        return 0
    return 1 if errors == sum(cell.samples for cell in cells) else 3


def _reporter(args: argparse.Namespace) -> Silent:
    from ttsi._common import console
    from ttsi.running.progress import Bars, Events, Lines, Silent

    if args.json:
        return Events()
    kind = "none" if args.quiet else args.progress
    if kind == "auto":
        kind = "bars" if console.can_redraw(sys.stderr) else "lines"
    return {"bars": Bars, "lines": Lines, "none": Silent}[kind]()


def _show(cells: list[CellResult], *, quiet: bool) -> None:
    """Print the table of results, unless `quiet`, and warn of samples without one."""
    from rich.console import Console

    from ttsi._common.console import warn
    from ttsi.running.summary import show, show_grid

    console = Console(quiet=quiet)
    if len(cells) > 1:
        show_grid(cells, console)
    else:
        show(cells[0], console)
    failed = sum(cell.errors for cell in cells)
    if failed:
        warn(
            f"{failed} samples ended in an error (samples.jsonl says which and why); "
            "the same command tries them again."
        )
