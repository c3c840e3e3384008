"""Checks of the names that a board shows: each is spelled so that people can tell it from others.

Names and model ids are plain ASCII: so none can hide a character, or borrow one from another
script. Within ASCII, names that look alike are told by their skeletons (`together.py`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from ttsi.leaderboard.faults import Fault, shown
from ttsi.leaderboard.submission import HEAD, SPEC, Seed, Submission
from ttsi.records.identity import IDENTITY
from ttsi.records.sessions import SESSIONS

_ALIKE = str.maketrans("01i|", "olll")
_ASCII = "Spell it in letters, digits and signs of ASCII, and run again."
_MACHINE = "Restore the file from the run, or submit the run again."


def skeleton(name: str) -> str:
    """Return what is left of a name when case and look-alike letters are taken for one."""
    return name.casefold().translate(_ALIKE).replace("rn", "m").replace("vv", "w")


def org_skeleton(name: str) -> str:
    """Return the skeleton of an organisation's name, in which separators do not count."""
    return skeleton(name.translate(dict.fromkeys(map(ord, "._-"))))


def name_faults(submission: Submission) -> Iterator[Fault]:
    """Yield a fault for each name that holds what no reader would see, or take for a letter."""
    for where, key, name in (*_of_head(submission.head), *_of_seeds(submission)):
        odd = next((char for char in name if not " " <= char <= "~"), None)
        if odd is not None:
            what = f"{key} {shown(name)} holds {_named(odd)}, which looks like nothing or another."
            yield Fault("name", where, what, _ASCII)
        elif ".." in name or name != name.strip():
            what = f"{key} {shown(name)} has two dots in a row, or a space at an end."
            yield Fault("name", where, what, "Give the model the id that it is published under.")
    for seed in submission.seeds:
        for where, key, text in _of_machine(seed):
            odd = next((char for char in text if not char.isprintable()), None)
            if odd is not None:
                what = f"{key} {shown(text)} holds {_named(odd)}, which cannot be seen."
                yield Fault("name", where, what, _MACHINE)


def _named(char: str) -> str:
    return f"U+{ord(char):04X} ({unicodedata.name(char, 'a control character').lower()})"


def _of_head(head: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield from ((HEAD, key, head[key]) for key in ("model", "ttsi", "revision"))


def _of_seeds(submission: Submission) -> Iterator[tuple[str, str, str]]:
    """Yield (file, key, name) for the names in the seeds' specs and identities."""
    for seed in submission.seeds:
        for key in ("id", "revision"):
            yield f"{seed.name}/{SPEC}", f"model.{key}", seed.spec["model"][key]
        where = f"{seed.name}/{IDENTITY}"
        yield where, "revision", seed.identity["revision"]
        for key in ("dtype", "model_revision"):
            yield where, f"engine.{key}", seed.identity["engine"][key] or ""
        for role, plugin in seed.identity["plugins"].items():
            for key in ("distribution", "version"):
                yield where, f"plugins.{role}.{key}", plugin[key]


def _of_machine(seed: Seed) -> Iterator[tuple[str, str, str]]:
    """Yield (file, key, text) for what the sessions and engines say of a machine."""
    for session in seed.sessions:
        where = f"{seed.name}/{SESSIONS}"
        texts = {key: session[key] for key in ("python", "platform", "processor")}
        yield from ((where, key, text) for key, text in texts.items())
        for engine in session["engines"] or ():
            yield from ((where, key, text) for key, text in engine.items() if _is_text(text))


def _is_text(value: object) -> bool:
    return isinstance(value, str)
