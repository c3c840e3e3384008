"""Boards: groups of entries that can be compared, ordered by accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ttsi.leaderboard.comparable import Ground, in_words, is_ranked

Entry = Mapping[str, Any]
"""What `ttsi.leaderboard.entries.entry_of` returns for one submission."""


@dataclass(frozen=True)
class Board:
    """The entries that can be compared with each other: `entries` are ranked, the best first.

    Those in `partial` answered only some of the samples, perhaps the easy ones, and have no rank;
    they are in the order of their numbers of samples, the most first.
    """

    ground: Ground
    entries: tuple[Entry, ...]
    partial: tuple[Entry, ...]

    @property
    def key(self) -> str:
        return self.ground.key

    def ranks(self) -> list[int]:
        """Return the rank of each entry by accuracy; equal accuracies share a rank."""
        first: dict[float, int] = {}
        means = (each["accuracy"]["mean"] for each in self.entries)
        return [first.setdefault(mean, place) for place, mean in enumerate(means, start=1)]

    def apart(self, entry: Entry) -> str:
        """Return the settings that tell an entry from others of its organisation, method and model.

        "" where there are no others, or where settings do not tell.
        """
        every = (*self.entries, *self.partial)
        like = [each["settings"] for each in every if _who(each) == _who(entry)]
        keys = sorted({key for settings in like for key in settings})
        own = entry["settings"]
        varying = [key for key in keys if any(each.get(key) != own.get(key) for each in like)]
        return ", ".join(in_words({key: own.get(key, "default") for key in varying}))


def _who(entry: Entry) -> tuple[str, str, str]:
    return entry["org"], entry["method"], entry["model"]


def boards(entries: Iterable[Entry]) -> list[Board]:
    """Group the entries that can be compared into boards, sorted by title."""
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
        tuple(sorted(partial, key=lambda each: (-each["samples"], each["path"]))),
    )


def titles(boards: Sequence[Board]) -> list[str]:
    """Return a name for each board, with the data's revision where names would be the same."""
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
