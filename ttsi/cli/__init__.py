"""One module per verb: `add_parser(subparsers)` declares it, `run(args) -> exit code` does it.

A module here imports nothing but light standard modules at its top; `run` imports the rest.
"""

from __future__ import annotations

from typing import Any


def json_or_text(value: str) -> Any:
    """The value of a KEY=VALUE argument: JSON where it is JSON, the text itself where it is not."""
    import json

    try:
        return json.loads(value)
    except ValueError:
        return value
