"""NexusRaven's function descriptions: prose, then a list of parameters in one of four notations.

limit (int): How many results.                             (cve_cpe)
email (string, required): The address.                     (emailrep)
- ip: string, required, IP address                         (virustotal; also "- ip, string, ...")
page (int) required: Required. integer. Which page.        (toolalpaca)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_HEADER = re.compile(
    r"^\s*(?:args|parameters|here are some useful descriptions of the arguments\b.*)\s*:?\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_LINE = re.compile(
    r"""^\s*(?:-\s*)?(?P<name>[A-Za-z][\w-]*)\s*
        (?: \((?P<words>[^)]*)\)\s*(?P<flagged>required|optional)?\s*:
          | [:,]\s*(?P<kind>\w+)\s*,(?:\s*(?:required|optional)\s*,)?
        )\s*(?P<text>.*?)\s*$""",
    re.VERBOSE,
)
_TOOLALPACA_TEXT = re.compile(
    r"^(?P<required>Required\.\s*)?(?:[A-Za-z]+(?:\[\w+\])?\.)\s*(?P<text>.*)$"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A parameter's entry in the prose. `optional` is True only if the prose says so."""

    type_words: str
    text: str
    optional: bool


def split(description: str) -> tuple[str, Mapping[str, Entry]]:
    """Return the prose on one line, and the entries by parameter name with "-" read as "_"."""
    header = _HEADER.search(description)
    prose = description[: header.start()] if header else description
    listing = description[header.end() :] if header else ""
    entries = {}
    for line in listing.splitlines():
        match = _LINE.match(line)
        if match:
            entries[match["name"].replace("-", "_")] = _entry(match)
    return " ".join(prose.split()), entries


def _entry(match: re.Match[str]) -> Entry:
    text = match["text"]
    if match["flagged"] is None:
        return Entry(match["words"] or match["kind"], text, optional=False)
    inner = _TOOLALPACA_TEXT.match(text)
    if inner is None:
        return Entry(match["words"], text, optional=False)
    return Entry(match["words"], inner["text"], optional=inner["required"] is None)
