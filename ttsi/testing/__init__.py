"""Tools for authors of plugins: contract checks, and fast fakes that need no model.

from ttsi.testing import contract

test_contract = contract("acme-doubt/length", tolerated=80)   # in a pytest file
check_plugin("acme-doubt/length", {"tolerated": 80})          # anywhere else

checks.py       what a check is, and what it finds
subject.py      the plugin under check
running.py      runs the checks of a plugin's kind
contracts.py    the same as a pytest function; pytest_plugin.py: fixtures
common.py       checks for every kind; benchmarks, engines, executors, forms (answer forms),
                scorers and stages have those for one kind
fake_engine.py  fake_benchmark.py  instances.py  the fakes
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttsi.testing.checks import Check, NotApplicable, Outcome, Violation
    from ttsi.testing.contracts import contract
    from ttsi.testing.fake_benchmark import FakeBenchmark
    from ttsi.testing.fake_engine import FakeEngine
    from ttsi.testing.running import check_class, check_plugin, checks_for

_HOME = {
    "Check": "checks",
    "FakeBenchmark": "fake_benchmark",
    "FakeEngine": "fake_engine",
    "NotApplicable": "checks",
    "Outcome": "checks",
    "Violation": "checks",
    "check_class": "running",
    "check_plugin": "running",
    "checks_for": "running",
    "contract": "contracts",
}

__all__ = [
    "Check",
    "FakeBenchmark",
    "FakeEngine",
    "NotApplicable",
    "Outcome",
    "Violation",
    "check_class",
    "check_plugin",
    "checks_for",
    "contract",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use: pytest imports this package wherever ttsi is installed."""
    if name not in _HOME:
        raise AttributeError(f"module 'ttsi.testing' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"ttsi.testing.{_HOME[name]}"), name)
    globals()[name] = value
    return value
