"""The names that a package needs, made from the KIND and NAME that a person gives."""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec

from ttsi._common.suggest import did_you_mean
from ttsi.errors import UsageError
from ttsi.registry import KINDS, normalise

LONGEST_DISTRIBUTION = 40
LONGEST_ENTRY = 30
"""Longer names would make lines of the written files too long."""

_DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_ENTRY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?")
_OWN = {"ttsi", "ttsi-plugins", "ttsi-benchmarks"}
BESIDE = {"environments": "benchmarks"}
"""What a package may also begin with, and of which kind its plugin then is."""

# The standard library is found first: a module of the same name would never be imported.
_NO_MODULE = {*sys.stdlib_module_names, "test"}

_FORM = (
    "NAME is the package's name, or package/plugin: acme-doubt, acme-doubt/length. Both are made "
    "of ASCII letters, digits and hyphens, with a letter or digit at either end; the first has at "
    f"most {LONGEST_DISTRIBUTION} characters, the second {LONGEST_ENTRY}."
)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a new package. `start`: what it begins with, a kind or one of BESIDE, in plural.

    Specs use `name`.
    """

    start: str
    distribution: str
    entry: str

    @property
    def kind(self) -> str:
        """The plugin's kind, as in the registry."""
        return BESIDE.get(self.start, self.start)

    @property
    def noun(self) -> str:
        return self.start.removesuffix("s")

    @property
    def name(self) -> str:
        return f"{self.distribution}/{self.entry}"

    @property
    def module(self) -> str:
        """The distribution's name as a module that Python can import."""
        name = self.distribution.replace("-", "_")
        usable = name.isidentifier() and not keyword.iskeyword(name) and name not in _NO_MODULE
        return name if usable else f"ttsi_{name}"

    @property
    def class_name(self) -> str:
        """The entry point's name and the kind's noun, so that it is no keyword and no ttsi type."""
        words = "".join(part[:1].upper() + part[1:] for part in re.split("[-_]+", self.entry))
        noun = self.noun.capitalize()
        if words[0].isdigit():
            return noun + words
        return words if words.endswith(noun) else words + noun


def read_names(kind: str, name: str) -> Names:
    """Return the names for KIND and NAME. Raises UsageError for an unknown kind or a bad name."""
    distribution, slash, entry = name.partition("/")
    whole = normalise(distribution)
    entry = entry if slash else whole.rpartition("-")[2]
    if not _fits(distribution, _DISTRIBUTION, LONGEST_DISTRIBUTION) or not _fits(
        entry, _ENTRY, LONGEST_ENTRY
    ):
        raise UsageError(f"A plugin cannot be called {name[:200]!r}.", cure=_FORM)
    names = Names(_start(kind), whole, entry)
    _refuse_taken(names)
    return names


def _start(word: str) -> str:
    starts = (*KINDS, *BESIDE)
    kinds = {spelling: each for each in starts for spelling in (each, each.removesuffix("s"))}
    if word.lower() not in kinds:
        nouns = [each.removesuffix("s") for each in starts]
        what = f'There is no kind of plugin "{word[:200]}".'
        raise UsageError(what, cure=did_you_mean(word, nouns, noun="kinds"))
    return kinds[word.lower()]


def _fits(text: str, pattern: re.Pattern[str], longest: int) -> bool:
    return len(text) <= longest and pattern.fullmatch(text) is not None


def _refuse_taken(names: Names) -> None:
    """Raise UsageError for a name that is ttsi's own or would hide an installed module."""
    cure = "Choose another name: one that begins with yours, such as acme-, will be free."
    if names.distribution in _OWN:
        raise UsageError(f'The name "{names.distribution}" is ttsi\'s own.', cure=cure)
    found = find_spec(names.module)
    # A plain folder on the path is found without a file (origin None), and is no conflict.
    if found is not None and found.origin is not None:
        what = f"There is a module {names.module} already; a package of that name would hide it."
        raise UsageError(what, where=found.origin, cure=cure)
