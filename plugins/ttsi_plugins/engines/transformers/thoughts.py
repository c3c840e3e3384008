"""Thoughts before an answer: how they are marked, and how long they may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

THOUGHTS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"))
"""The marks with which models begin and close a thought."""


@dataclass(frozen=True)
class Thought:
    """A thought that a row writes before its answer.

    It has at most `most` tokens; then `closing`, the ids of the closing mark, are written for the
    model. `closes` says whether a text of ids has just closed it.
    """

    most: int
    closing: Sequence[int]
    closes: Callable[[Sequence[int]], bool]

    @property
    def room(self) -> int:
        """The most tokens that it takes, its closing included."""
        return self.most + len(self.closing)
