"""What all our pages share: one file each that loads nothing, escapes all, in light and dark.

`templates/shell.html.j2` is the frame that a page's own template extends; `plots.css` holds the
colours, `base.css` what every page looks like, `theme.js` turns light into dark.
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
    """The page in `folder` (page.html.j2, style.css, script.js) about `shown`, as HTML.

    Whatever a template puts out is escaped, and characters are left out that HTML cannot hold or
    that would turn the writing direction. By its Content-Security-Policy the page may load nothing
    and run no script but its own.
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
    """What a template puts out, without characters that HTML cannot hold."""
    from markupsafe import Markup

    from ttsi.pages.text import visible

    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _csp_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
