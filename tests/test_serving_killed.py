"""After kill -9 the journal and the labelled rows are whole, and hold all that was answered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
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


@pytest.mark.parametrize("when", [0.05, 0.4])
def test_a_killed_server_loses_only_what_was_in_flight(tmp_path: Path, when: float) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({**FAKE, "engine": {"name": FAKE["engine"], "delay": 0.02}}))
    process, server = started(spec, tmp_path)
    answered = [server.chat(**city(n))[2]["id"] for n in range(4)]
    for id in answered[:3]:
        assert server.ask("/v1/feedback", {"id": id, "correct": True})[2]["kept"] is True
    # In flight when the server is killed.
    waiting = server.connection()
    body = json.dumps({"model": "fake", "messages": [{"role": "user", "content": "City9"}]})
    waiting.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    time.sleep(when)
    process.send_signal(signal.SIGKILL)
    process.wait()
    waiting.close()
    process.stderr.close()  # type: ignore[union-attr]
    journal, rows = tmp_path / "journal.jsonl", tmp_path / "rows.jsonl"
    # As if it had been killed within a write.
    with rows.open("a") as file:
        file.write('{"id": "torn", "mess')

    process, server = started(spec, tmp_path)
    assert [line["id"] for line in lines(journal)][:4] == answered
    assert [line["id"] for line in lines(rows)] == answered[:3]
    assert server.chat(**city(5))[0] == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process.stderr.close()  # type: ignore[union-attr]
    assert lines(journal)[-1]["answers"][0]["adapted"] is True
