"""The generator `teacher` against a real HTTP server: contract, requests, cache, spend."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from teacher_server import KEY, KEY_ENV, Asked, Reply, TeacherServer, chat, surroundings, teacher

import ttsi
from ttsi.answers.calls.values import ToolCall, calls_in
from ttsi.digests import draw_seed
from ttsi.errors import MissingAsset, StorageError, UsageError
from ttsi.solving.metering import charging
from ttsi.types import Example, StageCost, Task
from ttsi_fakes import ScriptedEngine, make_sample
from ttsi_plugins.generators._asking import asking
from ttsi_plugins.generators._contract import example_schema
from ttsi_plugins.generators.self_generator import SelfGenerator
from ttsi_plugins.generators.teacher import TeacherGenerator

TASKS = [make_sample(number).task for number in range(5)]
SEED = 7


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the folder of cached answers, which does not exist yet."""
    surroundings(monkeypatch, tmp_path / "cache")
    return tmp_path / "cache" / "teacher"


def written(input: str = "Time in Rome?", name: str = "get_time", **arguments: Any) -> str:
    call = {"name": name, "arguments": arguments or {"city": "Rome"}}
    return json.dumps({"input": input, "output": [call]})


def made(generator: TeacherGenerator, tasks: Sequence[Task] = TASKS[:1]) -> list[list[Example]]:
    return generator.generate(tasks, ScriptedEngine(), SEED)


def slots(tasks: Sequence[Task], samples: int, attempts: int) -> dict[int, tuple[str, int, int]]:
    """Return the (task, k, attempt) of each seed that can be sent."""
    return {
        draw_seed(SEED, task.id, f"generate/{k}", attempt) % 2**31: (task.id, k, attempt)
        for task in tasks
        for k in range(samples)
        for attempt in range(attempts)
    }


def by_slot(text: Callable[[str, int, int], str]) -> Callable[[Asked], Reply]:
    """Return a script that answers by task and attempt, independent of the order of requests."""
    known = slots(TASKS, 8, 5)
    return lambda asked: chat(text(*known[asked.body["seed"]]))


# ---------------------------------------------------------------- the request and its answer


def test_a_valid_answer_becomes_an_example() -> None:
    with TeacherServer(lambda asked: chat("Sure! " + written())) as server:
        ((example,),) = made(teacher(server.url))
    assert example.task.input == "Time in Rome?"
    assert example.task.instruction == TASKS[0].instruction
    assert calls_in(example.answer) == (ToolCall("get_time", {"city": "Rome"}),)
    assert example.attempts == 1
    (asked,) = server.asked
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body == {
        "model": "gpt-5-mini",
        "messages": [
            {"role": m.role, "content": m.content} for m in asking(TASKS[0], "quoted").messages
        ],
        "max_completion_tokens": 4096,
        "seed": draw_seed(SEED, TASKS[0].id, "generate/0", 0) % 2**31,
    }


def test_options_shape_the_request() -> None:
    with TeacherServer(lambda asked: chat(written())) as server:
        made(
            teacher(
                server.url,
                model="local",
                prompt="seed_first",
                format="json",
                max_tokens=50,
                max_tokens_name="max_tokens",
                temperature=0.5,
                send_seed=False,
                extra_body={"top_k": 20},
            )
        )
    body = server.asked[0].body
    assert body.pop("messages")[0] == {"role": "system", "content": TASKS[0].instruction}
    wanted = body.pop("response_format")
    assert wanted["json_schema"]["schema"] == example_schema(TASKS[0], 4)
    assert body == {"model": "local", "max_tokens": 50, "temperature": 0.5, "top_k": 20}


def test_without_a_key_an_endpoint_of_ones_own_gets_a_placeholder() -> None:
    with TeacherServer(lambda asked: chat(written())) as server:
        assert len(made(teacher(server.url, key=None))[0]) == 1
    assert server.asked[0].headers["authorization"] == "Bearer none"


# ---------------------------------------------------------------- the same contract as `self`


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_the_first_valid_attempt_is_kept_however_many_are_asked_at_once(at_once: int) -> None:
    texts = ["x", "x", written("third"), written("fourth"), written("fifth")]
    with TeacherServer(by_slot(lambda task, k, attempt: texts[attempt])) as server:
        ((example,),) = made(teacher(server.url, at_once=at_once))
    assert (example.task.input, example.attempts) == ("third", 3)
    assert len(server.asked) == {1: 3, 2: 4, 5: 5}[at_once]


@pytest.mark.parametrize("round", range(6))
def test_of_the_same_outputs_it_makes_what_self_makes(round: int) -> None:
    chance = random.Random(round)
    outputs = [written("a"), written("b", city="Oslo"), written(name="get_news"), "", "{}"]
    texts = {slot: chance.choice(outputs) for slot in slots(TASKS, 3, 3).values()}
    known = {draw_seed(SEED, t, f"generate/{k}", a): text for (t, k, a), text in texts.items()}
    engine = ScriptedEngine(script=lambda request: known[request.seed])
    expected = SelfGenerator(samples=3, attempts=3).generate(TASKS, engine, SEED)
    with TeacherServer(by_slot(lambda *slot: texts[slot])) as server:
        found = made(teacher(server.url, samples=3, attempts=3, at_once=1 + round % 3), TASKS)
    assert found == expected
    assert any(expected)


def test_a_wave_makes_what_its_tasks_make_alone() -> None:
    def text(task: str, k: int, attempt: int) -> str:
        return written(f"{task} {k}") if attempt == k else "no"

    with TeacherServer(by_slot(text)) as server:
        together = made(teacher(server.url, samples=3, cache=False), TASKS)
        alone = [made(teacher(server.url, samples=3, cache=False), [task])[0] for task in TASKS]
    assert together == alone
    assert [[e.attempts for e in some] for some in together] == [[1, 2, 3]] * len(TASKS)


def test_progress_is_told_by_task() -> None:
    told: list[tuple[int, int]] = []
    engine = ScriptedEngine()
    engine.on_progress = lambda done, total: told.append((done, total))
    with TeacherServer(lambda asked: chat(written())) as server:
        teacher(server.url).generate(TASKS, engine, SEED)
    assert told == [(done, 5) for done in range(1, 6)]


# ---------------------------------------------------------------- the cache


def test_a_kept_answer_is_not_asked_for_again(cache: Path) -> None:
    with TeacherServer(lambda asked: chat(written())) as server:
        first = made(teacher(server.url), TASKS)
        assert made(teacher(server.url), TASKS) == first
        assert len(server.asked) == 5
        for changed in ({"temperature": 1.0}, {"model": "other"}, {"extra_body": {"top_k": 1}}):
            made(teacher(server.url, **changed), TASKS)
        assert len(server.asked) == 20
        made(teacher(server.url, cache=False), TASKS)
        assert len(server.asked) == 25
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert len(files) == 20
    assert all(path.suffix == ".json" for path in files)
    assert json.loads(files[0].read_text())["text"] == written()


def test_other_draws_of_one_body_are_other_answers() -> None:
    with TeacherServer(lambda asked: chat(written(f"number {asked.number}"))) as server:
        (examples,) = made(teacher(server.url, samples=3, send_seed=False))
        assert made(teacher(server.url, samples=3, send_seed=False)) == [examples]
    assert len({example.digest for example in examples}) == 3
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    "damage", [b"", b'{"text": ', b"[]", b'{"text": 3}', b"\xff\xfe", b"[" * 9999]
)
def test_a_damaged_file_is_replaced(cache: Path, damage: bytes) -> None:
    with TeacherServer(lambda asked: chat(written())) as server:
        first = made(teacher(server.url))
        (path,) = cache.rglob("*.json")
        whole = path.read_bytes()
        path.write_bytes(damage)
        assert made(teacher(server.url)) == first
    assert len(server.asked) == 2
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_an_error_with_a_cure(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("a file, not a folder")
    with TeacherServer(lambda asked: chat(written())) as server:
        with pytest.raises(StorageError, match="TTSI_CACHE_DIR"):
            made(teacher(server.url))
        assert len(made(teacher(server.url, cache=False))[0]) == 1


def test_offline_what_is_kept_is_used_and_nothing_else_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TTSI_OFFLINE", "1")
    with TeacherServer(lambda asked: chat(written())) as server:
        assert len(made(teacher(server.url))[0]) == 1  # this machine is no network
    with pytest.raises(MissingAsset, match="TTSI_OFFLINE"):
        made(teacher("https://teacher.invalid/v1"))


# ---------------------------------------------------------------- spend


def spent(generator: TeacherGenerator, tasks: Sequence[Task]) -> dict[str, StageCost]:
    ledger: dict[str, StageCost] = {}
    with charging(ledger):
        made(generator, tasks)
    return ledger


def test_spend_is_what_usage_says_by_task_and_kept_answers_cost_nothing() -> None:
    prices = {"usd_per_million_prompt_tokens": 0.25, "usd_per_million_completion_tokens": 2.0}

    def text(task: str, k: int, attempt: int) -> str:
        return written(f"{k}") if attempt == int(task[-1]) else "no"

    with TeacherServer(by_slot(text)) as server:
        first = spent(teacher(server.url, samples=2, **prices), TASKS)
        again = spent(teacher(server.url, samples=2, **prices), TASKS)
        unpriced = spent(teacher(server.url, cache=False), TASKS[:1])
    for number, task in enumerate(TASKS):
        cost, requests = first[task.id], 2 * (number + 1)
        assert (cost.prompt_tokens, cost.completion_tokens) == (100 * requests, 20 * requests)
        assert cost.usd == pytest.approx(requests * (100 * 0.25 + 20 * 2.0) / 1e6)
    assert set(again.values()) == {StageCost()}
    assert unpriced == {TASKS[0].id: StageCost(0.0, 100, 20, 0.0)}


@pytest.mark.parametrize("odd", [None, -5, "12", 1.5, True, [1]])
def test_usage_that_is_no_count_counts_nothing(odd: Any) -> None:
    with TeacherServer(lambda asked: chat(written(), prompt=odd, completion=3)) as server:
        ledger = spent(teacher(server.url), TASKS[:1])
    assert ledger[TASKS[0].id] == StageCost(0.0, 0, 3, 0.0)


# ---------------------------------------------------------------- before any work


def test_openais_own_endpoint_needs_a_key_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(MissingAsset, match="key is missing") as caught:
        ttsi.evaluate(
            {
                "name": "unkeyed",
                "model": {"id": "scripted"},
                "engine": "ttsi-fakes/scripted",
                "benchmark": {"name": "ttsi-fakes/rows", "rows": 2},
                "generator": "teacher",
            },
            out=tmp_path / "runs",
        )
    assert "export OPENAI_API_KEY" in str(caught.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("key", ["two words", "caf\u00e9", "sk-1\nsk-2"])
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(MissingAsset, match=KEY_ENV) as caught:
        teacher("http://127.0.0.1:1/v1", key=key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("url", ["http://", "http://host:port/v1", "http://host:99999/v1"])
def test_a_url_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="base_url"):
        teacher(url, key=None)


def test_the_missing_package_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingAsset, match=r"pip install 'ttsi\[teacher\]'"):
        teacher("http://127.0.0.1:1/v1")
