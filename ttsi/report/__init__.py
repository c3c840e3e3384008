"""Reports on runs: one HTML file that needs no network and is readable without scripts.

    facts      a run's numbers                 page       the page's content as data
    headline   three numbers and a sentence    samples    one sample's record as data
    figures    which plots a report has        charts     kinds of plot
    about      spec, versions and dates        labels     names to tell runs apart

Frame, templates and drawing come from ttsi.pages. The text in a run is untrusted: templates escape
it, plots are built as XML, and the page's Content-Security-Policy forbids every request and every
other script.
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
    """Write one HTML page on one or more runs to `path`.

    `sections`: (title, HTML) of further sections, as `ttsi_report_sections` returns them. Their
    HTML is not escaped, but can neither run a script nor load anything. `limit_samples`: the most
    samples of each run that the page has. Raises UsageError without a run, StorageError where the
    file cannot be written.
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
    """Return the page of `write_report` as text."""
    from ttsi.pages.shell import TEMPLATES, fill
    from ttsi.report.page import page

    return fill(TEMPLATES, page(runs, sections=sections, limit=limit_samples))
