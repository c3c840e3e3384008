"""Where two JSON values differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ttsi.types import JSON

_UNSET = "nothing"


def differences(expected: JSON, found: JSON, pointer: str) -> Iterator[tuple[str, Any, Any]]:
    """(pointer, expected, found) where they differ by more than rounding."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in {**expected, **found}:
            a, b = expected.get(key, _UNSET), found.get(key, _UNSET)
            yield from differences(a, b, f"{pointer}/{key}")
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for at, (a, b) in enumerate(zip(expected, found, strict=True)):
            yield from differences(a, b, f"{pointer}/{at}")
    elif not _same(expected, found):
        yield pointer, expected, found


def _same(a: JSON, b: JSON) -> bool:
    numbers = [isinstance(each, int | float) and not isinstance(each, bool) for each in (a, b)]
    if all(numbers):
        # Sums and quantiles differ in their last digits between machines and versions of SciPy.
        return math.isclose(a, b, rel_tol=1e-7, abs_tol=1e-9)
    return type(a) is type(b) and bool(a == b)
