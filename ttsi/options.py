"""Plugin options: declared once, as dataclass fields, and read as JSON Schema.

    @dataclass(frozen=True)
    class Mine:
        threshold: float = option(0.95, "Adapt below this confidence.", minimum=0, maximum=1)

`options_schema(Mine)` is then the schema that specs are checked against and editors complete from.
A plugin may instead carry a hand-written schema in the class attribute `options_schema`.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
import typing
from typing import Any, Literal, Union, get_args, get_origin

_SCALARS = {str: "string", bool: "boolean", int: "integer", float: "number"}


def option(default: Any, description: str, **schema: Any) -> Any:
    """Return a dataclass field that is an option; keywords are JSON Schema (minimum, maxLength,
    ...).

    With `...` as the default, the option is required: a spec has to give it.
    """
    metadata = {"description": description, **schema}
    if default is ...:
        return dataclasses.field(kw_only=True, metadata=metadata)
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: default.copy(), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def options_schema(plugin: type) -> dict[str, Any]:
    """Return the JSON Schema of a plugin's options: an object that allows no other keys."""
    own = getattr(plugin, "options_schema", None)
    if isinstance(own, dict):
        return own
    properties: dict[str, Any] = {}
    required = []
    if dataclasses.is_dataclass(plugin):
        for field in dataclasses.fields(plugin):
            if "description" in field.metadata:
                properties[field.name] = _field_schema(field, _hint(plugin, field.name))
                required += [] if "default" in properties[field.name] else [field.name]
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": required} if required else schema


def _hint(plugin: type, name: str) -> Any:
    # One field at a time: the hints of fields that are no options may exist for type checkers only.
    owner = next(c for c in plugin.__mro__ if name in inspect.get_annotations(c))
    alone = types.SimpleNamespace(__annotations__={name: owner.__annotations__[name]})
    module = vars(sys.modules[owner.__module__])
    return typing.get_type_hints(alone, module, dict(vars(owner)))[name]


def _field_schema(field: dataclasses.Field[Any], hint: Any) -> dict[str, Any]:
    schema = {**_type_schema(hint), **field.metadata}
    if field.default is not dataclasses.MISSING:
        schema["default"] = field.default
    elif field.default_factory is not dataclasses.MISSING:
        schema["default"] = field.default_factory()
    return schema


def _type_schema(hint: Any) -> dict[str, Any]:
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (list, tuple):
        return {"type": "array", "items": _type_schema(args[0])}
    if origin in (Union, types.UnionType):
        others = [arg for arg in args if arg is not type(None)]
        if len(others) == 1 < len(args):
            base = _type_schema(others[0])
            if "enum" in base:
                return {"enum": [*base["enum"], None]}
            return {**base, "type": [base["type"], "null"]} if "type" in base else base
        return {"anyOf": [_type_schema(arg) for arg in args]}
    if hint is type(None):
        return {"type": "null"}
    if origin is dict or hint is dict:
        return {"type": "object"}
    if hint in (list, tuple):
        return {"type": "array"}
    return {}
