"""Clean-up after this process, even if it is killed.

vLLM's processes outlive a parent that was killed, and keep the device's memory. So a shell waits
for the end of a pipe, which closes even when this process is killed.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path


def watch(pids: Sequence[int], leftovers: Sequence[Path]) -> subprocess.Popen[bytes]:
    """Start a shell that, if this process dies, ends `pids` and deletes paths `leftovers`*."""
    numbers = " ".join(map(str, pids))
    paths = " ".join(f"{shlex.quote(str(path))}*" for path in leftovers)
    script = f"read line || {{ kill {numbers}; rm -rf {paths}; }}"
    # In a session of its own, ctrl-C does not reach it.
    return subprocess.Popen(
        ["/bin/sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True
    )


def dismiss(watcher: subprocess.Popen[bytes]) -> None:
    """End `watcher` without its clean-up."""
    watcher.communicate(b"\n")
