"""Plugins, found by entry point and loaded by name.

Each kind has the entry-point group `ttsi.<kind>`. Discovery imports nothing; a
plugin's module is imported when a spec names it, or by `listing`.

Plugins of the distribution `ttsi` have bare names, all others `distribution/name`, so that no
package can take another's name. A name that is claimed twice is kept as a clash, and using it is an
error.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from typing import Any

from ttsi.errors import PluginError, UsageError

KINDS = (
    "benchmarks",
    "answers",
    "estimators",
    "generators",
    "learners",
    "inference",
    "engines",
    "executors",
    "scorers",
)
HOOKS = "hooks"
"""The pseudo-kind of lifecycle hooks; their entry-point group is plain `ttsi`."""

_GROUPS = {**{f"ttsi.{kind}": kind for kind in KINDS}, "ttsi": HOOKS}
PROTOCOLS = {
    "benchmarks": "Benchmark",
    "answers": "AnswerForm",
    "estimators": "Estimator",
    "generators": "Generator",
    "learners": "Learner",
    "inference": "Inference",
    "engines": "Engine",
    "executors": "Executor",
    "scorers": "Scorer",
}


_DISTRIBUTION = re.compile(r"[a-z0-9][a-z0-9-]{0,98}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point, not yet imported. `origin` is "module:attribute"."""

    kind: str
    name: str
    distribution: str
    version: str
    origin: str
    builtin: bool

    def __str__(self) -> str:
        return f"{self.kind} {self.name} ({self.distribution} {self.version}, {self.origin})"


def discover(kind: str) -> dict[str, Plugin]:
    """Return the plugins of a kind by name, in order of name, without importing any.

    For a name that is claimed twice the first plugin is given; `find` and `load` refuse it.
    """
    return {name: claims[0] for name, claims in _claims(kind).items()}


def find(kind: str, name: str) -> Plugin:
    """Return the one plugin of this name.

    Raises UsageError if there is none, PluginError if there are two or if it is switched off.
    """
    claims = _claims(kind).get(name)
    if claims is None:
        _refuse_switched_off(kind, name)
        what = f'There is no plugin "{name}" among the {kind}.'
        raise UsageError(what, cure=_cure_of_absence(kind, name))
    if len(claims) > 1:
        raise _clash(claims)
    return claims[0]


def is_installed(package: str, kind: str = "", name: str = "") -> bool:
    """Whether an installed package has plugins, or has the plugin `name` of a kind.

    Those that TTSI_LOAD_PLUGINS leaves out count, too. Nothing is imported.
    """
    return any(
        normalise(each.distribution) == normalise(package)
        and (not name or (each.kind, each.name) == (kind, name))
        for each in _scan(_path_state())
    )


def load(kind: str, name: str) -> type:
    """Import one plugin's class and check that it has the members of its protocol.

    Raises PluginError if that fails, UsageError for an unknown name.
    """
    return _import(find(kind, name))


def options_schema(kind: str, name: str) -> dict[str, Any]:
    """Return the JSON Schema of a plugin's options. Raises as `load` does."""
    return _schema(find(kind, name))


def scoring_preset(benchmark: str, scorer: str) -> dict[str, Any]:
    """Return the options of `scorer` that the labels of `benchmark` need; a spec overrides them."""
    known = options_schema("scorers", scorer).get("properties", {})
    scoring: Mapping[str, Any] = load("benchmarks", benchmark).scoring  # type: ignore[attr-defined]
    return {key: value for key, value in scoring.items() if key in known}


def listing(kind: str | None = None) -> list[dict[str, Any]]:
    """List every plugin with its `state`: ready, broken, clash or off; with `why` unless ready.

    Every module is imported, and no failure is raised. `options` is the schema, or None; `does` is
    the docstring.
    """
    rows = []
    for each in (kind,) if kind else (*KINDS, HOOKS):
        switched_on = _claims(each)
        for name, claims in _claims(each, switched_off_too=True).items():
            rows += [_row(plugin, claims, on=name in switched_on) for plugin in claims]
    return rows


# ---------------------------------------------------------------- finding


def normalise(distribution: str) -> str:
    """Return the one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _claims(kind: str, *, switched_off_too: bool = False) -> dict[str, tuple[Plugin, ...]]:
    if kind not in _GROUPS.values():
        from ttsi._common.suggest import did_you_mean

        raise UsageError(
            f'There is no kind of plugin "{kind}".', cure=did_you_mean(kind, KINDS, noun="kinds")
        )
    allowed = None if switched_off_too else _allowed_distributions()
    claims: dict[str, tuple[Plugin, ...]] = {}
    for plugin in sorted(_scan(_path_state()), key=lambda plugin: (plugin.name, plugin.origin)):
        wanted = plugin.builtin or allowed is None or normalise(plugin.distribution) in allowed
        if plugin.kind == kind and wanted:
            claims[plugin.name] = (*claims.get(plugin.name, ()), plugin)
    return claims


def _allowed_distributions() -> frozenset[str] | None:
    """Read TTSI_LOAD_PLUGINS: unset allows all, '' only the built-ins, else those listed."""
    listed = os.environ.get("TTSI_LOAD_PLUGINS")
    if listed is None:
        return None
    return frozenset(normalise(name.strip()) for name in listed.split(",") if name.strip())


def _path_state() -> tuple[tuple[str, int], ...]:
    """Return what the scan depends on; installing a package during a run changes an mtime here."""
    state = []
    for folder in sys.path:
        try:
            state.append((folder, os.stat(folder or ".").st_mtime_ns))
        except OSError:
            continue
    return tuple(state)


@lru_cache(maxsize=4)
def _scan(_state: tuple[tuple[str, int], ...]) -> tuple[Plugin, ...]:
    found = []
    entry_points = metadata.entry_points()
    about: dict[int, tuple[str, str]] = {}
    for group, kind in _GROUPS.items():
        for entry in entry_points.select(group=group):
            if entry.dist is None:
                continue
            if id(entry.dist) not in about:
                about[id(entry.dist)] = _name_and_version(entry.dist)
            distribution, version = about[id(entry.dist)]
            name = _qualified(entry.name, distribution)
            builtin = normalise(distribution) == "ttsi"
            found.append(Plugin(kind, name, distribution, version, entry.value, builtin))
    return tuple(found)


def _name_and_version(distribution: metadata.Distribution) -> tuple[str, str]:
    # A half-removed package has no METADATA; it must not break the others.
    if not (distribution.read_text("METADATA") or distribution.read_text("PKG-INFO")):
        return "unknown", "?"
    return distribution.metadata["Name"] or "unknown", distribution.metadata["Version"] or "?"


def _qualified(name: str, distribution: str) -> str:
    package = normalise(distribution)
    if package == "ttsi":
        return name
    prefix, slash, rest = name.partition("/")
    if slash and normalise(prefix) == package:
        return f"{package}/{rest}"
    return f"{package}/{name}"


def _refuse_switched_off(kind: str, name: str) -> None:
    installed = _claims(kind, switched_off_too=True).get(name)
    if installed:
        raise PluginError(
            f"{installed[0]} is installed, but TTSI_LOAD_PLUGINS leaves it out.",
            where=f"TTSI_LOAD_PLUGINS={os.environ.get('TTSI_LOAD_PLUGINS', '')!r}",
            cure=f"Add {normalise(installed[0].distribution)} to TTSI_LOAD_PLUGINS, or unset it.",
        )


def _cure_of_absence(kind: str, name: str) -> str:
    """Name the missing package of a name with a slash, and the names that exist.

    A spec may come from a stranger, so the reader decides whether to install what it names.
    """
    from ttsi._common.suggest import did_you_mean

    names = did_you_mean(name, _claims(kind))
    prefix, slash, _ = name.partition("/")
    package = normalise(prefix)
    present = {normalise(plugin.distribution) for plugin in _scan(_path_state())}
    if not slash or package in present or not _DISTRIBUTION.fullmatch(package):
        return names
    return (
        f'It comes with the package "{package}", which is not installed; if you trust it: '
        f"pip install {package}. {names}"
    )


def _group(kind: str) -> str:
    return next(group for group, its in _GROUPS.items() if its == kind)


def _clash(claims: tuple[Plugin, ...]) -> PluginError:
    origins = " and ".join(f"{p.origin} ({p.distribution} {p.version})" for p in claims)
    return PluginError(
        f'The name "{claims[0].name}" among the {claims[0].kind} is claimed by {origins}.',
        where=f"entry-point group {_group(claims[0].kind)}",
        cure=f"Upgrade {claims[0].distribution}, or uninstall it: pip uninstall "
        f"{claims[0].distribution}",
    )


# ---------------------------------------------------------------- loading


def _import(plugin: Plugin) -> type:
    try:
        loaded = metadata.EntryPoint(plugin.name, plugin.origin, f"ttsi.{plugin.kind}").load()
    except (Exception, SystemExit) as error:  # importing foreign code may raise anything
        raise _broken(plugin, f"{type(error).__name__}: {error}") from error
    if not isinstance(loaded, type):
        raise _broken(plugin, f"{plugin.origin} is not a class but {type(loaded).__name__}")
    missing = _missing_members(plugin.kind, loaded)
    if missing:
        raise _broken(plugin, f"the class lacks {', '.join(missing)}")
    misspelt = _misspelt_members(plugin.kind, loaded)
    if misspelt:
        raise _broken(plugin, f"has unknown members: {', '.join(misspelt)}")
    return loaded


def _missing_members(kind: str, loaded: type) -> list[str]:
    """Return the methods and attributes of the kind's protocol that the class lacks."""
    import inspect

    from ttsi import protocols

    members = vars(getattr(protocols, PROTOCOLS[kind])).items()
    methods = [n for n, v in members if callable(v) and not n.startswith("_")]
    attributes = [n for n, v in members if isinstance(v, property)]
    annotated = {n for c in loaded.__mro__ for n in inspect.get_annotations(c)}
    missing = [f"the method {n}()" for n in methods if not callable(getattr(loaded, n, None))]
    return missing + [
        f"the attribute {n}" for n in attributes if not hasattr(loaded, n) and n not in annotated
    ]


def _misspelt_members(kind: str, loaded: type) -> list[str]:
    """Return members that look like a misspelt optional member of the kind.

    Without this check the default would be used silently in their place.
    """
    from ttsi import optional, protocols
    from ttsi._common.suggest import slip

    may_have = {name for each in optional.OPTIONAL.get(kind, ()) for name in optional.members(each)}
    known = {*may_have, *optional.members(getattr(protocols, PROTOCOLS[kind]))}
    own = {name for each in loaded.__mro__[:-1] for name in vars(each) if name[0] != "_"}
    options = getattr(loaded, "__dataclass_fields__", {})
    found = {name: slip(name, may_have) for name in own - known - set(options)}
    return [f"{name} (did you mean {near}?)" for name, near in sorted(found.items()) if near]


def _schema(plugin: Plugin) -> dict[str, Any]:
    return _checked_schema(plugin, _import(plugin))


@lru_cache(maxsize=256)  # a grid asks for the same few schemas thousands of times
def _checked_schema(plugin: Plugin, loaded: type) -> dict[str, Any]:
    from jsonschema import Draft202012Validator, SchemaError

    from ttsi.options import options_schema as of_class

    try:
        schema = of_class(loaded)
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise _broken(plugin, f"its options schema is not JSON Schema: {error.message}") from error
    except Exception as error:  # evaluating a foreign class's type hints may raise anything
        raise _broken(plugin, f"its options cannot be read: {error}") from error
    if (
        schema.get("type") != "object"
        or "name" in schema.get("properties", {})
        or "'$ref'" in str(schema)
    ):
        why = 'its options schema must have type object, no option called "name" and no $ref'
        raise _broken(plugin, why)
    return schema


def _broken(plugin: Plugin, why: str) -> PluginError:
    package = plugin.distribution
    cure = f"pip install --upgrade {package}, or without it: pip uninstall {package}"
    if plugin.builtin:
        cure = f"pip install --force-reinstall {package}"
    return PluginError(f"The plugin {plugin} cannot be loaded: {why}.", cure=cure)


def _row(plugin: Plugin, claims: tuple[Plugin, ...], *, on: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "kind": plugin.kind,
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "origin": plugin.origin,
        "builtin": plugin.builtin,
        "state": "ready",
        "why": "",
        "does": "",
        "options": None,
    }
    if not on:
        return row | {"state": "off", "why": "left out by TTSI_LOAD_PLUGINS"}
    if len(claims) > 1:
        return row | {"state": "clash", "why": str(_clash(claims))}
    try:
        schema: Mapping[str, Any] | None = None if plugin.kind == HOOKS else _schema(plugin)
        made = load_hook(plugin) if plugin.kind == HOOKS else _import(plugin)
    except PluginError as error:
        return row | {"state": "broken", "why": error.what}
    return row | {"does": description(made), "options": schema}


def description(plugin: Any) -> str:
    """Return the docstring of a plugin's class or hook module, or "": what it is for comes first.

    The docstring that `dataclass` generates does not count.
    """
    import inspect

    text = getattr(plugin, "__doc__", None)
    if not isinstance(text, str) or text.startswith(f"{getattr(plugin, '__name__', '')}("):
        return ""
    return inspect.cleandoc(text)


def load_hook(plugin: Plugin) -> Any:
    """Import the module or object that holds hook implementations. Raises PluginError."""
    try:
        return metadata.EntryPoint(plugin.name, plugin.origin, "ttsi").load()
    except (Exception, SystemExit) as error:  # as in _import
        raise _broken(plugin, f"{type(error).__name__}: {error}") from error
