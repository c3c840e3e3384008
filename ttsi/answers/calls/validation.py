"""Check calls against the parameters of the offered tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from ttsi.answers.calls.values import ToolCall
from ttsi.parameters.automata import occurs
from ttsi.parameters.fitting import identity, is_multiple, is_of
from ttsi.types import JSON, Tool

if TYPE_CHECKING:
    from jsonschema import ValidationError


def argument_faults(tools: Sequence[Tool], call: ToolCall) -> list[str]:
    """List what is wrong with `call`: unknown tool, or unknown, missing or ill-typed arguments.

    What is wrong with a value begins with the argument's name, and its place therein.
    """
    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        return [f"{call.name!r} is not an offered tool"]
    checker = _validator()(dict(tool.schema))
    return [_told(error) for error in checker.iter_errors(dict(call.arguments))]


def _told(error: ValidationError) -> str:
    place = "/".join(map(str, error.absolute_path))
    return f"{place}: {error.message}" if place else error.message


@cache
def _validator() -> Any:
    """Return a JSON Schema validator with scoring's checks of multipleOf, patterns and uniqueItems.

    The library's own checks divide floats, fail for large numbers, may take exponential time to
    match a pattern, and compare each item of a list with all others.
    """
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.validators import extend

    def multiple_of(_: Any, step: float, value: JSON, __: Any) -> Iterator[ValidationError]:
        if is_of(value, "number") and not is_multiple(value, step):
            yield ValidationError(f"{value!r} is not a multiple of {step!r}")

    def pattern(_: Any, wanted: str, value: JSON, __: Any) -> Iterator[ValidationError]:
        if isinstance(value, str) and not occurs(wanted, value):
            yield ValidationError(f"{value!r} does not match {wanted!r}")

    def patterns(
        validator: Any, schemas: Mapping[str, JSON], value: JSON, _: Any
    ) -> Iterator[ValidationError]:
        for name, item in value.items() if isinstance(value, dict) else ():
            for wanted in (each for each in schemas if occurs(each, name)):
                yield from validator.descend(item, schemas[wanted], path=name, schema_path=wanted)

    def unique(_: Any, wanted: bool, value: JSON, __: Any) -> Iterator[ValidationError]:
        if isinstance(value, list) and len(set(map(identity, value))) < len(value) and wanted:
            yield ValidationError(f"{value!r} has non-unique elements")

    others_of = Draft202012Validator.VALIDATORS["additionalProperties"]

    def others(
        validator: Any, allowed: JSON, value: JSON, schema: Mapping[str, JSON]
    ) -> Iterator[ValidationError]:
        if isinstance(value, dict):
            known = schema.get("patternProperties", ())
            left = {k: v for k, v in value.items() if not any(occurs(each, k) for each in known)}
            plain = {k: v for k, v in schema.items() if k != "patternProperties"}
            yield from others_of(validator, allowed, left, plain)

    return extend(
        Draft202012Validator,
        {
            "multipleOf": multiple_of,
            "pattern": pattern,
            "uniqueItems": unique,
            "patternProperties": patterns,
            "additionalProperties": others,
        },
    )
