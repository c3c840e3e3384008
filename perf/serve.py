"""The load that `ttsi serve` bears, and its answers' times beside `transformers serve`.

500 requests by 32 clients, of which every fifth hangs up in the middle, with the base model's
answers: none may fail, and memory is to be flat after the first 100. Then 64 requests, 16 at a
time, by each of the two servers. Seconds are those of the clients.

    python -m perf.serve --model smollm2-135m
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from perf.common import samples

_PATIENCE = 300
WARM = 100
"""The requests after which a server's memory is to be flat."""


@contextmanager
def served(command: Sequence[str]) -> Iterator[tuple[str, psutil.Process]]:
    """Yield host:port and the process of a server once it answers; end it afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=log,
            stderr=log,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        try:
            _wait(address, process)
            yield address, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(_PATIENCE)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + _PATIENCE
    while True:
        if process.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"the server at {address} does not answer")
        try:
            direct.open(f"http://{address}/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)


def bodies(model: str, count: int, tokens: int) -> list[bytes]:
    """Return requests for texts, each with another beginning."""
    asked = [row.task.input for row in samples("sealtool", min(count, 200))]
    made = []
    for number in range(count):
        text = f"({number}) {asked[number % len(asked)]}"
        messages = [{"role": "user", "content": text}]
        body = {"model": model, "messages": messages, "max_tokens": tokens, "temperature": 0}
        made.append(json.dumps(body).encode())
    return made


def ask(address: str, body: bytes, hang_up_after: float | None = None) -> float | None:
    """Return the seconds to the answer; None for a client that hung up. Raises for any error."""
    connection = http.client.HTTPConnection(address, timeout=_PATIENCE)
    began = time.monotonic()
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    if hang_up_after is not None:
        time.sleep(hang_up_after)
        connection.close()
        return None
    answer = connection.getresponse()
    read = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"status {answer.status}: {read[:300]!r}")
    return time.monotonic() - began


def load(address: str, process: psutil.Process, given: argparse.Namespace) -> dict[str, Any]:
    """Return the times and the memory, in MiB, of many clients of which some hang up."""
    asked = bodies(given.name + ":base", given.requests, given.tokens)
    memory: list[int] = []
    done, lock = 0, threading.Lock()

    def one(number: int) -> float | None:
        nonlocal done
        leaves = 0.1 if number % 5 == 4 else None
        took = ask(address, asked[number], leaves)
        with lock:
            done += 1
            if done in (WARM, len(asked)):
                memory.append(round(process.memory_info().rss / 2**20))
        return took

    began = time.monotonic()
    with ThreadPoolExecutor(given.clients) as pool:
        times = list(pool.map(one, range(len(asked))))
    return {
        "requests": len(asked),
        "clients": given.clients,
        "hung_up": times.count(None),
        "seconds": round(time.monotonic() - began, 2),
        **_spread([each for each in times if each is not None]),
        "memory_mib": {f"after {WARM}": memory[0], "at the end": memory[-1]},
    }


def beside(address: str, model: str, given: argparse.Namespace) -> dict[str, Any]:
    """Return the times of 64 requests, 16 at a time."""
    asked = bodies(model, 64, given.tokens)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda body: ask(address, body), asked[:16]))  # for both: warm
        began = time.monotonic()
        times = [each for each in pool.map(lambda body: ask(address, body), asked) if each]
    return {"seconds": round(time.monotonic() - began, 2), **_spread(times)}


def _spread(times: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=20)
    return {"p50": round(statistics.median(times), 3), "p95": round(cuts[18], 3)}


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--folder", help="the same model, for `transformers serve`; default: ours")
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--without-reference", action="store_true")
    options = parser.parse_args(given)
    options.name = "load"
    spec = {
        "name": options.name,
        "model": {"id": options.model, "dtype": "float32"},
        "inference": {"name": "direct", "decoding": "greedy"},
    }
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.json"
        path.write_text(json.dumps(spec))
        with served([sys.executable, "-m", "ttsi", "serve", str(path)]) as (address, process):
            found["load"] = load(address, process, options)
            found["ours, 16 at a time"] = beside(address, "load:base", options)
    if not options.without_reference:
        theirs = options.folder or _folder(options.model)
        command = [sys.executable, "-m", "transformers.cli.transformers", "serve", theirs]
        with served([*command, "--device", "cpu", "--dtype", "float32"]) as (address, _):
            found["transformers serve, 16 at a time"] = beside(address, theirs, options)
    print(json.dumps(found, indent=1))


def _folder(model: str) -> str:
    from ttsi_plugins.engines.transformers import weights

    return str(weights.resolve({"id": model}))


if __name__ == "__main__":
    main()
