"""Lifecycle hooks: a package watches runs without being named in a spec.

A module (or object) with functions marked `@ttsi.hooks.hookimpl`, offered through the entry-point
group `ttsi`, is called at each of the moments below. A hook cannot change a result. A hook that
raises is reported with its plugin's name, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

from ttsi import registry
from ttsi._common import console
from ttsi.errors import PluginError
from ttsi.types import JSON, Record

if TYPE_CHECKING:
    from ttsi.results.runs import Run

hookspec = pluggy.HookspecMarker("ttsi")
hookimpl = pluggy.HookimplMarker("ttsi")


class Hookspecs:
    """The hooks that a plugin may implement."""

    @hookspec
    def ttsi_run_started(self, run: Mapping[str, JSON]) -> None:
        """Called before the first wave; `run`: name, seed, samples, folder and (resolved) spec."""

    @hookspec
    def ttsi_sample_finished(self, record: Record) -> None:
        """Called once per sample after it has been journaled, in the order of the journal."""

    @hookspec
    def ttsi_run_finished(self, results: Mapping[str, JSON]) -> None:
        """Called after results.json has been written; `results` is its content."""

    @hookspec
    def ttsi_report_sections(self, run: Run) -> list[tuple[str, str]]:  # type: ignore[empty-body]
        """Return further sections for the report of a run as (title, HTML); the HTML is not
        escaped.
        """


class _OnSample:
    def __init__(self, on_sample: Callable[[Record], None]) -> None:
        self._on_sample = on_sample

    @hookimpl
    def ttsi_sample_finished(self, record: Record) -> None:
        self._on_sample(record)


class Hooks:
    """Calls every plugin's implementation separately, so that one failure does not stop the others.

    `failures` lists (plugin name, hook name, error message) in the order in which they occurred.
    """

    def __init__(self) -> None:
        self.failures: list[tuple[str, str, str]] = []
        self._manager = pluggy.PluginManager("ttsi")
        self._manager.add_hookspecs(Hookspecs)
        for name in registry.discover(registry.HOOKS):
            self._register_named(name)

    def register(self, plugin: object, name: str) -> None:
        """Add one object with hook implementations.

        Raises PluginError if a hook is misspelt or wrongly declared, or if the name is taken.
        """
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._manager.get_plugin(name) is plugin:
                self._manager.unregister(plugin)
            cure = f"Correct the hooks of {name}: their names and arguments are in ttsi.hooks."
            raise PluginError(f"The hooks of {name} do not fit: {error}", cure=cure) from error

    def add(self, on_sample: Callable[[Record], None]) -> None:
        """Call a plain function for each finished sample, as `ttsi_sample_finished` would be."""
        name = getattr(on_sample, "__name__", "on_sample")
        self.register(_OnSample(on_sample), f"{name}#{id(on_sample)}")

    def run_started(self, run: Mapping[str, JSON]) -> None:
        self._call("ttsi_run_started", run=run)

    def sample_finished(self, record: Record) -> None:
        self._call("ttsi_sample_finished", record=record)

    def run_finished(self, results: Mapping[str, JSON]) -> None:
        self._call("ttsi_run_finished", results=results)

    def report_sections(self, run: Run) -> list[tuple[str, str]]:
        """Return the sections that plugins add to the report of `run`, in registration order."""
        found: list[list[tuple[str, str]]] = self._call("ttsi_report_sections", run=run)
        return [section for sections in found for section in sections]

    def _register_named(self, name: str) -> None:
        # No spec names a hook plugin, so a broken one must not stop a run.
        try:
            self.register(registry.load_hook(registry.find(registry.HOOKS, name)), name)
        except PluginError as error:
            self._failed(name, "loading", str(error))

    def _call(self, hook: str, **arguments: Any) -> list[Any]:
        found: list[Any] = []
        plugins = self._manager.list_name_plugin()
        for name, plugin in plugins:
            if plugin is None:
                continue
            others = [other for _, other in plugins if other is not None and other is not plugin]
            try:
                found += self._manager.subset_hook_caller(hook, others)(**arguments)
            except (Exception, SystemExit) as error:  # a hook's fault must not end the run
                self._failed(name, hook, f"{type(error).__name__}: {error}")
        return found

    def _failed(self, name: str, hook: str, why: str) -> None:
        self.failures.append((name, hook, why))
        console.warn(f"hook plugin {name}, {hook}: {why}")
