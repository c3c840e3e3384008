"""A cluster of Ray for tests, in processes of its own, so that nothing of it stays in that one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(
        [str(Path(__file__).parent / "fakes"), os.environ.get("PYTHONPATH", "")]
    ),
    "RAY_AUTH_MODE": "disabled",  # else Ray writes a token into the home folder
    "RAY_USAGE_STATS_ENABLED": "0",
}

_START = "start --head --block --port=0 --node-ip-address=127.0.0.1 --num-cpus=4 --num-gpus=0"
_QUIET = "--include-dashboard=false --include-log-monitor=false --disable-usage-stats"
_MEMORY = f"--object-store-memory={80 * 2**20}"


@contextmanager
def started() -> Iterator[str]:
    """The address of a cluster with four logical cores, there inside."""
    words = [*_START.split(), *_QUIET.split(), _MEMORY]
    # Names of sockets have to be short: pytest's own folders are too deep for them.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / "said").open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", *words, f"--temp-dir={folder}"],
                stdout=said,
                stderr=subprocess.STDOUT,
                env={**os.environ, **ENVIRONMENT},
            )
        try:
            address = folder / "ray_current_cluster"
            while not (address.exists() and address.read_text()):
                assert process.poll() is None, (folder / "said").read_text()
                time.sleep(0.05)
            yield address.read_text().strip()
        finally:
            process.terminate()
            process.wait()
