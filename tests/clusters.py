"""A Ray cluster for tests, in separate processes, so that this process keeps nothing of it."""

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

_START = "start --block --node-ip-address=127.0.0.1"
_HEAD = "--head --port=0 --include-dashboard=false --disable-usage-stats"
_QUIET = "--include-log-monitor=false"
_MEMORY = f"--object-store-memory={80 * 2**20}"


@contextmanager
def started(cpus: int = 4) -> Iterator[str]:
    """Yield the address of a cluster with so many logical cores, which runs inside the context."""
    # Socket paths have to be short, and pytest's own folders are nested too deeply.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as name:
        address = Path(name) / "ray_current_cluster"
        words = [*_HEAD.split(), f"--num-cpus={cpus}", "--num-gpus=0", f"--temp-dir={name}"]
        with _ray(Path(name), *words) as (process, said):
            while not (address.exists() and address.read_text()):
                assert process.poll() is None, said.read_text()
                time.sleep(0.05)
            yield address.read_text().strip()


@contextmanager
def joined(cluster: str, cpus: int, gpus: int = 0, **environment: str) -> Iterator[None]:
    """Add a node to the cluster at this address, which Ray takes for another machine.

    Ray hands out its logical GPUs as it does real ones.
    """
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as name:
        words = [f"--address={cluster}", f"--num-cpus={cpus}", f"--num-gpus={gpus}"]
        with _ray(Path(name), *words, **environment) as (process, said):
            while "Ray runtime started" not in said.read_text():
                assert process.poll() is None, said.read_text()
                time.sleep(0.05)
            yield


@contextmanager
def _ray(
    folder: Path, *words: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    said = folder / "said"
    command = [*_START.split(), *words, _QUIET, _MEMORY]
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", *command],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ENVIRONMENT, **environment},
        )
    try:
        yield process, said
    finally:
        process.terminate()
        process.wait()
