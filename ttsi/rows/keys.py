"""Checks that all parts of a row share: known keys, and texts."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ttsi._common.inputs import shown
from ttsi._common.suggest import did_you_mean
from ttsi.errors import UsageError
from ttsi.types import JSON


def keyed(given: JSON, known: Collection[str], noun: str, where: str) -> Mapping[str, JSON]:
    """Return `given`, which has to be an object with known keys only. Raises UsageError."""
    if not isinstance(given, dict):
        keys = ", ".join(known)
        raise UsageError(f"{noun} is no object.", where=where, cure=f"Its keys are: {keys}.")
    for key in given:
        if key not in known:
            what = f'{noun} has the unknown key "{shown(key)}".'
            raise UsageError(what, where=where, cure=did_you_mean(key, known, noun="keys"))
    return given


def filled(given: JSON, noun: str, where: str) -> str:
    """Return `given`, which has to be a text that is not blank. Raises UsageError."""
    if not isinstance(given, str) or not given.strip():
        what = f"{noun} is no text, or a blank one."
        raise UsageError(what, where=where, cure="Write it as a string that says something.")
    return given
