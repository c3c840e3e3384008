"""Boards: entries that can be compared, in the order of their accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ttsi.leaderboard.comparable import Ground, is_ranked

Entry = Mapping[str, Any]
"""What `ttsi.leaderboard.entries.entry` gives of one submission."""


@dataclass(frozen=True)
class Board:
    """All that can be compared: `entries` are ranked, the best first.

    `partial` answered some of the samples only, which may be the easy ones: they have no rank.
    """

    ground: Ground
    entries: tuple[Entry, ...]
    partial: tuple[Entry, ...]

    @property
    def key(self) -> str:
        return self.ground.key

    def ranks(self) -> list[int]:
        """The place of each entry by accuracy; those that are level share theirs."""
        first: dict[float, int] = {}
        means = (each["accuracy"]["mean"] for each in self.entries)
        return [first.setdefault(mean, place) for place, mean in enumerate(means, start=1)]


def boards(entries: Iterable[Entry]) -> list[Board]:
    """Entries by what can be compared; boards in the order of their titles."""
    grouped: dict[str, list[Entry]] = {}
    for each in entries:
        grouped.setdefault(Ground.of(each).key, []).append(each)
    found = [_board(some) for some in grouped.values()]
    return sorted(found, key=lambda board: (board.ground.title, board.key))


def _board(entries: Sequence[Entry]) -> Board:
    partial = [each for each in entries if not is_ranked(each)]
    return Board(
        Ground.of(entries[0]),
        tuple(_by_accuracy([each for each in entries if is_ranked(each)])),
        tuple(sorted(partial, key=lambda each: str(each["path"]))),
    )


def titles(boards: Sequence[Board]) -> list[str]:
    """A name for each board; it has the data's revision where that alone tells it from another."""
    names = Counter(board.ground.title for board in boards)
    return [
        board.ground.title
        + (f", data {short(board.ground.revision)}" if names[board.ground.title] > 1 else "")
        for board in boards
    ]


def short(revision: str) -> str:
    return revision.removeprefix("sha256:")[:12]


def _by_accuracy(entries: Sequence[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda each: (-each["accuracy"]["mean"], each["path"]))
