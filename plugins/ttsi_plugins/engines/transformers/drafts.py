"""Speculative decoding without a draft model: guesses at what a row writes next.

A pass of decoding reads them beside the row's last token (prompt lookup, forced tokens, earlier
answers).

A guess changes how many passes a text takes, and not the text: the row keeps what it draws, as far
as that is the guess. What a pass computes is the same up to rounding, so that in 16 bits, where
tokens often nearly tie, texts may differ from those of other passes, as they do from batch to
batch. Sources are asked in this order: what the grammar forces; earlier answers to the same
question (the base model's for the adapted one, an attempt of G's for the next); repetition of the
row's own text and prompt, by the last three tokens or the last two; and the words of the question
behind the last word. A guess goes on while it is likely enough to be right, judged by how the
source did before.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Hashable, Sequence

from ttsi import JSON

from .grammar import Matcher

SOURCES = GRAMMAR, EARLIER, REPEATED, PAIR, WORD = (
    "grammar",
    "earlier answers",
    "repetition of three",
    "repetition of two",
    "words of the question",
)

MOST = 16
"""The most tokens of a guess."""

_FORCED = 512
"""Characters of a forced text that are made into tokens: 16 tokens are hardly ever longer."""

# The least probability that a token is kept, and the tokens before it: below it, reading the token
# takes longer than it saves.
_WORTH = 0.35
# How likely a source's tokens are right before any was tried, and how far one token changes that:
# for rows that begin later, and for the row itself.
_CHANCE, _FOR_ALL, _FOR_ROW = 0.8, 0.02, 0.15
# Tokens of answers that are kept, answers to a question, and prompts that are searched.
_TOKENS, _ANSWERS, _PROMPTS = 2**20, 4, 32
# Tokens at a prompt's end that are searched for words, and the letters of a word that counts.
_QUESTION, _LETTERS = 256, 3
# What stands before the first token of an answer.
_START = (-1, -1, -1)


class Places:
    """Which tokens of a text follow its pairs and triples of neighbouring tokens."""

    def __init__(self, ids: Sequence[int] = ()) -> None:
        self._ids: list[int] = []
        self._behind: dict[tuple[int, ...], list[int]] = {}
        self.extend(ids)

    def extend(self, ids: Sequence[int]) -> None:
        for token in ids:
            at = len(self._ids)
            for size in (2, 3):
                if at >= size:
                    self._behind.setdefault(tuple(self._ids[-size:]), []).append(at)
            self._ids.append(token)

    def follow(self, ending: Sequence[int], near: int | None = None) -> tuple[int, list[int]]:
        """Return a place in the text behind the tokens of `ending`, two or three, and what stands
        there.

        It is the last such place; with `near` the first one from `near` on, if there is one.
        """
        found = self._behind.get(tuple(ending), ())
        if not found:
            return 0, []
        at = found[-1]
        if near is not None:
            at = next((place for place in found if place >= near), at)
        return at, self._ids[at : at + MOST]


class Answers:
    """Answers to the latest questions, and how the guesses of all rows did.

    `guessed` counts tokens by source, and `right` those that rows drew. `chances` are the shares of
    tokens that were right lately.
    """

    def __init__(self) -> None:
        # Questions and each one's answers, the latest last.
        self._to: OrderedDict[Hashable, OrderedDict[tuple[int, ...], None]] = OrderedDict()
        self._tokens = 0
        self._prompts: OrderedDict[tuple[int, ...], Places] = OrderedDict()
        self.guessed: Counter[str] = Counter()
        self.right: Counter[str] = Counter()
        self.chances = dict.fromkeys(SOURCES, _CHANCE)

    def to(self, question: Hashable) -> list[Places]:
        """Return the answers to `question`, the latest first."""
        known = reversed(self._to.get(question, {}))
        return [Places([*_START, *text]) for text in known]

    def add(self, question: Hashable, text: Sequence[int]) -> None:
        known, answer = self._to.setdefault(question, OrderedDict()), tuple(text)
        self._to.move_to_end(question)
        if answer not in known:
            self._tokens += _size(answer)
        known[answer] = None
        known.move_to_end(answer)
        if len(known) > _ANSWERS:
            self._tokens -= _size(known.popitem(last=False)[0])
        while self._tokens > _TOKENS:
            _, oldest = self._to.popitem(last=False)
            self._tokens -= sum(map(_size, oldest))

    def in_prompt(self, prompt: tuple[int, ...]) -> Places:
        """Return the places in a prompt, which rows with the same one share."""
        places = self._prompts.pop(prompt, None) or Places(prompt)
        self._prompts[prompt] = places
        if len(self._prompts) > _PROMPTS:
            self._prompts.popitem(last=False)
        return places

    def clear(self) -> None:
        """Forget all answers and prompts, and how likely guesses are right; counts stay."""
        self.chances = dict.fromkeys(SOURCES, _CHANCE)
        self._to.clear()
        self._prompts.clear()
        self._tokens = 0

    def count_anew(self) -> None:
        """Begin to count guesses from 0."""
        self.guessed.clear()
        self.right.clear()

    def describe(self) -> dict[str, JSON]:
        """Return how many tokens of each source were guessed, and how many of them were right."""
        return {
            source: {"guessed": self.guessed[source], "right": self.right[source]}
            for source in SOURCES
        }


def _size(text: Sequence[int]) -> int:
    """Return the tokens that an answer counts as; keeping any takes some memory."""
    return len(text) + 16


class Drafter:
    """The guesses of one row.

    `tokens` returns the ids of a text that the grammar forces, `spelled` the text of an id. `ends`
    are never guessed: behind them there is nothing.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        question: Hashable,
        answers: Answers,
        tokens: Callable[[str], list[int]],
        spelled: Callable[[int], str],
        ends: Collection[int] = (),
    ) -> None:
        self.question = question
        self.answers = answers
        self._prompt, self._ends = tuple(prompt), ends
        self._tokens, self._spelled = tokens, spelled
        self._own, self._read = Places(), 0
        self._in_prompt: Places | None = None
        self._earlier: list[tuple[Places, int]] | None = None
        self._words: dict[str, int] | None = None
        self._chances: dict[str, float] = {}
        # The source of each token of the latest guess.
        self._sources: list[str] = []

    def guess(self, text: Sequence[int], room: int, grammar: Matcher | None) -> list[int]:
        """Return up to `room` tokens that may follow `text`, all of them allowed by `grammar`."""
        self._sources = []
        if room <= 0:
            return []
        self._own.extend(text[self._read :])
        self._read = len(text)
        self._chances = self._chances or dict(self.answers.chances)
        draft: list[int] = []
        try:
            self._fill(draft, text[-3:], min(room, MOST), grammar)
        finally:
            if grammar is not None:
                grammar.back(len(draft))
        return draft

    def _fill(
        self, draft: list[int], before: Sequence[int], room: int, grammar: Matcher | None
    ) -> None:
        """Add tokens to `draft` as long as a source has some that are likely enough."""
        chance, length = 1.0, -1
        while length < len(draft) < room:
            length = len(draft)
            last = [*before, *draft][-3:]
            for source in SOURCES:
                sure = self._chances[source]
                if len(draft) > length or chance * sure < _WORTH:
                    continue
                for token in self._asked(source, last, grammar):
                    if token in self._ends or not (grammar is None or grammar.accepts(token)):
                        break
                    draft.append(token)
                    self._sources.append(source)
                    chance *= sure
                    if chance * sure < _WORTH or len(draft) == room:
                        break

    def learn(self, right: int) -> None:
        """Take how many tokens of the latest guess were what the row drew."""
        self.answers.guessed.update(self._sources)
        self.answers.right.update(self._sources[:right])
        # Tokens behind the first wrong one say nothing of their source.
        for at, source in enumerate(self._sources[: right + 1]):
            for chances, share in ((self.answers.chances, _FOR_ALL), (self._chances, _FOR_ROW)):
                chances[source] += share * ((at < right) - chances[source])
            # Each row tries each source, so that one that did badly may do better later.
            self.answers.chances[source] = max(self.answers.chances[source], _WORTH)

    def _asked(self, source: str, last: list[int], grammar: Matcher | None) -> list[int]:
        """Return what `source` says to follow `last`, the last tokens of the text."""
        if source == GRAMMAR:
            return [] if grammar is None else self._tokens(grammar.forced()[:_FORCED])
        if source == EARLIER:
            return self._answered([*_START, *last][-3:])
        if source == WORD:
            return self._worded(last[-1:])
        size = 3 if source == REPEATED else 2
        ending = [*self._prompt[-3:], *last][-size:]
        if self._in_prompt is None:
            self._in_prompt = self.answers.in_prompt(self._prompt)
        return self._own.follow(ending)[1] or self._in_prompt.follow(ending)[1]

    def _answered(self, ending: list[int]) -> list[int]:
        if self._earlier is None:
            self._earlier = [(places, 0) for places in self.answers.to(self.question)]
        for size in (3, 2):
            for number, (places, near) in enumerate(self._earlier):
                at, found = places.follow(ending[-size:], near)
                if found:
                    # The same words may come again: what is searched next stands behind.
                    self._earlier[number] = places, at
                    return found
        return []

    def _worded(self, last: list[int]) -> list[int]:
        """Return what follows the last word where it stands in the question."""
        if self._words is None:
            first = max(0, len(self._prompt) - _QUESTION)
            self._words = {
                self._spelled(token).strip(): at + 1
                for at, token in enumerate(self._prompt[first:], start=first)
            }
        word = self._spelled(last[0]).strip() if last else ""
        at = self._words.get(word) if len(word) >= _LETTERS and word.isalnum() else None
        return [] if at is None else list(self._prompt[at : at + MOST])
