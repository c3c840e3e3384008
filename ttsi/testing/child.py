"""What only a fresh interpreter can tell: what importing costs, and whether results travel.

`ask` starts one with another hash seed; `main` runs there.
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
"""What no plugin's module may import: it is read whenever a spec that names it is validated."""


def elsewhere(subject: Subject) -> dict[str, Any]:
    """What a fresh interpreter finds out about it: `ask`, once."""
    return subject.once("elsewhere", lambda: ask(subject))


def ask(subject: Subject) -> dict[str, Any]:
    """Of a fresh interpreter: what importing the class brought in ("heavy") and changed
    ("changed"), and the fingerprint of what it makes there ("made", None where it failed)."""
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
    """Reads a question from stdin; the answer is the last line on stdout."""
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
