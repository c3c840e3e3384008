"""What ends with this process, however that ends.

vLLM's processes outlive one that was killed, and hold the device's memory on. So a shell waits
beside them for the end of a pipe, which even a killed process closes.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path


def watch(pids: Sequence[int], leftovers: Sequence[Path]) -> subprocess.Popen[bytes]:
    """Should this process die, end `pids` and delete whatever begins with a path of `leftovers`."""
    numbers = " ".join(map(str, pids))
    paths = " ".join(f"{shlex.quote(str(path))}*" for path in leftovers)
    script = f"read line || {{ kill {numbers}; rm -rf {paths}; }}"
    # A session of its own keeps ctrl-C from it.
    return subprocess.Popen(
        ["/bin/sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True
    )


def dismiss(watcher: subprocess.Popen[bytes]) -> None:
    """Let `watcher` go: it does nothing more."""
    watcher.communicate(b"\n")
