"""Writes the generated parts of the documentation: docs/cli.md, from the commands' own help."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent


def command_reference() -> str:
    """docs/cli.md: what `ttsi --help` and `ttsi VERB --help` print."""
    from ttsi.cli import VERBS

    parts = [
        "# The command line",
        "What `ttsi --help` and `ttsi VERB --help` print. This page is generated: `make docs`.",
    ]
    for verb in ("", *VERBS):
        title = f"ttsi {verb}".strip()
        parts.append(f"## {title}\n\n```text\n{_help(verb)}\n```")
    return "\n\n".join(parts) + "\n"


def _help(verb: str) -> str:
    words = [verb, "--help"] if verb else ["--help"]
    done = subprocess.run(
        [sys.executable, "-m", "ttsi", *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "96", "NO_COLOR": "1"},
    )
    return done.stdout.rstrip()


def main() -> None:
    (DOCS / "cli.md").write_text(command_reference())
    print("docs/cli.md written")


if __name__ == "__main__":
    main()
