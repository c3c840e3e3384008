"""The spec: the description of one evaluation, as JSON outside and as a frozen Spec inside.

    load_spec("spec.json", {"benchmark.limit": 5})  ->  [Spec, ...]     one per cell of the matrix
    resolved(spec)                                  ->  the same, with every default written out

Modules: reading (JSON), layering (precedence), matrix (axes), checking (faults), episodes, stopping
and schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ttsi import registry
from ttsi._common.version import __version__
from ttsi.digests import json_digest
from ttsi.errors import Problem, SpecError
from ttsi.options import options_schema
from ttsi.spec.checking import Check
from ttsi.spec.episodes import Episodes as Episodes
from ttsi.spec.layering import LIMIT, Setting, not_an_object, settings
from ttsi.spec.reading import plain, read
from ttsi.spec.schema import COMPONENTS, DEFAULT_MODEL, DEFAULTS, model_defaults
from ttsi.spec.stopping import StopAt as StopAt
from ttsi.types import JSON

_SHAPES_NO_RESULT = ("ttsi", "name", "seeds", "executor", "stop_at")


@dataclass(frozen=True, slots=True)
class Component:
    """A plugin's name and the options that the spec gives it; omitted options are not filled in."""

    name: str
    options: Mapping[str, JSON] = field(default_factory=dict)


NO_BENCHMARK = Component("")
"""Stands in a spec that names no benchmark."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One evaluation. `cell` maps the axes of a matrix to this cell's values or variant labels."""

    name: str
    model: Mapping[str, JSON]
    engine: Component
    benchmark: Component
    estimator: Component
    generator: Component
    learner: Component
    inference: Component
    executor: Component
    scorer: Component
    seeds: tuple[int, ...] = (0,)
    baseline: bool = True
    budget: float | None = None
    episodes: Episodes = field(default_factory=Episodes)
    stop_at: StopAt = field(default_factory=StopAt)
    cell: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A digest over all that affects results, ttsi's version included; not name, seeds,
        executor or stop_at.
        """
        return digest_of(resolved(self), __version__)


def digest_of(document: Mapping[str, JSON], version: str) -> str:
    """Return `Spec.digest` of a resolved spec as `version` of ttsi computes it."""
    shaping = {k: v for k, v in document.items() if k not in _SHAPES_NO_RESULT}
    return json_digest([version, shaping])


def load_spec(
    source: Path | Mapping[str, JSON] | str,
    overrides: Mapping[str, JSON] | None = None,
    *,
    environment: bool = True,
    benchmark: bool = True,
) -> list[Spec]:
    """Return what `read_spec` does, without the document."""
    return read_spec(source, overrides, environment=environment, benchmark=benchmark)[0]


def read_spec(
    source: Path | Mapping[str, JSON] | str,
    overrides: Mapping[str, JSON] | None = None,
    *,
    environment: bool = True,
    benchmark: bool = True,
) -> tuple[list[Spec], JSON]:
    """Read, check and split a spec: one Spec, or one for each cell of its matrix; and as written.

    `source` is a path, a mapping, or JSON text that begins with `{`. Precedence, from the highest:
    `overrides` (dotted key -> value), environment variables, the spec, defaults. With `environment`
    False variables are ignored, which suits a stored spec of an earlier run. With `benchmark` False
    the spec may name none, which suits those who have tasks of their own; it has `NO_BENCHMARK`.

    Raises SpecError with every problem, PluginError if the only fault is a plugin that cannot be
    loaded, and UsageError if the file does not exist.
    """
    document, where, problems = read(source)
    if document is None:
        raise SpecError(problems or [not_an_object(document)], where=where)
    layers = settings(overrides, environment=environment)
    if not benchmark and isinstance(document, dict) and "benchmark" not in document:
        layers = {k: v for k, v in layers.items() if k != LIMIT}
    problems += _no_json(layers)
    check = Check(document, layers, benchmark=benchmark)
    problems += check.problems
    if problems:
        raise SpecError([*problems, *check.broken], where=where)
    for error in check.broken.values():
        raise error
    fallback = Path(where).stem if where else ""
    return [_build(cell.document, cell.values, fallback) for cell in check.cells], document


def _no_json(layers: Mapping[str, Setting]) -> list[Problem]:
    """Return a problem for each override or variable whose value JSON cannot express."""
    return [
        Problem(f"{place}{problem.pointer}", f"{problem.message} ({setting.source} sets it.)")
        for place, setting in layers.items()
        for problem in plain(setting.value)[1]
    ]


def validate(document: JSON, overrides: Mapping[str, JSON] | None = None) -> list[Problem]:
    """Return all problems of a parsed document, broken plugins included. Raises nothing."""
    document, problems = plain(document)
    if any(problem.pointer == "" for problem in problems):
        return problems
    check = Check(document, settings(overrides))
    return [*problems, *check.problems, *check.broken]


def resolved(spec: Spec) -> dict[str, JSON]:
    """Return the spec with every default written out; it loads to a Spec of the same digest.

    The scorer's options are, by increasing precedence: its defaults, the options that the
    benchmark's labels need (`Benchmark.scoring`), the spec's own.
    """
    document: dict[str, JSON] = {"ttsi": 1, "name": spec.name}
    document["model"] = {**model_defaults(), **spec.model}
    for key in COMPONENTS:
        component: Component = getattr(spec, key)
        if component == NO_BENCHMARK:
            continue
        document[key] = {"name": component.name, **effective_options(spec, key)}
    document["seeds"] = list(spec.seeds)
    document["baseline"] = spec.baseline
    document["budget"] = spec.budget
    if spec.episodes != Episodes():  # without episodes it has no effect
        document["episodes"] = asdict(spec.episodes)
    if spec.stop_at != StopAt():
        document["stop_at"] = asdict(spec.stop_at)
    return document


def effective_options(spec: Spec, key: str) -> dict[str, JSON]:
    """Return all options of one component ("scorer", "estimator", ...), defaults included."""
    component: Component = getattr(spec, key)
    properties = registry.options_schema(COMPONENTS[key], component.name).get("properties", {})
    options = {k: v["default"] for k, v in properties.items() if "default" in v}
    if key == "scorer" and spec.benchmark != NO_BENCHMARK:
        options |= registry.scoring_preset(spec.benchmark.name, component.name)
    options |= component.options
    return {k: _canonical(v, properties.get(k)) for k, v in options.items()}


def _build(document: Mapping[str, JSON], cell: Mapping[str, JSON], fallback: str) -> Spec:
    components = {
        key: _component(COMPONENTS[key], document.get(key, DEFAULTS.get(key))) for key in COMPONENTS
    }
    model = document.get("model", DEFAULT_MODEL)
    return Spec(
        name=document.get("name") or _folder_name(fallback or components["benchmark"].name),
        model={"id": model} if isinstance(model, str) else model,
        seeds=tuple(int(seed) for seed in document.get("seeds", [0])),
        baseline=document.get("baseline", True),
        budget=_canonical(document.get("budget"), {"type": "number"}),
        episodes=Episodes(**_canonical(document.get("episodes", {}), options_schema(Episodes))),
        stop_at=StopAt(**_canonical(document.get("stop_at", {}), options_schema(StopAt))),
        cell=cell,
        **components,
    )


def _component(kind: str, value: Any) -> Component:
    if value is None:
        return NO_BENCHMARK
    if isinstance(value, str):
        return Component(value)
    name, schema = value["name"], registry.options_schema(kind, value["name"])
    return Component(name, _canonical({k: v for k, v in value.items() if k != "name"}, schema))


def _folder_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:100] or "spec"


def _canonical(value: Any, schema: Any) -> Any:
    """Give equal numbers one spelling: 1.0 where the schema asks for a number, 4 for an integer.

    JSON does not distinguish 1 and 1.0, but digests and plugins do.
    """
    schema = schema if isinstance(schema, dict) else {}
    types = schema.get("type", ())
    if isinstance(value, Mapping):
        properties = schema.get("properties", {})
        return {k: _canonical(v, properties.get(k)) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(entry, schema.get("items")) for entry in value]
    if isinstance(value, int) and not isinstance(value, bool) and "number" in types:
        return float(value)
    if isinstance(value, float) and value.is_integer() and "integer" in types:
        return int(value)
    return value
