"""Runs as one HTML file that opens anywhere: no network, no other file, readable without script.

    facts    a run's numbers            figures  which plots       page     what is shown, as data
    samples  one sample's story         charts   kinds of plot     plots    canvas, axes, legend
    templates/                          how it looks

All text in a run is the work of a model or a stranger: templates escape it, plots are built as XML,
and the page forbids itself, by its Content-Security-Policy, every request and every other script.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ttsi.errors import StorageError, UsageError
from ttsi.journal import write_atomically
from ttsi.runs import Run

TEMPLATES = Path(__file__).parent / "templates"
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
    import jinja2

    from ttsi import __version__
    from ttsi.report.page import page

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    script = (TEMPLATES / "script.js").read_text(encoding="utf-8")
    return templates.get_template("page.html.j2").render(
        page(runs, sections=sections, limit=limit_samples),
        style="".join((TEMPLATES / f).read_text("utf-8") for f in ("plots.css", "style.css")),
        script=script,
        script_hash=_csp_hash(script),
        version=__version__,
    )


def _visible(value: Any) -> Any:
    """What a template puts out, without characters that HTML cannot hold."""
    from markupsafe import Markup

    from ttsi.report.text import visible

    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _csp_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
