"""Suggestions for a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable

_MOST_NAMES_LISTED = 30


def nearest(word: str, names: Iterable[str]) -> str | None:
    """Return the name that `word` most likely means, or None.

    `thing` may mean `package/thing`, since people forget the prefix.
    """
    import difflib

    names = list(names)
    for name in names:
        if name.rpartition("/")[2].lower() == word.lower():
            return name
    by_lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(word[:200].lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def slip(word: str, names: Iterable[str]) -> str | None:
    """Return the name that `word` misspells, by one letter or by up to one in six."""
    import difflib

    for name in names:
        letters = max(len(word), len(name))
        alike = difflib.SequenceMatcher(None, word.lower(), name.lower()).ratio()
        if word != name and alike > 1 - (max(1, letters // 6) + 0.01) / letters:
            return name
    return None


def did_you_mean(word: str, names: Iterable[str], *, noun: str = "names") -> str:
    """Return one or two sentences: the nearest name, if any, and the names that exist."""
    names = sorted(names)
    near = nearest(word, names)
    listed = ", ".join(names[:_MOST_NAMES_LISTED]) or "none"
    if len(names) > _MOST_NAMES_LISTED:
        listed += f" and {len(names) - _MOST_NAMES_LISTED} more"
    there_are = f"The {noun} are: {listed}."
    return f'Did you mean "{near}"? {there_are}' if near else there_are
