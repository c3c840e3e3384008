"""What engines say of errors that others raised."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, cut; its type's name if there is none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
