"""One module per verb: `add_parser(subparsers)` declares it, `run(args) -> exit code` runs it.

At its top a module imports only light modules, to keep `ttsi --help` fast; `run` imports the rest.
"""

from __future__ import annotations

from typing import Any


def json_or_text(value: str) -> Any:
    """Return the value of a KEY=VALUE argument: parsed if it is JSON, else the text itself."""
    import json

    try:
        return json.loads(value)
    except ValueError:
        return value
