"""One module per verb: `add_parser(subparsers)` declares it, `run(args) -> exit code` runs it.

At its top a module imports only light modules, to keep `ttsi --help` fast; `run` imports the rest.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def add_common(parser: argparse.ArgumentParser, *, default: object) -> None:
    """Add the options that all commands have."""
    for flags, text in (
        (("--debug",), "show tracebacks"),
        (("-q", "--quiet"), "say only what is asked for, and what goes wrong"),
    ):
        parser.add_argument(*flags, action="store_true", default=default, help=text)


def add_settings(to: Any, help: str) -> None:
    """Add --set KEY=VALUE, which `settings` reads, to a parser or an argument group."""
    to.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings", help=help
    )


def add_cells(to: Any) -> None:
    """Add --cell AXIS=VALUE, which `wanted_cells` reads, to a parser or an argument group."""
    to.add_argument(
        "--cell",
        action="append",
        default=[],
        metavar="AXIS=VALUE",
        dest="cells",
        help="only these cells of the spec's matrix, such as method=tt-si; may be repeated",
    )


def wanted_cells(texts: Iterable[str]) -> dict[str, list[Any]]:
    """Return what each --cell asks for, by axis. Raises UsageError."""
    wanted: dict[str, list[Any]] = {}
    for text in texts:
        found = settings([text], example="--cell method=tt-si", what="--cell", form="AXIS=VALUE")
        for axis, value in found.items():
            wanted.setdefault(axis, []).append(value)
    return wanted


def settings(
    texts: Iterable[str], *, example: str, what: str = "--set", form: str = "KEY=VALUE"
) -> dict[str, Any]:
    """Return the values of arguments by key: parsed if JSON, else the text itself.

    Raises UsageError, in which `what` names the argument, `form` is its form and `example` is one.
    """
    from ttsi.errors import UsageError

    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise UsageError(f"{what} {text!r} is not {form}.", cure=example)
        found[key] = _json_or_text(value)
    return found


def _json_or_text(value: str) -> Any:
    import json

    try:
        return json.loads(value)
    except ValueError:
        return value


def beside_seeds(out: str | None, run: str, name: str, flag: str) -> Path:
    """Return the file that `out` names, by default `name` beside the folders of the run's seeds.

    It is not written into them, since their manifests list all their files. Raises UsageError
    for a folder; its cure uses `flag`.
    """
    from ttsi._common.inputs import quoted
    from ttsi.errors import UsageError

    if out is None:
        from ttsi.results.runs import whole_run

        return whole_run(Path(run)) / name
    if Path(out).is_dir():
        what = f"{name} is a file, and this is a folder."
        raise UsageError(what, where=out, cure=f"{flag} {quoted(Path(out) / name)}")
    return Path(out)
