"""Runs as one HTML file that opens anywhere: no network, no other file, readable without script.

    facts    a run's numbers            figures  which plots       page     what is shown, as data
    samples  one sample's story         charts   kinds of plot     plots    canvas, axes, legend
    templates/                          how it looks          shell    what all our pages share

All text in a run is the work of a model or a stranger: templates escape it, plots are built as XML,
and the page forbids itself, by its Content-Security-Policy, every request and every other script.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ttsi._common.files import write_atomically
from ttsi.errors import StorageError, UsageError
from ttsi.results.runs import Run

MOST_SAMPLES = 500


def write_report(
    runs: Sequence[Run],
    path: str | Path,
    *,
    sections: Sequence[tuple[str, str]] = (),
    limit_samples: int = MOST_SAMPLES,
) -> None:
    """Write one HTML page on one run or more to `path`.

    `sections`: (title, HTML) of more sections, as `ttsi_report_sections` gives them; their HTML is
    not escaped, but may neither run a script nor load anything. `limit_samples`: how many samples
    of each run are there to browse. Raises UsageError without a run, StorageError where the file
    cannot be written.
    """
    if not runs:
        raise UsageError("There is no run to report on.", cure="ttsi report RUN")
    text = html(runs, sections=sections, limit_samples=limit_samples)
    try:
        write_atomically(Path(path), text)
    except StorageError as error:
        cure = "Name a file that can be written with -o FILE."
        raise StorageError(error.what, where=error.where, cure=cure) from error


def html(
    runs: Sequence[Run],
    *,
    sections: Sequence[tuple[str, str]] = (),
    limit_samples: int = MOST_SAMPLES,
) -> str:
    """The page of `write_report` as text."""
    from ttsi.pages.shell import TEMPLATES, fill
    from ttsi.report.page import page

    return fill(TEMPLATES, page(runs, sections=sections, limit=limit_samples))
