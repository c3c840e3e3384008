"""`ttsi calibrate`: the results that each threshold would give, from one set of estimates."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from ttsi.results.runs import Run
    from ttsi.running.evaluate import CellResult
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
    parser.add_argument("path", metavar="SPEC|RUN", help="a JSON spec, or the folder of a run")
    parser.add_argument("--thresholds", metavar="T,T,...", help="these, comma-separated")
    parser.add_argument(
        "--budget", type=float, metavar="F", help="the threshold that adapts this share, 0 to 1"
    )
    parser.add_argument("--json", action="store_true", help="print it all as one JSON object")
    of_spec = parser.add_argument_group("for a spec", "as for `ttsi eval`")
    add_changes(of_spec, example="estimator.context=bare")
    of_spec.add_argument("--fresh", action="store_true", help="forget the estimates made before")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ttsi._common import console
    from ttsi.results.calibration import calibrate, check_budget

    chosen = _thresholds(args.thresholds)
    if args.budget is not None:
        check_budget(args.budget)
    runs = _runs(args)
    found = [calibrate(each, chosen, args.budget) for each in runs]
    if args.json:
        console.print_json({"runs": found})
    else:
        from rich.console import Console

        for each in found:
            show(each, Console(highlight=False, markup=False))
    # The errors of a stored run are shown, but this command did not cause them.
    failed = any(each["all"]["errors"] for each in found)
    return 3 if failed and not Path(args.path).is_dir() else 0


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
    """Return the named run, or the runs of the named spec's cells, estimated where necessary."""
    from ttsi.cli.eval import overrides
    from ttsi.errors import UsageError
    from ttsi.results.runs import open_run
    from ttsi.running.evaluate import estimates

    changed = overrides(args)
    path = Path(args.path)
    if path.is_dir():
        if changed:
            what = f"A finished run cannot be changed in {', '.join(sorted(changed))}."
            raise UsageError(what, where=str(path), cure="Name its spec, not its folder.")
        if args.fresh:
            what = "--fresh makes estimates anew, and from a run's folder none are made."
            raise UsageError(what, where=str(path), cure="Name its spec, not its folder.")
        return [open_run(path, _journal_in(path))]
    reporter = reporter_of(args)
    try:
        cells = estimates(
            path, out=args.out, overrides=changed, reporter=reporter, fresh=args.fresh
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
    return Lines() if console.is_plain(sys.stderr) else Bars()


# ---------------------------------------------------------------- for people


def show(found: dict[str, Any], console: Console) -> None:
    """Print the numbers over all seeds: the sweep as a table, and remarks and suggestions below."""
    from rich.table import Table

    numbers, seeds = found["all"], list(found["by_seed"])
    title = (
        f"{found['name']}: {found['estimator']['name']} of {found['model']} on "
        f"{found['benchmark']}, {numbers['samples']} samples"
    )
    if len(seeds) > 1:
        title += f" (seeds {', '.join(seeds)} together)"
    console.print(title, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("threshold", "uncertain", "TPR", "FPR", "J", "F1", "accuracy"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    marks = _marks(found)
    for row in numbers["sweep"]:
        table.add_row(
            str(row["threshold"]),
            _share(row["uncertain"], numbers["samples"]),
            *(_rate(row[key]) for key in ("tpr", "fpr", "j", "f1")),
            _percent(row["accuracy"]),
            ", ".join(marks.get(row["threshold"], [])),
        )
    console.print(table)
    for line in _remarks(numbers):
        console.print(line, soft_wrap=True)


def _marks(found: dict[str, Any]) -> dict[float, list[str]]:
    """Return the remarks beside each threshold in the table."""
    suggested = found["all"]["suggested"]
    marks: dict[float, list[str]] = {}
    for label, threshold in (
        ("this run", found["threshold"]),
        ("largest J", (suggested["by_j"] or {}).get("threshold")),
        ("most accurate", (suggested["by_accuracy"] or {}).get("threshold")),
        ("budget", (found["all"]["budget"] or {}).get("threshold")),
    ):
        if threshold is not None:
            marks.setdefault(float(threshold), []).append(label)
    return marks


def _remarks(numbers: dict[str, Any]) -> list[str]:
    samples, lines = numbers["samples"], []
    if numbers["errors"]:
        count = f"{numbers['errors']} sample{'s' if numbers['errors'] > 1 else ''}"
        lines.append(f"{count} ended in an error: not correct at any threshold")
    if numbers["labelled"]:
        risks = numbers["risk_at_coverage"]
        lines += [
            f"AUROC {_rate(numbers['auroc'])}; the base model is wrong on {numbers['wrong']}",
            f"risk at coverage {'/'.join(risks)} %: "
            + " / ".join(_percent(risk) for risk in risks.values()),
        ]
        lines += _suggestions(numbers)
    else:
        lines.append("not every base answer was made or scored, so no rate is known (--budget)")
    budget = numbers["budget"]
    if budget:
        lines.append(
            f"budget {budget['fraction']:g}: threshold {budget['threshold']} makes "
            f"{_share(budget['uncertain'], samples)} uncertain"
        )
    return lines


def _suggestions(numbers: dict[str, Any]) -> list[str]:
    by_j, by_accuracy = numbers["suggested"]["by_j"], numbers["suggested"]["by_accuracy"]
    lines = []
    if by_j is None:
        lines.append("suggested: none, as the base model is right on all, or wrong on all")
    elif by_j["j"] <= 0:
        lines.append("suggested: none; no threshold flags wrong answers more often than right ones")
    else:
        lines.append(
            f"suggested: threshold {by_j['threshold']} (J {by_j['j']:.2f}), "
            f"--set estimator.threshold={by_j['threshold']}"
        )
    if by_accuracy is not None:
        nothing = "" if by_accuracy["uncertain"] else ", adapting to none"
        lines.append(
            f"most accurate of those known: threshold {by_accuracy['threshold']} "
            f"({_percent(by_accuracy['accuracy'])}{nothing})"
        )
    return lines


def _share(count: int, samples: int) -> str:
    return f"{count} ({_percent(count / samples)})"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
