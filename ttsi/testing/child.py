"""Observations from a fresh interpreter: what importing a plugin does, and what the plugin returns.

`ask` starts the interpreter with another hash seed; `main` runs in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from operator import attrgetter
from typing import Any

from ttsi.testing.checks import Violation
from ttsi.testing.exercise import REPEATABLE, exercise
from ttsi.testing.plain import fingerprint
from ttsi.testing.subject import Subject

HEAVY = (
    "accelerate", "datasets", "jax", "jinja2", "matplotlib", "numpy", "openai", "pandas", "peft",
    "pyarrow", "ray", "scipy", "sentence_transformers", "sklearn", "tensorflow", "torch",
    "transformers", "vllm", "xgrammar",
)  # fmt: skip
"""What no plugin's module may import: it is imported when a spec that names it is validated."""


def elsewhere(subject: Subject) -> dict[str, Any]:
    """Return the result of `ask`, which is run once for each subject."""
    return subject.once("elsewhere", lambda: ask(subject))


def ask(subject: Subject) -> dict[str, Any]:
    """Import and exercise the plugin in a fresh interpreter.

    Return the packages of HEAVY that importing loads ("heavy"), the process state that it changes
    ("changed"), and the fingerprint of the plugin's results ("made"), None where it failed or the
    kind is not in REPEATABLE. Raises Violation where the import fails.
    """
    question = [subject.kind, subject.name, subject.origin, dict(subject.options)]
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "20251",
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", "from ttsi.testing.child import main; main()"],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Violation(f"a fresh interpreter cannot import it: {last}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    """Read a question from stdin and print the answer as the last line on stdout."""
    from ttsi.testing.state import Shared

    kind, name, origin, options = json.load(sys.stdin)
    module, _, qualname = origin.partition(":")
    before, loaded = Shared(), set(sys.modules)
    plugin = attrgetter(qualname)(import_module(module))
    answer = {
        "heavy": sorted({new.partition(".")[0] for new in set(sys.modules) - loaded} & set(HEAVY)),
        "changed": before.changes(),
        "made": _made(Subject(kind, name, plugin, options)),
    }
    print()
    print(json.dumps(answer))


def _made(subject: Subject) -> str | None:
    if subject.kind not in REPEATABLE:
        return None
    try:
        return fingerprint(exercise(subject))
    except Exception:  # the same fails in the parent, which says what and where
        return None
