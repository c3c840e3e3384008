"""Conversion of plugins' results to plain JSON values, to compare, digest and show them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from ttsi.digests import bytes_digest, json_digest
from ttsi.types import Adapter, Training


def plain(value: Any) -> Any:
    """Return `value` as plain JSON for comparison, floats in six digits, without training times."""
    if isinstance(value, Adapter):
        return {"adapter": value.digest, "config": plain(value.config), "source": value.source}
    if isinstance(value, Training):
        return {"losses": plain(value.losses), "learning_rates": plain(value.learning_rates)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, str | bool | int | None):
        return value
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return bytes_digest(value)
    if isinstance(value, Sequence):
        return [plain(inner) for inner in value]
    return repr(value)


def fingerprint(value: Any) -> str:
    return json_digest(plain(value))


def first_difference(names: Sequence[str], one: Any, other: Any) -> str | None:
    """Return, in words, the first difference of two lists parallel to `names`, or None."""
    if not isinstance(one, Sequence) or not isinstance(other, Sequence) or len(one) != len(other):
        return None if plain(one) == plain(other) else f"{shown(one)} and {shown(other)}"
    for at, (left, right) in enumerate(zip(one, other, strict=True)):
        if plain(left) != plain(right):
            name = names[at] if at < len(names) else f"result {at}"
            return f"{name}: {shown(left)} and {shown(right)}"
    return None


def shown(value: Any) -> str:
    text = str(plain(value))
    return text if len(text) <= 200 else text[:200] + "..."
