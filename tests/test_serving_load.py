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
        ours, same = (serve.Server(name, "0", address, "fake:base", 4) for name in ("ours", "same"))
        told = serve.beside([ours, same], rounds=2)
        _, _, metrics = server.ask("/metrics")
    assert (found["requests"], found["hung_up"]) == (40, 8)
    assert 0 < found["p50"] <= found["p95"]
    assert set(found["memory_mib"]) == {"after 20", "at the end"}
    assert [each["name"] for each in told] == ["ours", "same"]
    for each in told:
        assert len(each["seconds"]) == 2
        assert 0 < each["p50"] <= each["p95"] <= max(each["seconds"])
        assert each["same_text"] == [2 * serve.ROUND, 2 * serve.ROUND]
    # Each of the two servers answers a round to warm up, and then two.
    answered = 32 + 2 * 3 * serve.ROUND
    route = b'route="/v1/chat/completions"'
    assert b'ttsi_requests_total{%s,status="200"} %d.0' % (route, answered) in metrics


def test_an_answer_that_is_an_error_ends_the_measurement() -> None:
    with serving(FAKE) as server:
        (body,) = serve.bodies("other", 1, 4)
        with pytest.raises(SystemExit, match="status 404"):
            serve.answer(urlsplit(server.url).netloc, body)
