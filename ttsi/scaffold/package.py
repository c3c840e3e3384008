"""The files of a new package, rendered and written."""

from __future__ import annotations

import json
import tempfile
import textwrap
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ttsi._common.version import __version__
from ttsi.errors import UsageError
from ttsi.scaffold.kinds import STARTS, spec
from ttsi.scaffold.names import Names
from ttsi.spec.schema import COMPONENTS

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def files(names: Names) -> dict[str, str]:
    """Return the text of every file of the package, by path relative to its folder."""
    source, tests = f"src/{names.module}", f"tests/test_{names.module}.py"
    rendered = {
        "README.md": "common/README.md.j2",
        "pyproject.toml": "common/pyproject.toml.j2",
        ".gitignore": "common/gitignore",
        ".github/workflows/test.yml": "common/test.yml.j2",
        f"{source}/__init__.py": f"{names.start}/plugin.py.j2",
        tests: f"{names.start}/test.py.j2",
    }
    made = {path: _text(template, names) for path, template in rendered.items()}
    if names.kind in COMPONENTS.values():
        made["spec.json"] = json.dumps(spec(names), indent=2) + "\n"
    made[f"{source}/py.typed"] = ""
    for data in sorted((TEMPLATES / names.start).glob("*.json")):
        made[f"{source}/{data.name}"] = data.read_text(encoding="utf-8")
    return made


def write(names: Names, parent: Path) -> list[Path]:
    """Write the package into a new folder of `parent`, all or nothing, and return its files.

    Raises UsageError where something of that name exists, or a parent folder is a file.
    """
    folder = parent / names.distribution
    if folder.exists() or folder.is_symlink():
        raise UsageError(
            f"There is a {names.distribution} here already, and nothing is overwritten.",
            where=str(folder),
            cure="Choose another name, or another place with --to DIR. To put a second plugin "
            "into a package, add a class to it and a line to its entry points.",
        )
    _make(parent)
    with tempfile.TemporaryDirectory(dir=parent, prefix=f".{names.distribution}-") as draft:
        whole = Path(draft) / names.distribution
        for path, text in files(names).items():
            target = whole / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="\n")
        whole.rename(folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _make(parent: Path) -> None:
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        what = "A package can be written into a folder only, and this is a file."
        raise UsageError(what, where=str(error.filename), cure="--to DIR") from error


def _text(template: str, names: Names) -> str:
    """Return a file of templates/, rendered if it ends in .j2."""
    if not template.endswith(".j2"):
        return (TEMPLATES / template).read_text(encoding="utf-8")
    return str(
        _environment()
        .get_template(template)
        .render(names=names, start=STARTS[names.start], needs_ttsi=__version__, wrapped=_wrapped)
    )


def _wrapped(*words: str) -> str:
    """Return the words as a paragraph of Markdown, wrapped at 100 characters."""
    return textwrap.fill(" ".join(words), 100, break_long_words=False, break_on_hyphens=False)


@cache
def _environment() -> Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
