"""Hooks are called one by one; an error of one is reported and does not affect the run."""

from __future__ import annotations

from pathlib import Path

import pytest
from _dists import importable, write_dist

from ttsi.errors import PluginError
from ttsi.hooks import Hooks, hookimpl
from ttsi.types import Record

RECORD = Record(id="rows/1", digest="sha256:0", seed=0)


class Watcher:
    def __init__(self) -> None:
        self.seen: list[object] = []

    @hookimpl
    def ttsi_run_started(self, run: object) -> None:
        self.seen.append(run)

    @hookimpl
    def ttsi_sample_finished(self, record: Record) -> None:
        self.seen.append(record.id)

    @hookimpl
    def ttsi_run_finished(self, results: object) -> None:
        self.seen.append(results)


class Raiser:
    @hookimpl
    def ttsi_sample_finished(self, record: Record) -> None:
        raise ZeroDivisionError(record.id)

    @hookimpl
    def ttsi_run_finished(self) -> None:
        raise SystemExit(4)


def test_each_moment_reaches_each_watcher_in_order() -> None:
    hooks, watcher = Hooks(), Watcher()
    hooks.register(watcher, "watcher")
    hooks.run_started({"name": "r"})
    hooks.sample_finished(RECORD)
    hooks.run_finished({"accuracy": 1.0})
    assert watcher.seen == [{"name": "r"}, "rows/1", {"accuracy": 1.0}]


@pytest.mark.parametrize("raiser_first", [True, False])
def test_one_that_raises_is_told_and_stops_no_other(
    raiser_first: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    hooks, watcher = Hooks(), Watcher()
    both = [(Raiser(), "raiser"), (watcher, "watcher")]
    for plugin, name in both if raiser_first else reversed(both):
        hooks.register(plugin, name)
    hooks.sample_finished(RECORD)
    hooks.run_finished({})
    assert watcher.seen == ["rows/1", {}]
    assert hooks.failures == [
        ("raiser", "ttsi_sample_finished", "ZeroDivisionError: rows/1"),
        ("raiser", "ttsi_run_finished", "SystemExit: 4"),
    ]
    assert "hook plugin raiser, ttsi_sample_finished" in capsys.readouterr().err


def test_an_interrupt_passes_through() -> None:
    class Interrupter:
        @hookimpl
        def ttsi_run_started(self) -> None:
            raise KeyboardInterrupt

    hooks = Hooks()
    hooks.register(Interrupter(), "interrupter")
    with pytest.raises(KeyboardInterrupt):
        hooks.run_started({})


def test_a_plain_function_can_watch_samples() -> None:
    hooks = Hooks()
    seen: list[Record] = []
    hooks.add(seen.append)
    hooks.sample_finished(RECORD)
    assert seen == [RECORD]


class Misspelt:
    @hookimpl
    def ttsi_run_begun(self) -> None: ...


class Misdeclared:
    @hookimpl
    def ttsi_run_started(self, spec: object) -> None: ...


@pytest.mark.parametrize("plugin", [Misspelt(), Misdeclared()])
def test_hooks_that_do_not_fit_are_refused_and_leave_the_rest_alone(plugin: object) -> None:
    hooks, watcher = Hooks(), Watcher()
    with pytest.raises(PluginError, match="faulty"):
        hooks.register(plugin, "faulty")
    hooks.register(watcher, "watcher")
    hooks.run_started({"name": "r"})
    assert watcher.seen == [{"name": "r"}]
    assert hooks.failures == []


CODE = """
from ttsi.hooks import hookimpl
SEEN = []

@hookimpl
def ttsi_run_started(run):
    SEEN.append(run)
"""


def test_installed_hook_plugins_are_found_and_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "watch = acme_watch\nbroken = acme_gone"
    write_dist(tmp_path, "acme", {"ttsi": lines}, {"acme_watch": CODE})
    monkeypatch.delenv("TTSI_LOAD_PLUGINS", raising=False)
    with importable(tmp_path):
        hooks = Hooks()
        hooks.run_started({"name": "r"})
        import acme_watch

        assert acme_watch.SEEN == [{"name": "r"}]
        assert [(name, when) for name, when, _ in hooks.failures] == [("acme/broken", "loading")]
        assert "acme_gone" in capsys.readouterr().err

        monkeypatch.setenv("TTSI_LOAD_PLUGINS", "")
        hooks = Hooks()
        hooks.run_started({"name": "again"})
        assert acme_watch.SEEN == [{"name": "r"}]
        assert hooks.failures == []
