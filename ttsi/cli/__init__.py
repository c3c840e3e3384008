"""One module per verb: `add_parser(subparsers)` declares it, `run(args) -> exit code` runs it.

At its top a module imports only light modules, to keep `ttsi --help` fast; `run` imports the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def json_or_text(value: str) -> Any:
    """Return the value of a KEY=VALUE argument: parsed if it is JSON, else the text itself."""
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
        folder = Path(run)
        if (folder / "samples.jsonl").is_file():
            folder = folder.resolve().parent
        return folder / name
    if Path(out).is_dir():
        what = f"{name} is a file, and this is a folder."
        raise UsageError(what, where=out, cure=f"{flag} {quoted(Path(out) / name)}")
    return Path(out)
