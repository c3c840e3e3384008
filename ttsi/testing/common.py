"""Contract checks of plugins of every kind."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from collections.abc import Mapping
from typing import Any

from ttsi import protocols, registry
from ttsi.options import options_schema
from ttsi.testing.checks import Check, NotApplicable, require
from ttsi.testing.child import elsewhere
from ttsi.testing.exercise import exercise
from ttsi.testing.journaled import journaled
from ttsi.testing.plain import plain, shown
from ttsi.testing.state import Shared
from ttsi.testing.subject import ALL_NEEDS, STAGES, Subject


def import_cost(subject: Subject) -> None:
    heavy = elsewhere(subject)["heavy"]
    require(not heavy, f"importing its module imports {', '.join(heavy)}; import it in a method")


def options_are_a_schema(subject: Subject) -> None:
    from jsonschema import Draft202012Validator, SchemaError

    try:
        schema = options_schema(subject.plugin)
        Draft202012Validator.check_schema(schema)
        text = json.dumps(schema)
    except SchemaError as error:
        place = "/".join(map(str, error.path)) or "the whole schema"
        require(False, f"the options schema is not JSON Schema, at {place}: {error.message}")
    except Exception as error:  # evaluating a plugin's type hints may raise anything
        require(False, f"the options cannot be read: {type(error).__name__}: {error}")
    require(schema.get("type") == "object", "the options schema is not of type object")
    require("name" not in schema.get("properties", {}), "an option is called `name`: a spec has it")
    require('"$ref"' not in text, "the options schema holds a $ref; write out what it points to")


def options_are_described(subject: Subject) -> None:
    properties = subject.schema.get("properties", {})
    silent = [name for name, option in properties.items() if not option.get("description")]
    require(not silent, f"no description of the option {', '.join(silent)}")


def defaults_are_valid(subject: Subject) -> None:
    from jsonschema import Draft202012Validator

    properties, needed = subject.schema.get("properties", {}), subject.schema.get("required", [])
    lost = [n for n, option in properties.items() if "default" not in option and n not in needed]
    require(not lost, f"the option {', '.join(lost)} has no default and is not required")
    validator = Draft202012Validator(subject.schema)
    options = _defaults(subject) | subject.own_options
    for error in validator.iter_errors(options):
        place = "/".join(map(str, error.path)) or "options"
        require(False, f"{place}: {error.message}")
    Subject(subject.kind, subject.name, subject.plugin, {**subject.options, **options}).make()


def unknown_options_are_refused(subject: Subject) -> None:
    from jsonschema import Draft202012Validator

    options = _defaults(subject) | subject.own_options | {"no_such_option": 1}
    refused = not Draft202012Validator(subject.schema).is_valid(options)
    require(refused, 'the schema allows "no_such_option"; set additionalProperties to false')


def protocol(subject: Subject) -> None:
    made = subject.make()
    protocol: Any = getattr(protocols, registry.PROTOCOLS[subject.kind])
    for name, member in vars(protocol).items():
        if name.startswith("_") or not inspect.isfunction(member):
            continue
        wanted = list(inspect.signature(member).parameters)[1:]
        named = {n for n in wanted if _is_named(member, n)}
        method = getattr(made, name, None)
        require(callable(method), f"the method {name}() is missing")
        try:
            by_place = [each for each in wanted if each not in named]
            inspect.signature(method).bind(  # type: ignore[arg-type]
                *by_place, **dict.fromkeys(named)
            )
        except TypeError as error:
            require(False, f"{name}() does not take ({', '.join(wanted)}): {error}")
    require(isinstance(made, protocol), f"an attribute of {protocol.__name__} is missing")
    if subject.kind == "benchmarks":
        require(isinstance(made.scoring, Mapping), f"`scoring` is {made.scoring!r}, not a mapping")
    role = {"engines": "capabilities"} | dict.fromkeys(STAGES, "needs")
    if subject.kind in role:
        named = getattr(made, role[subject.kind])
        sound = isinstance(named, frozenset) and named <= ALL_NEEDS
        words = ", ".join(sorted(ALL_NEEDS))
        require(sound, f"`{role[subject.kind]}` is {named!r}, not a frozenset of some of {words}")


def _is_named(member: Any, name: str) -> bool:
    """Return whether the parameter is keyword-only."""
    return inspect.signature(member).parameters[name].kind is inspect.Parameter.KEYWORD_ONLY


def instances_are_independent(subject: Subject) -> None:
    one, other = subject.make(), subject.make()
    if any("__eq__" in vars(c) for c in type(one).__mro__[:-1]):
        require(one == other, f"two instances with the same options differ: {one!r}, {other!r}")
    if subject.kind == "engines":
        return
    before = _holdings(other)
    exercise(subject, one)
    after = _holdings(other)
    changed = [name for name in after if plain(after[name]) != plain(before.get(name))]
    require(not changed, f"using one instance changed another: {', '.join(changed)}")


def global_state_is_left_alone(subject: Subject) -> None:
    changed = elsewhere(subject)["changed"]
    require(not changed, f"importing its module changed {'; '.join(changed)}")
    outside = Shared()
    # The first call may import packages, and what they change is not the plugin's fault.
    exercise(subject)
    outside.restore()
    before = Shared()
    exercise(subject)
    changed = before.changes()
    require(not changed, f"putting it to work changed {'; '.join(changed)}")


def results_travel(subject: Subject) -> None:
    if subject.kind == "executors":
        raise NotApplicable("an executor stays in the process that made it")
    made = subject.samples if subject.kind == "benchmarks" else exercise(subject)
    try:
        back = pickle.loads(pickle.dumps(made))
    except Exception as error:  # pickling runs the plugin's code, which may raise anything
        require(False, f"what it makes cannot be pickled: {type(error).__name__}: {error}")
    require(plain(back) == plain(made), f"pickling changes what it makes: {shown(made)}")
    fault = journaled(subject.kind, made)
    require(not fault, f"what it makes cannot be journaled as JSON: {fault}")


def _defaults(subject: Subject) -> dict[str, Any]:
    properties = subject.schema.get("properties", {})
    return {name: option["default"] for name, option in properties.items() if "default" in option}


def _holdings(made: Any) -> dict[str, Any]:
    """Return copies of the lists, dicts and sets that an instance or its classes hold, by name."""
    held = {name: value for c in type(made).__mro__ for name, value in vars(c).items()}
    held |= getattr(made, "__dict__", {})
    return {
        name: copy.deepcopy(value)
        for name, value in held.items()
        if isinstance(value, list | dict | set) and not name.startswith("__")
    }


CHECKS = (
    Check(
        "import-cost",
        "Validating a spec imports the plugin's module, so it may import nothing heavy.",
        import_cost,
    ),
    Check(
        "options-schema",
        "Specs are checked, and editors complete them, by the JSON Schema of the options.",
        options_are_a_schema,
    ),
    Check(
        "options-described",
        "A description is all that a reader of `ttsi schema spec` learns of an option.",
        options_are_described,
    ),
    Check(
        "options-defaults",
        "An option that a spec leaves out has its default, which must be a value it allows.",
        defaults_are_valid,
    ),
    Check(
        "options-closed",
        "A misspelt option must be an error, or a run is not what its spec says.",
        unknown_options_are_refused,
    ),
    Check(
        "protocol",
        "A run calls the methods of ttsi.protocols by position and reads its attributes.",
        protocol,
    ),
    Check(
        "instances",
        "Each seed and each worker makes its own instance: equal, and independent of the others.",
        instances_are_independent,
    ),
    Check(
        "global-state",
        "Random generators, environment, signals and the like belong to the whole process.",
        global_state_is_left_alone,
    ),
    Check(
        "portable",
        "Samples and results cross processes by pickle and are journaled as JSON.",
        results_travel,
    ),
)
