"""BM25: which texts are nearest to a query, by the words that they share.

With N texts, df(w) of which hold the word w, tf(w) occurrences of w in a text of n words, and a
mean length of m words:

    score = sum over the query's different words w of
            log(1 + (N - df(w) + 0.5) / (df(w) + 0.5)) * tf(w) / (tf(w) + K1 * (1 - B + B * n / m))
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

K1, B = 1.2, 0.75
_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


class Bm25:
    """An index over `texts`; a query takes time linear in the occurrences of its words."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(words(text)) for text in texts]
        lengths = [sum(count.values()) for count in counts]
        mean = sum(lengths) / max(1, len(texts)) or 1.0
        self._size = len(texts)
        self._weights: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for at, (count, length) in enumerate(zip(counts, lengths, strict=True)):
            saturation = K1 * (1 - B + B * length / mean)
            for word, times in count.items():
                self._weights[word].append((at, times / (times + saturation)))

    def scores(self, query: str) -> list[float]:
        """Return the score of each text, 0 where it shares no word with `query`."""
        found = [0.0] * self._size
        for word in dict.fromkeys(words(query)):
            places = self._weights.get(word, ())
            rarity = math.log(1 + (self._size - len(places) + 0.5) / (len(places) + 0.5))
            for at, weight in places:
                found[at] += rarity * weight
        return found

    def ranked(self, query: str) -> list[int]:
        """Return the places of all texts, the nearest first; of equals the first one first."""
        scores = self.scores(query)
        return sorted(range(self._size), key=lambda at: -scores[at])
