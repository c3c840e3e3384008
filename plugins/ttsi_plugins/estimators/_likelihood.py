"""The likelihood of an answer's own tokens: of names and values, and not of their notation.

Counted are the tokens that write a tool's name, an argument's name or a value, and that hold a
letter or a digit. Tokens that the grammar forced do not count. Where an answer has no such part, as
one that declines, all of its text counts.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from statistics import fmean
from typing import Literal, TypeAlias

from ttsi import (
    JSON,
    Completion,
    Generation,
    UsageError,
    behind_thoughts,
)

Over: TypeAlias = Literal["all", "names", "values"]
Reduce: TypeAlias = Literal["mean", "min"]

_MISSES = 20
"""After so many parts that are not found in the text, the others are not looked for."""


def likelihood(made: Generation, answer: Completion, over: Over, reduce: Reduce) -> float:
    """Return exp of the mean or the least log-probability of the counted tokens, in [0, 1].

    It is 0 for an answer that cannot be read or was cut off before its end, and 1 where no token
    counts. Raises UsageError if the engine does not tell its tokens.
    """
    if made.completion_tokens and not made.tokens:
        raise UsageError(
            "This engine does not tell the log-probabilities of its tokens.",
            where="estimators call_likelihood and call_agreement",
            cure="Choose the engine transformers, or the estimator perplexity.",
        )
    if not answer.readable:
        return 0.0
    counted = list(_counted(made, answer, over))
    if not counted:
        return 1.0
    return math.exp(min(0.0, fmean(counted) if reduce == "mean" else min(counted)))


def _counted(made: Generation, answer: Completion, over: Over) -> Iterator[float]:
    """Yield the log-probabilities of the tokens that count, in order."""
    spans = _spans(made.text, answer.answer.value, over)
    place = end = 0
    for token in made.tokens:
        begin, end = end, end + len(token.text)
        while place < len(spans) and spans[place][1] <= begin:
            place += 1
        within = place < len(spans) and spans[place][0] < end
        if within and not token.forced and any(map(str.isalnum, token.text)):
            yield token.logprob


def _spans(text: str, value: JSON, over: Over) -> list[tuple[int, int]]:
    """Return where names and values are in the text, in order; without any, where its answer is."""
    start = len(text) - len(behind_thoughts(text) or "")
    whole = [(start, len(text))]
    if value is None:  # the answer declines: it has no names and values
        return whole
    if isinstance(value, str):
        # Where an answer is one text, what leads to it may hold the same text.
        return [each.span() for each in _spelt(value).finditer(text, start)][-1:] or whole
    found, at, misses = [], start, 0
    for kind, part in _parts(value):
        place = _spelt(part).search(text, at)
        if place is not None:
            at = place.end()
            found += [place.span()] if over in ("all", kind) else []
        elif misses == _MISSES:
            break
        else:
            misses += 1
    return found or whole


def _parts(value: JSON) -> Iterator[tuple[str, JSON]]:
    """Yield the names and values of an answer, in the order in which a text gives them."""
    if isinstance(value, list):
        for item in value:
            yield from _parts(item)
    elif isinstance(value, dict) and isinstance(value.get("arguments"), dict):
        yield "names", value.get("name")
        for name, given in value["arguments"].items():
            yield "names", name
            yield from (("values", leaf) for leaf in _leaves(given))
    else:
        yield from (("values", leaf) for leaf in _leaves(value))


def _leaves(value: JSON) -> Iterator[JSON]:
    """Yield the texts, numbers and words of a value, keys included."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _spelt(part: JSON) -> re.Pattern[str]:
    """Return a pattern of a name or value as a whole word; it finds nothing if that is empty."""
    spellings = {str(part), json.dumps(part), json.dumps(part, ensure_ascii=False)}
    if isinstance(part, str):
        spellings = {part} | {each[1:-1] for each in spellings - {part}}
    longest_first = sorted(filter(None, spellings), key=len, reverse=True)
    either = "|".join(map(re.escape, longest_first)) or "(?!)"
    return re.compile(rf"(?<!\w)(?:{either})(?!\w)")
