"""Running the contract checks of a kind on a plugin."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ttsi import registry
from ttsi._common.suggest import did_you_mean
from ttsi.errors import MissingAsset, UsageError
from ttsi.testing.checks import Check, NotApplicable, Outcome, Violation
from ttsi.testing.state import Shared
from ttsi.testing.subject import STAGES, Subject

_HOMES = {
    **dict.fromkeys(STAGES, "stages"),
    "answers": "forms",
    "benchmarks": "benchmarks",
    "engines": "engines",
    "executors": "executors",
    "scorers": "scorers",
}


def checks_for(kind: str) -> tuple[Check, ...]:
    """Return the contract checks of a kind, in the order in which they run.

    Raises UsageError where there is no such kind.
    """
    from ttsi.testing import common

    if kind not in _HOMES:
        what = f'There is no kind of plugin "{kind}".'
        raise UsageError(what, cure=did_you_mean(kind, registry.KINDS, noun="kinds"))
    of_kind: tuple[Check, ...] = import_module(f"ttsi.testing.{_HOMES[kind]}").CHECKS
    return (*common.CHECKS, *of_kind)


def check_plugin(
    name: str, options: Mapping[str, Any] | None = None, kind: str | None = None
) -> list[Outcome]:
    """Run the checks of its kind on an installed plugin.

    Raises UsageError (no such plugin, several kinds have one and `kind` is None, or options that
    its schema forbids) and PluginError (it cannot be loaded).
    """
    return _outcomes(subject_of(name, options or {}, kind))


def check_class(
    kind: str, plugin: type, options: Mapping[str, Any] | None = None, *, name: str = ""
) -> list[Outcome]:
    """Run the checks of `kind` on a class that need not be installed.

    `name`: the name that a spec would use; by default the class's, in lower case.
    """
    return _outcomes(Subject(kind, name or plugin.__name__.lower(), plugin, options or {}))


def subject_of(name: str, options: Mapping[str, Any], kind: str | None = None) -> Subject:
    """Return the plugin as a subject of checks. Raises as `check_plugin` does."""
    kind = kind_of(name, kind)
    subject = Subject(kind, name, registry.load(kind, name), options)
    faults = _option_faults(subject)
    if faults:
        what = f"Not options of the plugin {name}: {'; '.join(faults)}."
        raise UsageError(what, cure=f"ttsi plugins {kind} --json prints what it takes.")
    return subject


def kind_of(name: str, kind: str | None = None) -> str:
    """Return the kind that has a plugin called `name`, without importing it.

    Raises UsageError unless exactly one kind has it, and PluginError where two packages claim the
    name or it is switched off.
    """
    kinds = []
    for each in [kind] if kind else registry.KINDS:
        try:
            kinds.append(registry.find(each, name).kind)
        except UsageError:
            if kind:
                raise
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        what = f'"{name}" is a plugin of several kinds: {", ".join(kinds)}.'
        raise UsageError(what, cure="Say which kind is meant.")
    names = {each for kind in registry.KINDS for each in registry.discover(kind)}
    raise UsageError(f'There is no plugin "{name}".', cure=did_you_mean(name, names))


def _option_faults(subject: Subject) -> list[str]:
    from jsonschema import Draft202012Validator

    try:
        validator = Draft202012Validator(subject.schema)
    except NotApplicable:  # the check `options-schema` reports an unreadable schema
        return []
    errors = validator.iter_errors(subject.own_options)
    return [": ".join([*map(str, error.path), error.message]) for error in errors]


def run_check(check: Check, subject: Subject) -> Outcome:
    """Run a check and return its outcome. An unexpected exception of the plugin is a failure.

    What the plugin changes in this process is restored, for later checks and for the caller.
    """
    before = Shared()
    try:
        check.run(subject)
    except NotApplicable as reason:
        return Outcome(check, True, str(reason), skipped=True)
    except MissingAsset as missing:
        return Outcome(check, True, str(missing), skipped=True, missing=True)
    except Violation as violation:
        return Outcome(check, False, f"{subject.origin}: {violation}")
    except (Exception, SystemExit) as error:  # a plugin may raise anything
        return Outcome(check, False, f"{subject.origin} raised {_told(error)}")
    finally:
        before.restore()
    return Outcome(check, True)


def _outcomes(subject: Subject) -> list[Outcome]:
    return [run_check(check, subject) for check in checks_for(subject.kind)]


def _told(error: BaseException) -> str:
    """Return an error's type, message, and the line of code that raised it."""
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"
