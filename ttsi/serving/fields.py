"""The fields of a request's body: their types and ranges, and what is not supported.

Unknown fields are ignored. A null counts as left out.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from ttsi.errors import UsageError
from ttsi.rows.lines import json_of
from ttsi.serving.refusals import bad


def body_of(data: bytes) -> dict[str, Any]:
    """Return the object in a request's body. Raises Refusal for anything else."""
    try:
        read = json_of(data.decode("utf-8"), "the body", "")
    except UnicodeDecodeError:
        raise bad(None, "The body is not UTF-8.") from None
    except UsageError as error:
        raise bad(None, f"The body is not sound JSON. {error.what}") from None
    if not isinstance(read, dict):
        raise bad(None, "The body is JSON, and no object.")
    return {key: value for key, value in read.items() if value is not None}


class Fields:
    """Reads the fields of an object; raises a Refusal that names the field for a wrong value."""

    def __init__(self, body: Mapping[str, Any], within: str = "") -> None:
        self._body, self._within = body, within

    def get(self, name: str) -> Any:
        return self._body.get(name)

    def where(self, name: str) -> str:
        return f"{self._within}{name}"

    def number(self, name: str, low: float, high: float) -> float | None:
        value = self._body.get(name)
        if value is None:
            return None
        right = isinstance(value, int | float) and not isinstance(value, bool)
        if not right or not math.isfinite(value) or not low <= value <= high:
            raise bad(self.where(name), f"{self.where(name)} is a number from {low} to {high}.")
        return float(value)

    def integer(self, name: str, low: int, high: int) -> int | None:
        value = self._body.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            told = f"{self.where(name)} is a whole number from {low} to {high}."
            raise bad(self.where(name), told)
        return value

    def boolean(self, name: str, default: bool = False) -> bool:
        value = self._body.get(name, default)
        if not isinstance(value, bool):
            raise bad(self.where(name), f"{self.where(name)} is true or false.")
        return value

    def text(self, name: str) -> str | None:
        value = self._body.get(name)
        if value is not None and not isinstance(value, str):
            raise bad(self.where(name), f"{self.where(name)} is a text.")
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        value = self._body.get(name, {})
        if not isinstance(value, dict):
            raise bad(self.where(name), f"{self.where(name)} is an object.")
        return value

    def texts(self, name: str, most: int, longest: int) -> tuple[str, ...]:
        """Return a text or a list of texts as a tuple of texts that are not empty."""
        value = self._body.get(name, [])
        listed = [value] if isinstance(value, str) else value
        right = isinstance(listed, list) and len(listed) <= most
        if not right or not all(isinstance(each, str) and len(each) <= longest for each in listed):
            told = f"{self.where(name)} is a text or up to {most} texts of {longest} characters."
            raise bad(self.where(name), told)
        return tuple(each for each in listed if each)

    def refuse(self, name: str, instead: str, neutral: Collection[Any] = ()) -> None:
        """Raise a Refusal if the field has a value other than the neutral ones."""
        value = self._body.get(name)
        if value is None or value in ("", [], {}) or value in tuple(neutral):
            return
        message = f"{self.where(name)} is not supported here{instead}."
        raise bad(self.where(name), message, "unsupported_parameter")
