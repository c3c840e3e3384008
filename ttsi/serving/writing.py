"""An answer while the base model writes it: the part of the text that will not change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from ttsi.answers.objects import behind_thoughts
from ttsi.serving.tickets import Ticket

_MARKS = ("<", "[", "\u25c1")
"""A text that begins with one of these may turn out to be a thought."""
_HALF = "\ufffd"


class Writing:
    """What a ticket is told of its text. Where tokens are asked for, they are told at the end."""

    def __init__(self, ticket: Ticket) -> None:
        self._future, self._news, self._text = ticket.future, asyncio.Event(), ""
        asked = ticket.task.asked
        self._stops = asked.stop if asked else ()
        if not (asked and asked.tokens):
            ticket.told = self._tell
        self._future.add_done_callback(lambda _: self._news.set())

    def _tell(self, text: str) -> None:
        self._text = text
        self._news.set()

    async def grown(self) -> AsyncIterator[str]:
        """Yield what there is more of the text, until the answer is there."""
        sent = ""
        while not self._future.done():
            text = settled(self._text, self._stops)
            if len(text) > len(sent) and text.startswith(sent):
                yield text[len(sent) :]
                sent = text
            await self._news.wait()
            self._news.clear()


def settled(text: str, stops: Sequence[str]) -> str:
    """Return the part of a text under way that belongs to the answer whatever is written next.

    That is neither half a character, nor what may be the beginning of a stop, nor a thought.
    """
    if text.lstrip().startswith(_MARKS) or behind_thoughts(text) != text:
        return ""
    whole = text.rstrip(_HALF)
    ends = [at for stop in stops if (at := whole.find(stop)) >= 0]
    held = max(map(len, stops), default=1) - 1
    return whole[: max(0, min([len(whole) - held, *ends]))]
