"""Whether a request states a value: do the value's words and numbers stand in it?

It is a test of words, not of meaning. It sees through case, accents, simple inflection, identifiers
(new_york, NewYork), number formats (1,000, 5k, 20 %, twenty five, 2:30 pm, first), names of months
and initials (US). It does not know synonyms, translations or codes (LYS for Lyon).

| value | is stated if |
|---|---|
| text | all its words stand in the request; those of the parameter's own name may be missing |
| number | a number of the request equals it, whatever the sign |
| true, false | a word of the parameter's name stands in the request |
| list, object | each of its items is stated, and there is one |
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from ttsi.types import JSON

_PART = re.compile(r"[^\W\d_]+|\d+")
_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?:\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?")
_AFTERNOON = re.compile(r"(?::\d\d)?\s?p\.?m(?![^\W_])")
_SCALE = re.compile(r"\s?(%|percent|k|m|bn|b|hundred|thousand|million|billion)(?![^\W_])")
_SUFFIX = re.compile(r"(?<=...)(?:ing|ed|ie|ly|e|y)?s?$")
_STEM = 6
_LONG = 5
"""Texts of so many letters are also found inside and across words: multiplayer in multi-player."""

_LITTLE = (
    "a an and are as at be by for from has have in include is it its no of on or that the this to "
    "use with"
)
_EMPTY = frozenset(_LITTLE.split())
_SMALL = (
    "zero none|one first single once|two second twice|three third|four fourth|five fifth|six sixth|"
    "seven seventh|eight eighth|nine ninth|ten tenth|eleven|twelve dozen|thirteen|fourteen|fifteen|"
    "sixteen|seventeen|eighteen|nineteen|twenty"
)
_MONTHS = (
    "|january jan|february feb|march mar|april apr|may|june jun|july jul|august aug|"
    "september sept sep|october oct|november nov|december dec"
)
_TENS = "||twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_SCALES = {
    "%": 0.01,
    "percent": 0.01,
    "hundred": 1e2,
    "k": 1e3,
    "thousand": 1e3,
    "m": 1e6,
    "million": 1e6,
    "b": 1e9,
    "bn": 1e9,
    "billion": 1e9,
}


def _values(names: str, unit: int = 1) -> dict[str, int]:
    """Return the place, counted from 0 in units, of each word in a list with bars between."""
    groups = enumerate(names.split("|"))
    return {word: place * unit for place, words in groups for word in words.split()}


_TEN_VALUES = _values(_TENS, 10)
_WORD_VALUES = _values(_MONTHS) | _values(_SMALL) | _TEN_VALUES


class Request:
    """The words and numbers of a request, collected in time linear in its text."""

    def __init__(self, text: str) -> None:
        folded = _folded(text)
        words = _PART.findall(folded)
        self._compact = "".join(words)
        self._stems = set(map(_stem, words))
        self._initials = "".join(word[0] for word in words)
        self._numbers = {_rounded(number) for number in (*_written(folded), *_in_words(words))}

    def states(self, value: JSON, name: str = "") -> bool:
        """Whether the request states `value`, the argument of the parameter `name`."""
        if isinstance(value, bool):
            return self._names(name)
        if isinstance(value, int | float):
            return self._counts(value)
        if isinstance(value, list):
            return bool(value) and all(self.states(item, name) for item in value)
        if isinstance(value, dict):
            return bool(value) and all(self.states(item, key) for key, item in value.items())
        return isinstance(value, str) and self._says(value, name)

    def _names(self, name: str) -> bool:
        words = [word for word in _words(name) if word not in _EMPTY]
        return self._contains("".join(words)) or any(_stem(word) in self._stems for word in words)

    def _counts(self, number: float) -> bool:
        try:
            return _rounded(number) in self._numbers
        except OverflowError:
            return False

    def _says(self, value: str, name: str) -> bool:
        if _NUMBER.fullmatch(value) and self._counts(float(value.replace(",", ""))):
            return True
        words = _words(value)
        if self._contains("".join(words)):
            return True
        named = set(map(_stem, _words(name)))
        # A name may stand in the request as it is, or with its parts as words: aBc, a bc.
        for parts in (words, _PART.findall(_folded(value))):
            telling = [word for word in parts if word not in _EMPTY and _stem(word) not in named]
            if parts and all(map(self._has, telling or parts)):
                return True
        return len(words) > 1 and "".join(word[0] for word in words) in self._stems

    def _has(self, word: str) -> bool:
        if word.isdecimal():
            number = float(word)
            return not number or self._counts(number)
        if _stem(word) in self._stems or (word in self._initials and 2 <= len(word) < _LONG):
            return True
        return not word.isascii() and word in self._compact

    def _contains(self, compact: str) -> bool:
        return len(compact) >= _LONG and compact in self._compact


def _folded(text: str) -> str:
    """Return the text without case and accents.

    Characters are decomposed one at a time, since ordering a long run of accents is slow.
    """
    if text.isascii():
        return text.lower()
    parts = (part for char in text for part in unicodedata.normalize("NFKD", char))
    return "".join(part for part in parts if not unicodedata.combining(part)).casefold()


def _words(text: str) -> list[str]:
    return _PART.findall(_folded(_CASE.sub(" ", text)))


def _stem(word: str) -> str:
    stem = _SUFFIX.sub("", word, count=1)
    if len(stem) > 3 and stem[-1] == stem[-2]:
        stem = stem[:-1]
    return stem[:_STEM]


def _rounded(number: float) -> float:
    return float(f"{abs(float(number)):.9g}")


def _written(folded: str) -> Iterator[float]:
    """Yield the numbers that a text writes in digits, each in all ways in which a value may."""
    for found in _NUMBER.finditer(folded):
        if "," in found[0]:
            yield from map(float, found[0].split(","))
        number = float(found[0].replace(",", ""))
        yield number
        if _AFTERNOON.match(folded, found.end()):
            yield number + 12
        elif scale := _SCALE.match(folded, found.end()):
            yield number * _SCALES[scale[1]]


def _in_words(words: list[str]) -> Iterator[float]:
    """Yield the numbers that words give: twenty, five and 25 of "twenty five"; 5 of May."""
    before, tens = 0.0, False
    for word in words:
        value = float(_WORD_VALUES.get(word, 0))
        if word in _SCALES and before:
            value = before * _SCALES[word]
        elif tens and 0 < value < 10:
            yield value
            value += before
        before, tens = value, word in _TEN_VALUES
        if value or word in _WORD_VALUES:
            yield value
