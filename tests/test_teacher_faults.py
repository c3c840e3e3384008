"""The generator `teacher` when its endpoint fails: retries, errors, secrets, ctrl-C."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from teacher_server import (
    KEY,
    KEY_ENV,
    URL_ENV,
    Asked,
    Reply,
    TeacherServer,
    as_json,
    chat,
    refusal,
    surroundings,
    teacher,
)

from ttsi.errors import EngineError, RunError, TtsiError
from ttsi.running.waves import ScoredWaves
from ttsi.solving.pipeline import Pipeline, Stages
from ttsi.types import Example, Record
from ttsi_fakes import ScriptedEngine, make_sample
from ttsi_plugins.estimators.constant import Always
from ttsi_plugins.generators import _answers
from ttsi_plugins.generators._answers import Answer
from ttsi_plugins.generators._endpoint import read
from ttsi_plugins.generators.teacher import TeacherGenerator
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners.lora_sft import LoraSft
from ttsi_plugins.scorers.exact import Exact

SAMPLES = [make_sample(number) for number in range(4)]
TASKS = [sample.task for sample in SAMPLES]
CALL = {"name": "get_time", "arguments": {"city": "Rome"}}
GOOD = chat(json.dumps({"input": "Time in Rome?", "output": [CALL]}))


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    surroundings(monkeypatch, tmp_path / "cache")
    return tmp_path / "cache" / "teacher"


def made(generator: TeacherGenerator, tasks: int = 1) -> list[list[Example]]:
    return generator.generate(TASKS[:tasks], ScriptedEngine(), 7)


def once(bad: Reply) -> Callable[[Asked], Reply]:
    """Return a script whose first request fails, and no other."""
    return lambda asked: GOOD if asked.number else bad


def failure(script: Callable[[Asked], Reply], **options: Any) -> TtsiError:
    with TeacherServer(script) as server, pytest.raises(TtsiError) as caught:
        made(teacher(server.url, **options))
    return caught.value


# ---------------------------------------------------------------- what is tried again


@pytest.mark.parametrize(
    "bad",
    [
        refusal(429),
        refusal(500),
        Reply(503, b"<html>busy</html>"),
        Reply(fault="cut"),
        Reply(fault="cut_in_body"),
    ],
    ids=["429", "500", "503", "cut", "cut in the body"],
)
def test_a_passing_fault_is_tried_again(bad: Reply) -> None:
    with TeacherServer(once(bad)) as server:
        ((example,),) = made(teacher(server.url, retries=2))
    assert example.attempts == 1
    assert len(server.asked) == 2
    assert server.asked[0].body == server.asked[1].body


def test_a_request_that_times_out_is_tried_again() -> None:
    with TeacherServer(once(Reply(fault="hang"))) as server:
        ((example,),) = made(teacher(server.url, retries=1, timeout=0.3))
    assert example.attempts == 1
    assert len(server.asked) == 2


def test_retry_after_is_waited_for() -> None:
    with TeacherServer(once(refusal(429, Retry_After="0.3"))) as server:
        made(teacher(server.url, retries=1))
    first, second = server.asked
    assert second.arrived - first.arrived >= 0.3


def test_a_retry_after_of_hours_is_not_waited_for() -> None:
    error = failure(lambda asked: refusal(429, Retry_After="86400"), retries=1)
    assert isinstance(error, EngineError)


def test_a_trickle_does_not_hold_a_run_for_ever() -> None:
    error = failure(lambda asked: Reply(fault="trickle"), timeout=0.3)
    assert isinstance(error, EngineError)
    assert "in time" in str(error)


# ---------------------------------------------------------------- answers that are none

MALFORMED = [
    Reply(body=b""),
    Reply(body=b'{"choices": ['),
    Reply(body=b"\xff\xfe\x00", headers={"Content-Type": "application/json"}),
    Reply(body=b"<html>hello</html>", headers={"Content-Type": "text/html"}),
    Reply(body=b"[" * 100_000, headers={"Content-Type": "application/json"}),
    as_json(None),
    as_json([]),
    as_json({}),
    as_json({"choices": []}),
    as_json({"choices": "none"}),
    as_json({"choices": [None]}),
    as_json({"choices": [{"message": None}]}),
]
EMPTY = [
    chat(None),
    chat(""),
    as_json({"choices": [{"message": {}}], "usage": "none"}),
    as_json({"choices": [{"message": {"content": 5}}]}),
]


@pytest.mark.parametrize("bad", [*MALFORMED, *EMPTY], ids=range(16))
def test_a_200_without_an_answer_is_an_attempt_that_failed(bad: Reply) -> None:
    with TeacherServer(once(bad)) as server:
        ((example,),) = made(teacher(server.url))
    assert example.attempts == 2
    assert len(server.asked) == 2


@pytest.mark.parametrize("bad", EMPTY, ids=range(4))
def test_empty_answers_alone_make_no_example(bad: Reply) -> None:
    with TeacherServer(lambda asked: bad) as server:
        assert made(teacher(server.url, attempts=3)) == [[]]
    assert len(server.asked) == 3


def test_what_never_was_a_chat_completion_is_an_error(cache: Path) -> None:
    error = failure(lambda asked: MALFORMED[3], attempts=3)
    assert isinstance(error, EngineError)
    assert "base_url" in str(error)
    assert not list(cache.rglob("*.json"))


# ---------------------------------------------------------------- what failed for good


@pytest.mark.parametrize(
    ("reply", "kind", "part", "requests"),
    [
        (refusal(401), RunError, KEY_ENV, 1),
        (refusal(402), RunError, "credit", 1),
        (refusal(404, "no model x"), RunError, "no model x", 1),
        (refusal(429, code="insufficient_quota"), RunError, "credit", 3),
        (refusal(403, "not for you"), EngineError, "not for you", 1),
        (refusal(400, "no 'temperature' here"), EngineError, "'temperature'", 1),
        (as_json({"detail": "Unexpected fields"}, 422), EngineError, "Unexpected fields", 1),
        (refusal(500), EngineError, "answered 500 to 3 tries", 3),
        (Reply(fault="cut"), EngineError, "3 tries", 3),
    ],
)
def test_what_fails_for_good_says_what_and_how_to_cure_it(
    reply: Reply, kind: type[TtsiError], part: str, requests: int
) -> None:
    with TeacherServer(lambda asked: reply) as server, pytest.raises(TtsiError) as caught:
        made(teacher(server.url, retries=2))
    error = caught.value
    assert type(error) is kind
    assert part in str(error)
    assert error.cure
    assert error.where == server.url
    assert len(server.asked) == requests


def test_nobody_listening_is_an_error_with_a_cure() -> None:
    with TeacherServer(lambda asked: GOOD) as server:
        pass
    with pytest.raises(EngineError, match="server is up"):
        made(teacher(server.url))


def test_after_a_refused_key_no_further_request_is_made() -> None:
    with TeacherServer(lambda asked: refusal(401)) as server:
        with pytest.raises(RunError):
            made(teacher(server.url, samples=8, concurrency=1), tasks=4)
        assert len(server.asked) == 1


def test_what_ends_the_run_goes_before_what_costs_a_sample() -> None:
    meeting = threading.Barrier(4, timeout=20)
    replies = {"City0?": refusal(500), "City1?": refusal(401), "City3?": refusal(500)}

    def script(asked: Asked) -> Reply:
        meeting.wait()
        content = asked.body["messages"][-1]["content"]
        return next((reply for city, reply in replies.items() if city in content), GOOD)

    with TeacherServer(script) as server, pytest.raises(RunError):
        made(teacher(server.url), tasks=4)


def in_waves(generator: TeacherGenerator) -> dict[str, Record]:
    stages = Stages(Always(), generator, LoraSft(), Direct(decoding="greedy"))
    waves = ScoredWaves(Pipeline(stages, ScriptedEngine(), seed=7), Exact(), 7)
    return {record.id: record for record in waves.run_wave(SAMPLES)}


@pytest.mark.parametrize("kept", [True, False])
def test_one_bad_sample_costs_the_others_nothing(kept: bool) -> None:
    def script(asked: Asked) -> Reply:
        return refusal(500) if "City2?" in asked.body["messages"][-1]["content"] else GOOD

    prices = {"usd_per_million_prompt_tokens": 1.0, "usd_per_million_completion_tokens": 10.0}
    with TeacherServer(script) as server:
        records = in_waves(teacher(server.url, retries=1, cache=kept, **prices))
    bad = records.pop("rows/2")
    assert bad.error.startswith("generate: EngineError: The teacher's endpoint answered 500")
    assert "cure:" in bad.error
    assert all(record.adapted for record in records.values())
    assert len(server.asked) == 3 + 2
    for record in records.values():
        cost = record.costs["generate"]
        assert (cost.prompt_tokens, cost.completion_tokens) == (100, 20)
        assert cost.usd == pytest.approx(300e-6)


# ---------------------------------------------------------------- the key


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize(
    "echo",
    [KEY, f"Bearer '{KEY}'", KEY[:14] + "...", "**" + KEY[-9:]],
    ids=["whole", "quoted", "beginning", "end"],
)
def test_the_key_is_nowhere_even_if_the_server_echoes_it(
    status: int, echo: str, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def script(asked: Asked) -> Reply:
        return as_json({"error": {"message": f"bad key {echo} here"}}, status)

    error = failure(script)
    told = [str(error), repr(error), repr(teacher("http://127.0.0.1:1/v1")), caplog.text]
    told += traceback.format_exception(error)
    told += [path.read_text() for path in cache.rglob("*.json")]
    for text in told:
        assert not any(KEY[at : at + 8] in text for at in range(len(KEY) - 7))


def test_the_key_is_in_no_record_and_no_file_of_answers(cache: Path) -> None:
    with TeacherServer(lambda asked: refusal(400, KEY) if asked.number else GOOD) as server:
        records = in_waves(teacher(server.url, concurrency=1))
    assert sum(bool(record.error) for record in records.values()) == 3
    assert KEY not in repr(records)
    (kept,) = cache.rglob("*.json")
    assert KEY not in kept.read_text()


def test_an_endpoint_without_a_key_that_wants_one_says_how_to_set_it() -> None:
    with TeacherServer(lambda asked: refusal(401)) as server, pytest.raises(RunError) as caught:
        made(teacher(server.url, key=None))
    assert caught.value.where == server.url
    assert f"export {URL_ENV}={server.url} {KEY_ENV}=..." in caught.value.cure


# ---------------------------------------------------------------- concurrency and ends


def test_the_bound_on_concurrency_is_used_and_kept() -> None:
    meeting = threading.Barrier(3, timeout=20)

    def script(asked: Asked) -> Reply:
        meeting.wait()  # breaks, and the request fails, unless three are in flight
        return GOOD

    with TeacherServer(script) as server:
        found = made(teacher(server.url, concurrency=3, samples=3), tasks=4)
    assert [len(some) for some in found] == [1] * 4
    assert len(server.asked) == 12
    assert server.most_in_flight == 3


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Enable ctrl-C, which a process that is started in the background ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def own_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if "request" not in thread.name}


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_at_once_and_leaves_nothing_behind(cache: Path) -> None:
    def script(asked: Asked) -> Reply:
        if asked.number == 0:
            return GOOD
        os.kill(os.getpid(), signal.SIGINT)
        return Reply(fault="hang")

    with TeacherServer(script) as server:
        before = own_threads()
        with pytest.raises(KeyboardInterrupt):
            made(teacher(server.url, concurrency=1), tasks=3)
        assert own_threads() == before
        assert len(list(cache.rglob("*.json"))) == 1
        server.script = lambda asked: GOOD
        assert all(made(teacher(server.url), tasks=3))
        assert len(server.asked) == 2 + 2


def test_it_works_inside_a_running_event_loop() -> None:
    async def notebook(url: str) -> list[list[Example]]:
        return made(teacher(url))

    with TeacherServer(lambda asked: GOOD) as server:
        before = own_threads()
        assert len(asyncio.run(notebook(server.url))[0]) == 1
        assert own_threads() == before


def test_a_failure_stands_for_a_while_and_is_then_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers, now = _answers.Answers(tmp_path), [100.0]
    monkeypatch.setattr(_answers.time, "monotonic", lambda: now[0])
    answers.put("sha256:aa", EngineError("busy"), "m")
    assert str(answers.get("sha256:aa")) == "busy"
    now[0] += 61
    assert answers.get("sha256:aa") is None
    answers.put("sha256:aa", Answer("said", 5, 6, cut=True), "m")
    assert answers.get("sha256:aa") == Answer("said", cut=True)


def test_an_answer_that_was_cut_says_so() -> None:
    choice = {"message": {"content": "so far"}, "finish_reason": "length"}
    assert read(json.dumps({"choices": [choice]}).encode()) == Answer("so far", cut=True)
