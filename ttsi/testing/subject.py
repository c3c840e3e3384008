"""The plugin under check: its class, its options, and cached facts about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from ttsi.settings import EngineCapability as Can
from ttsi.spec.schema import DEFAULT_MODEL
from ttsi.testing.checks import NotApplicable
from ttsi.types import Sample

Made = TypeVar("Made")

STAGES = ("estimators", "generators", "learners", "inference")

ALL_NEEDS = frozenset(Can)
"""All capabilities that a stage can need and an engine can announce."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A plugin with its `options` as a spec would give them.

    An engine's options may also hold the spec's `model`; the default is that of a spec without it.
    """

    kind: str
    name: str
    plugin: type
    options: Mapping[str, Any] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def origin(self) -> str:
        return f"{self.plugin.__module__}:{self.plugin.__qualname__}"

    @property
    def own_options(self) -> dict[str, Any]:
        """The options that the plugin's schema covers: without an engine's `model`."""
        if self.kind != "engines":
            return dict(self.options)
        return {key: value for key, value in self.options.items() if key != "model"}

    def make(self) -> Any:
        """Return a new instance, made as in a run; an engine's default dtype is float32 here."""
        if self.kind != "engines":
            return self.plugin(**self.options)
        given = self.options.get("model", DEFAULT_MODEL)
        model = {"id": given} if isinstance(given, str) else given
        # In lower precision, rounding alone changes answers with the composition of a batch.
        return self.plugin({"dtype": "float32", **model}, **self.own_options)

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the plugin's options.

        Raises NotApplicable where it is invalid, which the check `options-schema` reports.
        """
        from jsonschema import Draft202012Validator

        from ttsi.options import options_schema

        try:
            schema = options_schema(self.plugin)
            Draft202012Validator.check_schema(schema)
        except Exception as error:  # a plugin's type hints and schema may raise anything
            raise NotApplicable("its options schema cannot be read") from error
        return schema

    @cached_property
    def samples(self) -> list[Sample]:
        """The samples of a benchmark, loaded once."""
        return list(self.make().samples())

    def once(self, name: str, find: Callable[[], Made]) -> Made:
        """Return the result of `find()`, computed on the first call and cached under `name`."""
        if name not in self.found:
            self.found[name] = find()
        found: Made = self.found[name]
        return found
