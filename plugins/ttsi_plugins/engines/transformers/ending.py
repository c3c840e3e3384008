"""When no more of a text is wanted: its stops, and clients that have gone; and who hears of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ttsi import Request

from .tokens import Tokens

if TYPE_CHECKING:
    from . import TransformersEngine

_TELLING_SECONDS = 0.05
"""The least time between two texts that a listener is told."""


def over(
    request: Request, options: TransformersEngine, tokens: Tokens
) -> Callable[[list[int], int], bool] | None:
    """Return what says of a text that no more of it is wanted; None if nothing could.

    It is given the text's tokens, and how many of them are a thought, in which no stop counts.
    """
    stop, owner, left = request.stop, request.owner, options.left
    told = options.listener(owner) if options.listener and owner else None
    if not stop and told is None and (left is None or not owner):
        return None
    due = 0.0
    # A character has four bytes at most, and a token one at least.
    tail = 4 * max(map(len, stop), default=0) + 4

    def found(text: list[int], thought: int) -> bool:
        nonlocal due
        if left is not None and owner and left(owner):
            return True
        if told is not None and text and time.monotonic() >= due:
            told(tokens.decode(text))
            due = time.monotonic() + _TELLING_SECONDS
        at = max(thought, len(text) - tail)
        written = tokens.decode(text[at:]) if stop else ""
        # Line breaks behind a thought belong to its mark.
        written = written.lstrip() if at == thought > 0 else written
        return any(each in written for each in stop)

    return found
