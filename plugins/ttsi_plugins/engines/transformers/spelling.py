"""Which part of a text each of its tokens wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

from .prefixes import common

# Places at which a text is tried to be cut, and so the tokens that are looked at one by one: all in
# all, the work does not grow faster than the text does.
_MOST = 16


def shares(
    ids: Sequence[int],
    whole: str,
    decoded: Callable[[Sequence[int]], str],
    spelled: Callable[[int], str],
) -> list[str]:
    """Return the part of `whole`, the text of `ids`, that each id wrote; joined they are `whole`.

    A character of several tokens belongs to the last of them. `decoded` returns the text of several
    ids, `spelled` that of one.
    """
    alone = [spelled(id) for id in ids]
    if "".join(alone) == whole:
        return alone
    middle = len(ids) // 2
    places = range(max(1, middle - _MOST // 2), min(len(ids), middle + _MOST // 2))
    for cut in sorted(places, key=lambda place: abs(place - middle)):
        left, right = decoded(ids[:cut]), decoded(ids[cut:])
        # A cut within a character would spoil it.
        if left + right == whole:
            return [
                *shares(ids[:cut], left, decoded, spelled),
                *shares(ids[cut:], right, decoded, spelled),
            ]
    if len(ids) > _MOST:
        return [""] * (len(ids) - 1) + [whole]
    ends = [common(decoded(ids[:end]), whole) for end in range(len(ids) + 1)]
    return [whole[one:other] for one, other in pairwise(accumulate(ends, max))]
