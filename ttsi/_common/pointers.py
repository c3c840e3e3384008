"""JSON pointers (RFC 6901): the place of a value in a JSON document."""

from __future__ import annotations


def pointer(*tokens: str | int) -> str:
    """Return the JSON pointer of these steps."""
    return "".join("/" + str(t).replace("~", "~0").replace("/", "~1") for t in tokens)


def unescaped(step: str) -> str:
    """Return one step of a JSON pointer as the key that it means."""
    return step.replace("~1", "/").replace("~0", "~")


def tokens_of(json_pointer: str) -> list[str]:
    """Split a JSON pointer, which begins with a slash, into its steps."""
    return list(map(unescaped, json_pointer.split("/")[1:]))
