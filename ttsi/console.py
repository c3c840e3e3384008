"""What ttsi says to people on stderr and to programs on stdout."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO


def error(message: str) -> None:
    """One message on stderr, after `error:`."""
    print(f"{_bold('error:', sys.stderr)} {message}", file=sys.stderr)


def note(message: str) -> None:
    print(message, file=sys.stderr)


def say(message: str) -> None:
    """A line on stdout; what its encoding cannot hold is escaped, never fatal."""
    encoding = sys.stdout.encoding or "utf-8"
    print(message.encode(encoding, "backslashreplace").decode(encoding))


def print_json(value: Any) -> None:
    """One JSON value on stdout, indented, in ASCII, so that any pipe can carry it."""
    import json

    print(json.dumps(value, indent=2))


def is_plain(stream: TextIO) -> bool:
    """No colour: not a terminal, or NO_COLOR is set (no-color.org), or a dumb terminal."""
    return (
        not stream.isatty() or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    )


def _bold(text: str, stream: TextIO) -> str:
    return text if is_plain(stream) else f"\033[1;31m{text}\033[0m"
