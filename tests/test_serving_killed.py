"""After kill -9 the journal and the labelled rows are whole, and hold all that was answered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from serving import FAKE, Server, city

TESTS = Path(__file__).resolve().parent


def started(spec: Path, folder: Path) -> tuple[subprocess.Popen[str], Server]:
    files = ["--journal", str(folder / "journal.jsonl"), "--feedback", str(folder / "rows.jsonl")]
    path = os.pathsep.join([str(TESTS / "fakes"), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", "ttsi", "serve", str(spec), "--port", "0", *files],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = process.stderr.readline()
    assert "served at" in said, said
    return process, Server(said.split()[-1].removesuffix("/v1"), lambda: None)


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def asks_on(server: Server, client: int, answered: list[str], labelled: list[str]) -> None:
    """Ask, and say of each other answer that it is right, until the server is gone."""
    try:
        for turn in count():
            status, _, answer = server.chat(**city(100 * client + turn))
            assert status == 200
            answered.append(answer["id"])
            if turn % 2:
                told = server.ask("/v1/feedback", {"id": answer["id"], "correct": True})[2]
                assert told["kept"] is True
                labelled.append(answer["id"])
    except (OSError, HTTPException):
        return


@pytest.mark.parametrize("when", [0.5, 0.8])
def test_a_killed_server_loses_only_what_was_in_flight(tmp_path: Path, when: float) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({**FAKE, "engine": {"name": FAKE["engine"], "delay": 0.002}}))
    process, server = started(spec, tmp_path)
    answered: list[str] = []
    labelled: list[str] = []
    with ThreadPoolExecutor(6) as pool:
        clients = [pool.submit(asks_on, server, n, answered, labelled) for n in range(6)]
        while len(labelled) < 6:
            time.sleep(0.01)
        time.sleep(when)
        process.send_signal(signal.SIGKILL)
    for client in clients:
        client.result()
    assert process.wait(60) == -signal.SIGKILL
    process.stderr.close()  # type: ignore[union-attr]
    journal, rows = tmp_path / "journal.jsonl", tmp_path / "rows.jsonl"
    # As if it had been killed within a write.
    for path in (journal, rows):
        with path.open("a") as file:
            file.write('{"id": "torn", "mess')

    process, server = started(spec, tmp_path)
    for path, acknowledged in ((journal, answered), (rows, labelled)):
        kept = [line["id"] for line in lines(path)]
        assert set(acknowledged) <= set(kept)
        assert len(kept) == len(set(kept))
        # What is there besides was written, and its client had not been told yet.
        assert len(kept) - len(acknowledged) <= 6
    assert server.chat(**city(5))[0] == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process.stderr.close()  # type: ignore[union-attr]
    assert lines(journal)[-1]["answers"][0]["adapted"] is True
