"""The measurement of `ttsi serve` under load, with few requests and a scripted engine."""

from __future__ import annotations

from argparse import Namespace
from urllib.parse import urlsplit

import psutil
import pytest
from serving import FAKE, serving

from perf import serve


def test_the_measurement_counts_answers_and_those_who_hang_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serve, "WARM", 20)
    given = Namespace(name="fake", requests=40, clients=8, tokens=4)
    # Whoever hangs up, after 0.1 s, does so before the answer is there.
    slow = {**FAKE, "engine": {"name": FAKE["engine"], "delay": 0.15}}
    with serving(slow) as server:
        address = urlsplit(server.url).netloc
        found = serve.load(address, psutil.Process(), given)
        alone = serve.beside(address, "fake:base", given)
        _, _, told = server.ask("/metrics")
    assert (found["requests"], found["hung_up"]) == (40, 8)
    assert 0 < found["p50"] <= found["p95"]
    assert set(found["memory_mib"]) == {"after 20", "at the end"}
    assert 0 < alone["p50"] <= alone["seconds"]
    # 16 to warm up, and then 64.
    answered = 32 + 16 + 64
    route = b'route="/v1/chat/completions"'
    assert b'ttsi_requests_total{%s,status="200"} %d.0' % (route, answered) in told


def test_an_answer_that_is_an_error_ends_the_measurement() -> None:
    with serving(FAKE) as server:
        (body,) = serve.bodies("other", 1, 4)
        with pytest.raises(SystemExit, match="status 404"):
            serve.ask(urlsplit(server.url).netloc, body)
