"""Templates of prompts: texts with places, which are names in braces."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ttsi._common.suggest import slip
from ttsi.errors import UsageError


def filled(template: str, places: Mapping[str, str]) -> str:
    """Return the template with each `{name}` of `places` replaced.

    Other braces are text, since prompts show JSON; so is a place in what is filled in.
    """
    names = "|".join(map(re.escape, places))
    return re.sub(rf"\{{({names})\}}", lambda found: places[found[1]], template)


def check_places(
    template: str,
    where: str,
    places: Sequence[str],
    *,
    needed: Sequence[str],
    unknown: Mapping[str, str] | None = None,
) -> None:
    """Raise UsageError where a place is misspelt or missing, or one is there that is not filled.

    `places` are all that there may be. `unknown` says, by name, why there is nothing to fill it
    with.
    """
    for word in re.findall(r"\{(\w+)\}", template):
        meant = None if word in places else slip(word, places)
        if meant is not None:
            what = f"The template has {{{word}}}, which is no place."
            raise UsageError(what, where=where, cure=f"Did you mean {{{meant}}}?")
    for name in needed:
        if f"{{{name}}}" not in template:
            cure = f"Write {{{name}}} where it is to stand."
            raise UsageError(f"The template has no place for {name}.", where=where, cure=cure)
    for name, why in (unknown or {}).items():
        if f"{{{name}}}" in template:
            what = f"The template has the place {{{name}}}, and {why}."
            raise UsageError(what, where=where, cure="Take it out.")
