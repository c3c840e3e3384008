"""The load that `ttsi serve` bears, and its answers' times beside those of other servers.

500 requests by 32 clients, of which every fifth hangs up in the middle, with the base model's
answers: none may fail, and memory is to be flat after the first 100. Then the servers take turns,
round by round, each with the same 64 requests, 16 at a time. Seconds are those of the clients.

    python -m perf.serve --model smollm2-135m
    python -m perf.serve --vllm /tmp/vllm/bin/python   # made as `perf.vllm` says
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
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from operator import eq
from pathlib import Path
from typing import Any

import psutil
import torch

from perf.common import samples
from perf.result import LEAST_PAIRS, RESULTS, Machine, about, versions, write
from perf.timing import Side, speed_ratios, spread, take_turns
from ttsi.records.provenance import environment

_PATIENCE = 300
ROUND, AT_ONCE = 64, 16
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
            # By itself vLLM keeps a core free for its scheduler; the others use them all.
            env={"VLLM_CPU_NUM_OF_RESERVED_CPU": "0", **os.environ, "HF_HUB_OFFLINE": "1"},
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


def bodies(model: str, count: int, tokens: int, first: int = 0) -> list[bytes]:
    """Return requests for texts, each with another beginning, numbered from `first` on."""
    asked = [row.task.input for row in samples("sealtool", min(count, 200))]
    made = []
    for number in range(first, first + count):
        text = f"({number}) {asked[number % len(asked)]}"
        messages = [{"role": "user", "content": text}]
        body = {"model": model, "messages": messages, "max_tokens": tokens, "temperature": 0}
        made.append(json.dumps(body).encode())
    return made


def answer(address: str, body: bytes) -> tuple[float, str]:
    """Return the seconds to the answer, and its text. Raises for any error."""
    began = time.monotonic()
    with closing(_asked(address, body)) as connection:
        got = connection.getresponse()
        read = got.read()
    took = time.monotonic() - began
    if got.status != 200:
        raise SystemExit(f"status {got.status}: {read[:300]!r}")
    return took, str(json.loads(read)["choices"][0]["message"]["content"])


def hang_up(address: str, body: bytes) -> None:
    """Ask, and go away in the middle of the answer."""
    with closing(_asked(address, body)):
        time.sleep(0.1)


def _asked(address: str, body: bytes) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(address, timeout=_PATIENCE)
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    return connection


def load(address: str, process: psutil.Process, given: argparse.Namespace) -> dict[str, Any]:
    """Return the times and the memory, in MiB, of many clients of which some hang up."""
    asked = bodies(given.name + ":base", given.requests, given.tokens)
    memory: list[int] = []
    done, lock = 0, threading.Lock()

    def one(number: int) -> float | None:
        nonlocal done
        took = None
        if number % 5 == 4:
            hang_up(address, asked[number])
        else:
            took, _ = answer(address, asked[number])
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


@dataclass
class Server:
    """A server that runs, the name it has for the model, and the rounds that it has answered."""

    name: str
    version: str
    address: str
    model: str
    tokens: int
    rounds: list[list[tuple[float, str]]] = field(default_factory=list)

    def serve(self) -> None:
        """Have a round's requests answered: others in each round, as prompts may be cached."""
        asked = bodies(self.model, ROUND, self.tokens, len(self.rounds) * ROUND)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            self.rounds.append(list(pool.map(lambda body: answer(self.address, body), asked)))

    @property
    def measured(self) -> list[tuple[float, str]]:
        """Seconds and text of each answer; the first round was to warm up."""
        return [each for some in self.rounds[1:] for each in some]


def beside(servers: Sequence[Server], rounds: int) -> list[dict[str, Any]]:
    """Return what was measured of servers that took turns, ours first.

    `ratio` is how many times faster our rounds are.
    """
    sides = [Side(server.name, server.serve) for server in servers]
    take_turns(sides, rounds, torch.device("cpu"))
    ours = [text for _, text in servers[0].measured]
    found = []
    for server, side in zip(servers, sides, strict=True):
        times, texts = zip(*server.measured, strict=True)
        told = {
            "name": server.name,
            "version": server.version,
            "seconds": [round(each, 2) for each in side.seconds],
            **_spread(times),
            "ratio": spread(speed_ratios(sides[0], side)),
            "same_text": [sum(map(eq, ours, texts)), len(texts)],
        }
        found.append(told)
    return found


def _spread(times: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=20)
    return {"p50": round(statistics.median(times), 3), "p95": round(cuts[18], 3)}


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--folder", help="the same model, for the other servers; default: ours")
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=16, help="the most in an answer")
    parser.add_argument("--rounds", type=int, default=LEAST_PAIRS, help="of 64 requests")
    parser.add_argument("--without-transformers", action="store_true")
    parser.add_argument("--vllm", metavar="PYTHON", help="an interpreter that has vLLM")
    options = parser.parse_args(given)
    options.name = "load"
    with ExitStack() as stack:
        servers, process = _begun(options, stack)
        loaded = load(servers[0].address, process, options)
        print(json.dumps(loaded, indent=1), flush=True)
        found = beside(servers, options.rounds)
    print(json.dumps(found, indent=1))
    threads = len(os.sched_getaffinity(0))
    machine = Machine(options.model, "cpu", str(environment({})["processor"]), "float32", threads)
    kept = {
        "stage": "serve",
        "device": "cpu",
        "model": options.model,
        "load": loaded,
        "at_once": AT_ONCE,
        "requests_a_round": ROUND,
        "tokens": options.tokens,
        "servers": found,
        "machine": about(machine),
        "versions": versions(),
    }
    if options.rounds >= LEAST_PAIRS:
        print(f"{write(kept, RESULTS)} written")


def _begun(options: argparse.Namespace, stack: ExitStack) -> tuple[list[Server], psutil.Process]:
    """Start all servers, ours first, and return them with the process of ours."""
    path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "spec.json"
    spec = {
        "name": options.name,
        "model": {"id": options.model, "dtype": "float32"},
        "inference": {"name": "direct", "decoding": "greedy"},
    }
    path.write_text(json.dumps(spec))
    command, tokens = [sys.executable, "-m", "ttsi", "serve", str(path)], options.tokens
    address, process = stack.enter_context(served(command))
    begun = [Server("ttsi serve", version("ttsi"), address, f"{options.name}:base", tokens)]
    folder = options.folder or _folder(options.model)
    if not options.without_transformers:
        command = [sys.executable, "-m", "transformers.cli.transformers", "serve", folder]
        command += ["--device", "cpu", "--dtype", "float32"]
        address, _ = stack.enter_context(served(command))
        theirs = version("transformers")
        begun.append(Server("transformers serve", theirs, address, folder, tokens))
    if options.vllm:
        command = [options.vllm, "-m", "vllm.entrypoints.openai.api_server", "--model", folder]
        command += ["--dtype", "float32", "--max-num-seqs", str(AT_ONCE), "--max-model-len", "2048"]
        command += ["--generation-config", "vllm", "--gpu-memory-utilization", "0.25"]
        asked = [options.vllm, "-c", "import vllm; print(vllm.__version__)"]
        told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[-1]
        address, _ = stack.enter_context(served(command))
        begun.append(Server("vLLM", told, address, folder, tokens))
    return begun, process


def _folder(model: str) -> str:
    from ttsi_plugins.engines.transformers import weights

    return str(weights.resolve({"id": model}))


if __name__ == "__main__":
    main()
