"""The benchmark and scorer that a submission is verified with, from the plugins installed here.

A spec's names are looked up among the installed plugins. Nothing is loaded from a submission, and a
third party's plugin only where the caller allows it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ttsi import registry
from ttsi._common.version import __version__
from ttsi.errors import MissingAsset, TtsiError
from ttsi.leaderboard.comparable import OWN_DATA, SCORER, scorer_options, scoring_rule
from ttsi.leaderboard.faults import UNAVAILABLE, Fault, Unsound, shown
from ttsi.protocols import Benchmark, Scorer
from ttsi.spec.schema import COMPONENTS
from ttsi.types import JSON, Sample

_AS_RUN = "Submit the spec.resolved.json that the run left."


@dataclass(frozen=True)
class Sources:
    """A spec's samples by id, in the benchmark's order; the data's revision; and the scorer."""

    samples: Mapping[str, Sample]
    revision: str
    scorer: Scorer


def sources(spec: Mapping[str, Any], where: str, *, third_party: bool) -> Sources:
    """Return the sources of a resolved spec; `where` names its file in faults.

    Raises Unsound where no board accepts the spec, or this machine lacks data or a plugin.
    """
    _check_public(spec, where)
    for role in ("benchmark", "scorer"):
        _check_allowed(spec, role, where, third_party=third_party)
    try:
        faults = list(_option_faults(spec, "benchmark", where))
        faults += _option_faults(spec, "scorer", where)
        if not faults and not third_party:
            faults += _scorer_faults(spec, where)
        if faults:
            raise Unsound(faults[0])
        samples, revision = _samples(json.dumps(spec["benchmark"]))
        scorer: Any = registry.load("scorers", spec["scorer"]["name"])
        return Sources(samples, revision, scorer(**_options(spec["scorer"])))
    except TtsiError as error:
        raise Unsound(_not_had(error, where)) from error


def method_faults(spec: Mapping[str, Any], version: str, where: str) -> Iterator[Fault]:
    """Yield a fault for names and options of plugins that a run cannot have had.

    Options are checked only where `version` is the one installed here: other versions may have
    other options. Of a third party's plugin it is only asked whether there is one: it is
    unavailable where its package is not installed, and imaginary where that does not have it.
    """
    for role, kind in COMPONENTS.items():
        name = spec[role]["name"]
        if "/" in name:
            yield from _imaginary(role, kind, name, where)
        elif name not in registry.discover(kind):
            what = f"names the {role} {shown(name)}, which is no plugin of ttsi's."
            yield Fault("spec", where, what, "`ttsi plugins` lists what there is.")
        elif version == __version__:
            yield from _option_faults(spec, role, where)


def _imaginary(role: str, kind: str, name: str, where: str) -> Iterator[Fault]:
    package, _, own = name.partition("/")
    if registry.normalise(package) == "ttsi":
        what = f"the {role} {shown(name)} says that it is ttsi's, whose plugins have bare names."
        yield Fault("plugin", where, what, "`ttsi plugins` lists what there is.")
    elif registry.is_installed(package, kind, name):
        return
    elif registry.is_installed(package):
        what = f"the package {shown(package)}, as installed here, has no {role} {shown(own)}."
        cure = f"`ttsi plugins {kind}` lists what it has; if it is newer, install that version."
        yield Fault("plugin", where, what, cure)
    else:
        what = f"the package {shown(package)} of the {role} is not installed here, so that nobody "
        what += "can tell whether there is one."
        cure = "If it is published and you trust it: pip install --no-deps --only-binary :all: "
        yield Fault(UNAVAILABLE, where, what, f"{cure}{package}. Nothing of it is loaded.")


def _option_faults(spec: Mapping[str, Any], role: str, where: str) -> Iterator[Fault]:
    from jsonschema import Draft202012Validator

    name = spec[role]["name"]
    schema = registry.options_schema(COMPONENTS[role], name)
    for error in Draft202012Validator(schema).iter_errors(_options(spec[role])):
        what = f"{role} {name} cannot have these options: {shown(error.message)[1:-1]}."
        yield Fault("spec", where, what, _AS_RUN)


@lru_cache(maxsize=16)
def _samples(component: str) -> tuple[dict[str, Sample], str]:
    """Return a benchmark's samples and revision, cached: submissions of a board share them."""
    asked = json.loads(component)
    kind: Any = registry.load("benchmarks", asked["name"])
    benchmark: Benchmark = kind(**_options(asked))
    return {sample.id: sample for sample in benchmark.samples()}, benchmark.revision()


def _options(component: Mapping[str, JSON]) -> dict[str, JSON]:
    return {key: value for key, value in component.items() if key != "name"}


def _not_had(error: TtsiError, where: str) -> Fault:
    """Return the fault for data or a plugin that this machine lacks, or for refused options."""
    kind = UNAVAILABLE if error.exit_code == MissingAsset.exit_code else "spec"
    return Fault(kind, where, f"cannot be verified here: {error.what}", error.cure)


def _check_allowed(spec: Mapping[str, Any], role: str, where: str, *, third_party: bool) -> None:
    name = spec[role]["name"]
    try:
        if registry.find(COMPONENTS[role], name).builtin or third_party:
            return
        what = f"the {role} {shown(name)} is a third party's, and is not loaded."
        cure = "If you trust that package, verify with --third-party."
    except TtsiError as error:
        what, cure = error.what, "Install the package that has it, and verify with --third-party."
    raise Unsound(Fault(UNAVAILABLE if "/" in name else "plugin", where, what, cure))


def _check_public(spec: Mapping[str, Any], where: str) -> None:
    if spec["benchmark"]["name"] == OWN_DATA:
        what = f"its benchmark is {OWN_DATA}: rows of one machine, which nobody else could ask."
        cure = "Boards are for public benchmarks; `ttsi compare` and `ttsi report` take any run."
        raise Unsound(Fault("benchmark", where, what, cure))


def _scorer_faults(spec: Mapping[str, Any], where: str) -> Iterator[Fault]:
    if scorer_options(spec):
        rule = _options(scoring_rule(spec["benchmark"]["name"]))
        what = f"is scored by another rule than the board's, which is {SCORER} with {rule}."
        yield Fault("scorer", where, what, 'Leave "scorer" out of the spec and run again.')
