"""Plots of docs/results.md: `python docs/plots.py LABEL=RUN...`, from runs' folders.

Accuracy and change of all the runs, and what the report of the first one shows, are written as
docs/results/0.1.0/plots/NAME.svg. They need the records of the runs: those of a submission will do.
"""

from __future__ import annotations

import sys
from pathlib import Path

from stored import OLD

from ttsi.pages.plots import standalone
from ttsi.report.facts import Facts
from ttsi.report.figures import Figure, accuracy, differences, figures
from ttsi.results.runs import open_run

OF_THE_FIRST = ("reasons", "confidence", "roc", "risk", "sweep", "stages")


def main(arguments: list[str]) -> None:
    runs = []
    for argument in arguments:
        label, _, folder = argument.partition("=")
        runs.append((label, Facts(open_run(Path(folder)))))
    if not runs:
        sys.exit(__doc__)
    first = figures(runs[0][1])
    plots: dict[str, Figure | None] = {
        "accuracy": accuracy(runs),
        "differences": differences(runs),
        **{name: first.get(name) for name in OF_THE_FIRST},
    }
    folder = OLD / "plots"
    folder.mkdir(exist_ok=True)
    for name, figure in plots.items():
        if figure is not None:
            (folder / f"{name}.svg").write_text(standalone(figure.svg) + "\n")
            print(folder / f"{name}.svg")


if __name__ == "__main__":
    main(sys.argv[1:])
