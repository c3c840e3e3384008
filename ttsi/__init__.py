"""ttsi: test-time self-improvement of LLM agents, as a plugin framework.

import ttsi
cells = ttsi.evaluate("specs/quickstart.json", overrides={"benchmark.limit": 8})
print(cells[0].summary["accuracy"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttsi.answers.calls.parse import parse_calls
    from ttsi.errors import TtsiError
    from ttsi.options import option
    from ttsi.running.evaluate import CellResult, evaluate
    from ttsi.solving.pipeline import Solution
    from ttsi.solving.solver import Solver
    from ttsi.spec import Spec, load_spec

from ttsi._common.version import __version__

_HOME = {
    "CellResult": "ttsi.running.evaluate",
    "Solution": "ttsi.solving.pipeline",
    "Solver": "ttsi.solving.solver",
    "Spec": "ttsi.spec",
    "TtsiError": "ttsi.errors",
    "evaluate": "ttsi.running.evaluate",
    "load_spec": "ttsi.spec",
    "option": "ttsi.options",
    "parse_calls": "ttsi.answers.calls.parse",
}

__all__ = [
    "CellResult",
    "Solution",
    "Solver",
    "Spec",
    "TtsiError",
    "__version__",
    "evaluate",
    "load_spec",
    "option",
    "parse_calls",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when first asked for: `import ttsi` stays quick."""
    if name not in _HOME:
        raise AttributeError(f"module 'ttsi' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
