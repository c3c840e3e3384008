"""Output: messages for people on stderr, results for programs on stdout."""

from __future__ import annotations

import contextlib
import os
import sys
from io import TextIOWrapper
from typing import Any, TextIO

_quiet = False


def be_quiet(quiet: bool) -> None:
    """Say whether notes are left out from now on; errors and warnings never are."""
    global _quiet
    _quiet = quiet


def prepare() -> None:
    """Make the standard streams writable, whatever state the caller left them in.

    If one is closed, the next file that is opened would get its number, and text that a library
    writes to "stdout" would go into that file, for instance a journal. Characters that an encoding
    cannot hold are escaped.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            if not _is_open(number):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            mode = "w" if number else "r"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def flush() -> None:
    """Flush both streams now: at exit Python would complain and set an exit code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            give_up(stream)


def give_up(stream: TextIO | None = None) -> None:
    """Discard what is still to be written to this stream (None: both), since nobody reads it."""
    for each in (sys.stdout, sys.stderr) if stream is None else (stream,):
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, each.fileno())
            os.close(null)


def error(message: str) -> None:
    """Write one message to stderr, after `error:`."""
    warn(f"{_bold('error:', sys.stderr)} {message}")


def note(message: str) -> None:
    """Write a line to stderr, unless this process is quiet."""
    if not _quiet:
        warn(message)


def warn(message: str) -> None:
    """Write a line to stderr; if that fails, only the exit code reports what is wrong."""
    with contextlib.suppress(OSError, ValueError):
        print(message, file=sys.stderr, flush=True)


def say(message: str) -> None:
    """Write a line to stdout; characters that its encoding cannot hold are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    print(message.encode(encoding, "backslashreplace").decode(encoding))


def print_json(value: Any) -> None:
    """Write one JSON value to stdout, indented, in ASCII, so that any pipe can carry it."""
    import json

    print(json.dumps(value, indent=2))


def is_plain(stream: TextIO) -> bool:
    """Whether colour is off: NO_COLOR is set (no-color.org), or lines cannot be redrawn."""
    return bool(os.environ.get("NO_COLOR")) or not can_redraw(stream)


def can_redraw(stream: TextIO) -> bool:
    """Whether a line that was written can be written over: on a terminal that is not dumb."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _bold(text: str, stream: TextIO) -> str:
    return text if is_plain(stream) else f"\033[1;31m{text}\033[0m"
