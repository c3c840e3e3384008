"""`ttsi calibrate`: what each threshold would give, and how several estimators compare."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttsi.cli import add_cells, wanted_cells

if TYPE_CHECKING:
    from ttsi.results.runs import Run
    from ttsi.running.cell_result import CellResult
    from ttsi.running.progress import Silent

EPILOG = """\
From a run's folder (runs/NAME-HASH, or one seed of it) the numbers come from its records, and no
model is loaded. From a spec, every sample is estimated and answered by the base model once, without
adapting; that is kept in the run's folder, so the same command again makes nothing anew. With
--fresh it does, as for other weights or data than those that made the estimates; what a run of the
spec has left stays, and `ttsi eval --fresh` forgets that.

Accuracy at a threshold is known where every sample uncertain there was adapted. A run at
threshold 1 adapts them all, so it knows the accuracy at every lower threshold:
  ttsi eval specs/quickstart.json --set estimator.threshold=1

examples:
  ttsi calibrate specs/quickstart.json
  ttsi calibrate specs/quickstart.json --limit 8 --thresholds 0.35,0.95,1
  ttsi calibrate runs/quickstart-HASH --budget 0.25
  ttsi calibrate runs/quickstart-HASH/seed-0 --json > calibration.json

Several runs that differ in the estimator alone are put side by side, a row each, and so are the
--estimators of a spec, which share their base answers. `selection` is the accuracy if each chose
the same share of the samples to adapt to (--budget, 0.25 unless said); it takes adapted answers of
these samples, which a run with the estimator `always` has. --plot draws their ROC.
  ttsi calibrate runs/margin-HASH runs/entropy-HASH runs/always-HASH --plot roc.svg
  ttsi calibrate specs/quickstart.json --estimators rss_margin,entropy,perplexity
  ttsi calibrate specs/study/sealtool.json --cell method=tt-si --estimators rss_margin,entropy

A budget needs no labels. `ttsi eval SPEC --set estimator.threshold=T` then runs at the threshold
chosen; choose it on other samples than those that you report.
"""


def add_parser(subparsers: Any) -> None:
    from ttsi.cli.eval import add_changes

    parser = subparsers.add_parser(
        "calibrate",
        help="what each threshold would give, from one set of estimates",
        description="Sweep the estimator's threshold over one set of estimates: uncertain, TPR, "
        "FPR, J, F1, and accuracy where it is known; and suggest a threshold.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths", nargs="+", metavar="SPEC|RUN", help="a JSON spec, or the folders of runs"
    )
    parser.add_argument("--thresholds", metavar="T,T,...", help="these, comma-separated")
    parser.add_argument(
        "--budget", type=float, metavar="F", help="the threshold that adapts this share, 0 to 1"
    )
    parser.add_argument("--plot", metavar="FILE", help="of several estimators: their ROC, as SVG")
    parser.add_argument("--json", action="store_true", help="print it all as one JSON object")
    of_spec = parser.add_argument_group("for a spec", "as for `ttsi eval`")
    add_changes(of_spec, example="estimator.context=bare")
    add_cells(of_spec)
    of_spec.add_argument(
        "--estimators", metavar="A,B,...", help="these instead of its own, side by side"
    )
    of_spec.add_argument("--fresh", action="store_true", help="forget the estimates made before")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ttsi._common import console
    from ttsi.errors import UsageError
    from ttsi.results.calibration import calibrate, check_budget

    chosen = _thresholds(args.thresholds)
    if args.budget is not None:
        check_budget(args.budget)
    runs = _runs(args)
    if args.estimators or len(args.paths) > 1:
        _side_by_side(args, runs)
        return 0
    if args.plot:
        raise UsageError(
            "--plot draws several estimators.", cure="Name more runs, or --estimators."
        )
    found = [calibrate(each, chosen, args.budget) for each in runs]
    if args.json:
        console.print_json({"runs": found})
    else:
        from rich.console import Console

        from ttsi.cli.calibration_tables import show

        for each in found:
            show(each, Console(highlight=False, markup=False))
    # The errors of a stored run are shown, but this command did not cause them.
    failed = any(each["all"]["errors"] for each in found)
    return 3 if failed and not Path(args.paths[0]).is_dir() else 0


def _thresholds(text: str | None) -> list[float] | None:
    from ttsi.errors import UsageError

    if text is None:
        return None
    try:
        found = [float(each) for each in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 <= each <= 1 for each in found):
        what = f"--thresholds {text!r} is not a list of numbers from 0 to 1."
        raise UsageError(what, cure="--thresholds 0.35,0.95,1")
    return found


def _runs(args: argparse.Namespace) -> list[Run]:
    """Return the named runs, or the runs of the named spec's cells, estimated where necessary."""
    from ttsi.cli.eval import overrides
    from ttsi.errors import UsageError
    from ttsi.results.runs import open_run

    changed = overrides(args)
    paths = [Path(path) for path in args.paths]
    if all(path.is_dir() for path in paths):
        if changed or args.estimators or args.cells:
            keys = ", ".join(sorted(changed) or ["estimator" if args.estimators else "cell"])
            what = f"A finished run cannot be changed in {keys}."
            raise UsageError(what, where=str(paths[0]), cure="Name its spec, not its folder.")
        if args.fresh:
            what = "--fresh makes estimates anew, and from a run's folder none are made."
            raise UsageError(what, where=str(paths[0]), cure="Name its spec, not its folder.")
        return [open_run(path, _journal_in(path)) for path in paths]
    if len(paths) > 1:
        what = "Several paths have to be folders of runs."
        cure = "Name one spec, with --estimators A,B,... for several estimators."
        raise UsageError(what, where=str(next(p for p in paths if not p.is_dir())), cure=cure)
    return _estimates(args, changed)


def _estimates(args: argparse.Namespace, changed: dict[str, Any]) -> list[Run]:
    """Return the runs of the spec's cells, with estimates."""
    from ttsi.running.evaluate import estimates

    reporter = reporter_of(args)
    try:
        cells = estimates(
            Path(args.paths[0]),
            out=args.out,
            overrides=changed,
            reporter=reporter,
            fresh=args.fresh,
            cells=wanted_cells(args.cells),
            estimators=args.estimators.split(",") if args.estimators else (),
        )
    finally:
        reporter.stop()
    return [_estimated(cell) for cell in cells]


def _estimated(cell: CellResult) -> Run:
    """Return the estimates of a cell's seeds only: its folder may hold more seeds."""
    from dataclasses import replace

    from ttsi.records.journal import ESTIMATES
    from ttsi.results.runs import open_run

    found = open_run(cell.folder, ESTIMATES)
    return replace(found, seeds=tuple(each for each in found.seeds if each.seed in cell.seeds))


def _journal_in(folder: Path) -> str:
    """Return the journal to read: SAMPLES, or ESTIMATES where only that has all samples.

    SAMPLES has the adaptations, but in an unfinished run not all samples, and under a budget the
    uncertain ones first.
    """
    from ttsi.records.journal import ESTIMATES, SAMPLES

    places = [folder, *folder.glob("seed-*")]
    begun = [place for place in places if (place / SAMPLES).is_file()]
    unfinished = any(not (place / "manifest.json").is_file() for place in begun)
    estimated = all((place / ESTIMATES).is_file() for place in begun)
    return ESTIMATES if estimated and (unfinished or not begun) else SAMPLES


def reporter_of(args: argparse.Namespace) -> Silent:
    """Return the reporter of a command that prints its own results."""
    from ttsi._common import console
    from ttsi.running.progress import Bars, Lines, Silent

    if args.quiet or args.json:
        return Silent()
    return Bars() if console.can_redraw(sys.stderr) else Lines()


# ---------------------------------------------------------------- several estimators


def _side_by_side(args: argparse.Namespace, runs: list[Run]) -> None:
    from ttsi._common import console
    from ttsi.errors import UsageError
    from ttsi.report.labels import labels
    from ttsi.results.estimators import SHARE, side_by_side

    if args.thresholds is not None:
        what = "--thresholds sweeps one estimator, and here are several."
        raise UsageError(what, cure="Leave it out, or name one run.")
    names = labels(runs)
    found = side_by_side(runs, names, SHARE if args.budget is None else args.budget)
    if args.plot:
        _plot(runs, names, args.plot)
    if args.json:
        console.print_json(found)
    else:
        from rich.console import Console

        from ttsi.cli.calibration_tables import show_estimators

        show_estimators(found, Console(highlight=False, markup=False))


def _plot(runs: list[Run], names: list[str], path: str) -> None:
    from ttsi._common.files import write_atomically
    from ttsi.errors import UsageError
    from ttsi.pages.plots import standalone
    from ttsi.report.figures import estimators
    from ttsi.results.estimators import rated

    drawn = estimators(rated(runs, names))
    if drawn is None:
        what = "There is no curve: the base model is right on all, or wrong on all."
        raise UsageError(what, cure="Leave --plot out, or choose other samples.")
    write_atomically(Path(path), standalone(drawn.svg))
