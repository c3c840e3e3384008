"""The frame of all pages: a page is one HTML file that loads nothing and escapes all data.

A page's template extends `templates/shell.html.j2`. `plots.css` has the colours, `base.css` the
styles of every page, `theme.js` the switch between light and dark.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).parent / "templates"
_STYLES = (TEMPLATES / "plots.css", TEMPLATES / "base.css")
_SCRIPTS = (TEMPLATES / "theme.js",)


def fill(folder: Path, shown: dict[str, Any]) -> str:
    """Render the page in `folder` (page.html.j2, style.css, script.js) with the variables `shown`.

    Output is escaped, and characters that HTML cannot hold or that change the writing direction are
    replaced. The page's Content-Security-Policy lets it load nothing and run only its own script.
    """
    import jinja2

    from ttsi._common.version import __version__

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    script = _joined(*_SCRIPTS, folder / "script.js")
    return templates.get_template("page.html.j2").render(
        shown,
        style=_joined(*_STYLES, folder / "style.css"),
        script=script,
        script_hash=_csp_hash(script),
        version=__version__,
    )


def _joined(*files: Path) -> str:
    return "".join(file.read_text(encoding="utf-8") for file in files)


def _visible(value: Any) -> Any:
    """Return a template's output with the characters replaced that HTML cannot hold."""
    from markupsafe import Markup

    from ttsi.pages.text import visible

    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _csp_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
