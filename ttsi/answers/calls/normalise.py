"""Convert arguments to the types of the tool's schema.

Reference and prediction are normalised alike; two calls are equal if their normal forms are.

| schema type | values that are converted to it without loss |
|---|---|
| number | a string that is a JSON number: "40.7". Not "007", "1,000", "NaN" or "1e999" |
| integer | a number, also as such a string, without a fraction: 3.0, "3.0" and 1e3. Not 3.5 |
| boolean | "true", "True", "false", "False". Not 1 or 0: a boolean is never a number |
| string | a number, as it was written: 5 becomes "5", 1.10 "1.10" and 1e3 "1e3". Not a boolean |
| array, object | a string that holds one, in JSON or Python notation |

A value without a type, as in XML (numbers.Untyped), is its text if the schema declares a string or
no type, and else the JSON or Python value of that text, also without `coerce`.

Schemas are plain (plain.py). Of `anyOf`, the branch applies whose rules the normalised value breaks
least. Among equals it is the first, but a branch with the value itself as a constant precedes one
that needs a conversion. A value that fits no type, or has no declared type, stays unchanged. Floats
of 2**53 and more are never converted to integers, because digits may be lost.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ttsi.answers.calls import Switches
from ttsi.answers.calls.shapes import deeper_than
from ttsi.answers.literals import MAX_DEPTH, Reader
from ttsi.answers.numbers import MAX_DIGITS, Untyped, number_text
from ttsi.parameters.fitting import ANY, Schema, faults, is_of, same, within
from ttsi.types import JSON

EXACT_BELOW = 2**53
"""Floats represent integers below this magnitude exactly; a larger float may have lost digits."""

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": True, "True": True, "false": False, "False": False}
_UNFIT = object()
"""A marker for values that cannot be converted, since None is a value."""

_WRONG_TYPE = 10**6
"""The faults of a value of the wrong type: more than any value of the right type has."""

_MOST_MARKS = 30
_MARK_PAIRS = "\u0f73\u0f75\u0f81"
"""Tibetan vowels that NFC decomposes into two combining marks."""

_MOST_TRIALS = 100_000
"""At most this many branches are tried for one call's arguments; after that the first is used."""


def normalise(value: JSON, schema: Schema, switches: Switches) -> JSON:
    """Return one value in normal form; the operation is idempotent. `schema` is plain.

    A value that fits no declared type keeps its type, but its strings are normalised. Undeclared
    arguments are kept, so that the comparison can report them.
    """
    return normalised(value, schema, switches)[0]


def normalised(
    value: JSON, schema: Schema, switches: Switches, branch: Schema | None = None
) -> tuple[JSON, Schema]:
    """Return a value in normal form and the schema branch that applies; `branch` if given."""
    normaliser = _Normaliser(schema.get("$defs", {}), switches)
    found = normaliser.fitted(value, schema if branch is None else branch)
    return found.value, found.branch


def tidy(text: str) -> str:
    """Return the text in NFC without outer white space; case and punctuation stay.

    A text with more than 30 combining marks in a row, the maximum of Unicode's Stream-Safe Text
    Format, is not normalised to NFC: no language needs it, and ordering the marks would be slow.
    """
    text = text.strip()
    return text if _has_long_run(text) else unicodedata.normalize("NFC", text)


def _has_long_run(text: str) -> bool:
    """Whether more than _MOST_MARKS combining marks follow each other."""
    run = 0
    for char in "" if text.isascii() else text:
        run = run + 1 if unicodedata.combining(char) or char in _MARK_PAIRS else 0
        if run > _MOST_MARKS:
            return True
    return False


class _Fitted(NamedTuple):
    """A value in normal form, the number of schema rules that it breaks, and the branch used."""

    value: JSON
    faults: int
    branch: Schema


class _Normaliser:
    """Computes normal forms by schemas whose references point to `definitions`."""

    def __init__(self, definitions: Schema, switches: Switches) -> None:
        self._definitions = definitions
        self._switches = switches
        # A cache for alternatives, by identity; it also keeps the values alive.
        self._known: dict[tuple[int, int], tuple[JSON, _Fitted]] = {}
        self._trials = _MOST_TRIALS
        self._depth = 0

    def fitted(self, value: JSON, schema: Schema) -> _Fitted:
        schema = self._resolved(schema)
        key = (id(value), id(schema))
        if key in self._known:
            return self._known[key][1]
        if self._switches.trim and isinstance(value, str) and not isinstance(value, Untyped):
            value = tidy(value)
        found = self._nearest(value, schema) if "anyOf" in schema else self._typed(value, schema)
        if isinstance(value, dict | list):
            self._known[key] = (value, found)
        return found

    def _resolved(self, schema: Schema) -> Schema:
        """Return the target of a reference; any other schema is returned unchanged."""
        if "$ref" not in schema:
            return schema
        found: Schema = self._definitions[schema["$ref"].removeprefix("#/$defs/")]
        return found

    def _nearest(self, value: JSON, schema: Schema) -> _Fitted:
        """Fit the value to the branch with the fewest faults, and repeat on the result.

        A normal form may be closer to another branch than the original value was.
        """
        branches = schema["anyOf"]
        readings = (str(value), value.value) if isinstance(value, Untyped) else (value,)
        for branch in branches:
            constants = branch.get("enum", ())
            if any(same(reading, each) for each in constants for reading in readings):
                return self.fitted(value, branch)
        best, rank = self._best(value, branches)
        while self._trials > 0:
            again, better = self._best(best.value, branches)
            if better >= rank:
                break
            best, rank = again, better
        return best

    def _best(self, value: JSON, branches: Sequence[Schema]) -> tuple[_Fitted, tuple[int, int]]:
        best, rank = None, (0, 0)
        for at, branch in enumerate(branches):
            self._trials -= 1
            found = self.fitted(value, branch)
            if best is None or (found.faults, at) < rank:
                best, rank = found, (found.faults, at)
            if not best.faults or self._trials <= 0:
                break
        assert best is not None
        return best, rank

    def _typed(self, value: JSON, schema: Schema) -> _Fitted:
        kind = schema.get("type")
        if isinstance(value, Untyped):
            value = str(value) if kind in (None, "string") else value.value
        if kind is None:
            return _Fitted(self._inside(value, schema)[0], 0, schema)
        if self._switches.coerce:
            fitted = _coerce(value, kind, MAX_DEPTH - self._depth)
        else:
            fitted = _as_it_is(value, kind)
        if fitted is _UNFIT:
            return _Fitted(self._inside(value, ANY)[0], _WRONG_TYPE, schema)
        normal, count = self._inside(fitted, schema)
        return _Fitted(normal, count + faults(normal, schema), schema)

    def _inside(self, value: JSON, schema: Schema) -> tuple[JSON, int]:
        """Return the normal form of a list's or an object's content, and its number of faults."""
        if isinstance(value, dict):
            return self._object(value, schema)
        if isinstance(value, list):
            each = [self._at(item, schema, at) for at, item in enumerate(value)]
            return [item for item, _ in each], sum(count for _, count in each)
        if self._switches.trim and isinstance(value, str):
            return tidy(value), 0
        return value, 0

    def _at(self, value: JSON, schema: Schema, key: str | int) -> tuple[JSON, int]:
        inner = within(schema, key)
        self._depth += 1
        found = self.fitted(value, ANY if inner is None else inner)
        self._depth -= 1
        return found.value, found.faults + (inner is None)

    def _object(self, given: Mapping[str, JSON], schema: Schema) -> tuple[JSON, int]:
        properties = schema.get("properties", {})
        required = schema.get("required", ())
        fill = self._switches.fill_defaults
        normal: dict[str, JSON] = {}
        count = 0
        for key, value in given.items():
            optional = key in properties and key not in required
            if fill and optional and self._is_left_out(value, properties[key]):
                continue
            normal[key], more = self._at(value, schema, key)
            count += more
        if fill:
            for key, declared in properties.items():
                default = self._default(declared)
                if key not in normal and default is not None:
                    normal[key], more = self._at(default, schema, key)
                    count += more
        return normal, count

    def _is_left_out(self, value: JSON, schema: Schema) -> bool:
        """Whether the value of an optional parameter means the same as omitting it."""
        if isinstance(value, Untyped):
            branches = self._resolved(schema).get("anyOf", [schema])
            as_text = any(branch.get("type", "string") == "string" for branch in branches)
            value = str(value) if as_text else value.value
        return value is None and not self._means_null(schema)

    def _means_null(self, schema: Schema) -> bool:
        """Whether null means something other than omitting the parameter."""
        return self._resolved(schema).get("default") is not None and self._takes_null(schema)

    def _takes_null(self, schema: Schema) -> bool:
        schema = self._resolved(schema)
        if "anyOf" in schema:
            return any(map(self._takes_null, schema["anyOf"]))
        return schema.get("type") == "null"

    def _default(self, schema: Schema) -> JSON:
        """Return the default of an omitted property; None if there is none.

        A list or an object from a recursive schema would be filled in without end, so it counts as
        none.
        """
        default = self._resolved(schema).get("default")
        return None if "$ref" in schema and isinstance(default, dict | list) else default


def _as_it_is(value: JSON, kind: str) -> JSON:
    return value if is_of(value, kind) else _UNFIT


def _coerce(value: JSON, kind: object, levels: int) -> JSON:
    """Return the value as JSON type `kind`, or _UNFIT.

    A text is read as a container of at most `levels` levels.
    """
    if kind == "string":
        return value if isinstance(value, str) else _text(value)
    if kind == "number":
        return _number(value)
    if kind == "integer":
        return _integer(_number(value))
    if kind == "boolean":
        known = _BOOLEANS.get(value, _UNFIT) if isinstance(value, str) else _UNFIT
        return value if isinstance(value, bool) else known
    if kind == "null":
        return None if value is None else _UNFIT
    if kind == "array":
        return _container(value, list, levels)
    if kind == "object":
        return _container(value, dict, levels)
    return _UNFIT


def _text(value: JSON) -> JSON:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _UNFIT
    return number_text(value)


def _number(value: JSON) -> JSON:
    if isinstance(value, bool):
        return _UNFIT
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str) or len(value) > MAX_DIGITS or not _JSON_NUMBER.fullmatch(value):
        return _UNFIT
    if value.lstrip("-").isdigit():
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else _UNFIT


def _integer(number: JSON) -> JSON:
    if isinstance(number, float) and number.is_integer() and abs(number) < EXACT_BELOW:
        return int(number)
    return number if isinstance(number, int) else _UNFIT


def _container(value: JSON, kind: type, levels: int) -> JSON:
    """Return a container, read from text if needed; `levels` bounds its nesting.

    Without the bound, containers written as text within text could nest deeper than any single
    reading allows.
    """
    if isinstance(value, str):
        read = Reader(value).read_all() if levels > 0 else None
        value = read.value if read and not deeper_than(levels, read.value) else None
    return value if isinstance(value, kind) else _UNFIT
