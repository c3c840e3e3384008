"""The plugin under check: its class, its options, and what is expensive to find out about it."""

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
"""All that an engine can be asked for."""


@dataclass(frozen=True, eq=False)
class Subject:
    """`options` as a spec would give them. Of an engine they may hold the spec's `model`,
    too; without it, it is what a spec without it has."""

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
        """What its options schema has a say in."""
        if self.kind != "engines":
            return dict(self.options)
        return {key: value for key, value in self.options.items() if key != "model"}

    def make(self) -> Any:
        """A new instance, made as a run makes it. MissingAsset where something is not at hand."""
        if self.kind != "engines":
            return self.plugin(**self.options)
        given = self.options.get("model", DEFAULT_MODEL)
        model = {"id": given} if isinstance(given, str) else given
        # In fewer bits than these, rounding alone changes answers from batch to batch.
        return self.plugin({"dtype": "float32", **model}, **self.own_options)

    @cached_property
    def schema(self) -> dict[str, Any]:
        """Its options as JSON Schema. NotApplicable where it is none: one check says so."""
        from jsonschema import Draft202012Validator

        from ttsi.options import options_schema

        try:
            schema = options_schema(self.plugin)
            Draft202012Validator.check_schema(schema)
        except Exception as error:  # a stranger's type hints and schema: whatever they raise
            raise NotApplicable("its options schema cannot be read") from error
        return schema

    @cached_property
    def samples(self) -> list[Sample]:
        """Of a benchmark: its samples, loaded once."""
        return list(self.make().samples())

    def once(self, name: str, find: Callable[[], Made]) -> Made:
        """What `find` finds out, which is expensive: asked for by `name` again, it is at hand."""
        if name not in self.found:
            self.found[name] = find()
        found: Made = self.found[name]
        return found
