"""The checks of a kind, and a plugin put through them."""

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
    """What a plugin of this kind is held to, in the order in which it is checked."""
    from ttsi.testing import common

    if kind not in _HOMES:
        what = f'There is no kind of plugin "{kind}".'
        raise UsageError(what, cure=did_you_mean(kind, registry.KINDS, noun="kinds"))
    of_kind: tuple[Check, ...] = import_module(f"ttsi.testing.{_HOMES[kind]}").CHECKS
    return (*common.CHECKS, *of_kind)


def check_plugin(
    name: str, options: Mapping[str, Any] | None = None, kind: str | None = None
) -> list[Outcome]:
    """Put an installed plugin through the checks of its kind.

    Raises UsageError (no such plugin, or one in several kinds and `kind` is None) and PluginError
    (it cannot be loaded).
    """
    return _outcomes(subject_of(name, options or {}, kind))


def check_class(
    kind: str, plugin: type, options: Mapping[str, Any] | None = None, *, name: str = ""
) -> list[Outcome]:
    """The same for a class that need not be installed; `name` as a spec would say it."""
    return _outcomes(Subject(kind, name or plugin.__name__.lower(), plugin, options or {}))


def subject_of(name: str, options: Mapping[str, Any], kind: str | None = None) -> Subject:
    """UsageError for options that its schema does not allow, and as `kind_of`; PluginError."""
    kind = kind_of(name, kind)
    subject = Subject(kind, name, registry.load(kind, name), options)
    faults = _option_faults(subject)
    if faults:
        what = f"Not options of the plugin {name}: {'; '.join(faults)}."
        raise UsageError(what, cure=f"ttsi plugins {kind} --json prints what it takes.")
    return subject


def kind_of(name: str, kind: str | None = None) -> str:
    """The kind among whose plugins `name` is; imports none of them.

    UsageError unless there is just one. PluginError: claimed twice, or switched off.
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
    except NotApplicable:  # there is no schema to go by, and a check that says so
        return []
    errors = validator.iter_errors(subject.own_options)
    return [": ".join([*map(str, error.path), error.message]) for error in errors]


def run_check(check: Check, subject: Subject) -> Outcome:
    """Never raises: what the plugin raises where it should not is a failure like any other.

    What the plugin changes in this process is changed back, for the checks after it and for whoever
    runs them.
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
    except (Exception, SystemExit) as error:  # a stranger's plugin may raise anything at all
        return Outcome(check, False, f"{subject.origin} raised {_told(error)}")
    finally:
        before.restore()
    return Outcome(check, True)


def _outcomes(subject: Subject) -> list[Outcome]:
    return [run_check(check, subject) for check in checks_for(subject.kind)]


def _told(error: BaseException) -> str:
    """Type, message, and the line of code that raised it."""
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"
