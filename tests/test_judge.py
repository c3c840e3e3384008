"""`ttsi judge`: the judge is asked the same requests, once, and its answers are held to labels."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from reports import Page, made
from teacher_server import KEY, KEY_ENV, URL_ENV, Asked, Reply, TeacherServer, chat, surroundings

import ttsi_fakes
from ttsi.cli.main import main
from ttsi.errors import EngineError
from ttsi.records import provenance
from ttsi.report import html
from ttsi.results.judged import JUDGED, examples_of, judgements, place
from ttsi.results.runs import Run, open_run
from ttsi_plugins.generators._contract import answer_schema

TOWN = re.compile(r"Weather in (Town(\d+)), please")


def opinion(text: str) -> list[dict[str, Any]]:
    """Return the judge's calls: it agrees with labels of even towns."""
    found = TOWN.search(text)
    assert found, text
    name = "get_time" if int(found[2]) % 2 else "get_weather"
    return [{"name": name, "arguments": {"city": found[1]}}]


def expected(run: Run) -> list[bool]:
    return [not int(TOWN.findall(each.task.input)[0][1]) % 2 for each in examples_of(run)]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    found = made(tmp_path / "runs", estimator="always")
    init = ttsi_fakes.ScriptedEngine.__init__

    def judging(request: Any) -> str:
        return json.dumps(opinion(request.prompt.messages[-1].content))

    monkeypatch.setattr(init, "__defaults__", (*(init.__defaults__ or ())[:-1], judging))
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the list of requests to the engine, which the test fills."""
    seen: list[Any] = []
    generate = ttsi_fakes.ScriptedEngine.generate

    def watched(engine: Any, requests: Any) -> Any:
        seen.extend(requests)
        return generate(engine, requests)

    monkeypatch.setattr(ttsi_fakes.ScriptedEngine, "generate", watched)
    return seen


def judge(run: Run, *arguments: str | int) -> int:
    return main(["judge", str(run.folder), *map(str, arguments)])


def told(run: Run, capsys: pytest.CaptureFixture[str], *arguments: str | int) -> dict[str, Any]:
    capsys.readouterr()
    assert judge(run, *arguments, "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_model_judges_and_is_asked_once(
    run: Run, asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    rights = expected(run)
    assert 0 < sum(rights) < len(rights) == 12
    found = told(run, capsys, "--model", "strong", "--sample", 5)
    assert (found["judge"], found["samples"]) == ("strong", 5)
    assert found["correct"] == sum(rights[:5])
    assert found["reasons"] == {"wrong_name": 5 - sum(rights[:5])}
    sample = run.samples["rows/0"]
    for request in asked:
        assert request.grammar is not None
        assert request.prompt.messages[0].content == sample.task.instruction
        assert TOWN.fullmatch(request.prompt.messages[-1].content)
    assert len(asked) == 5
    assert told(run, capsys, "--model", "strong", "--sample", 99)["correct"] == sum(rights)
    assert len(asked) == 12
    assert len({request.prompt.messages[-1].content for request in asked}) == 12
    assert provenance.intact(run.folder / "seed-0")


def test_the_report_shows_each_judge(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    rights = sum(expected(run))
    assert judge(run, "--model", "strong") == 0
    assert f"strong agrees with {rights} of 12 labels" in capsys.readouterr().out
    assert judge(run, "--model", "<b>other", "--sample", 3) == 0
    for folder in (run.folder, run.folder / "seed-0"):
        text = Page(html([open_run(folder)])).text
        assert "labels it agrees with" in text
        assert f"strong 12 {100 * rights / 12:.1f} %" in text
        assert "<b>other 3 " in text
    assert len(judgements(run)) == 2


def test_what_failed_is_asked_again(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generate = ttsi_fakes.ScriptedEngine.generate

    def fails(engine: Any, requests: Any) -> Any:
        raise EngineError("injected")

    with monkeypatch.context() as patch:
        patch.setattr(ttsi_fakes.ScriptedEngine, "generate", fails)
        assert judge(run, "--model", "strong", "--sample", 4) == 3
        assert "0 of 4" in capsys.readouterr().out
    monkeypatch.setattr(ttsi_fakes.ScriptedEngine, "generate", generate)
    assert told(run, capsys, "--model", "strong", "--sample", 4)["errors"] == 0


def test_other_weights_do_not_go_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judge(run, "--model", "strong", "--sample", 2) == 0
    monkeypatch.setattr(ttsi_fakes.ScriptedEngine, "digest", lambda self: "sha256:" + "0" * 64)
    assert judge(run, "--model", "strong", "--sample", 4) == 1
    assert "another identity" in capsys.readouterr().err


@pytest.mark.parametrize("format", ["json", "free"])
def test_an_endpoint_judges(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    format: str,
) -> None:
    surroundings(monkeypatch, tmp_path / "cache")

    def reply(asked: Asked) -> Reply:
        said = opinion(asked.body["messages"][-1]["content"])
        return chat(json.dumps({"output": said} if format == "json" else said))

    with TeacherServer(reply) as server:
        monkeypatch.setenv(URL_ENV, server.url)
        monkeypatch.setenv(KEY_ENV, KEY)
        how = ("--model", "big", "--endpoint", server.url, "--set", f"generator.format={format}")
        found = told(run, capsys, *how, "--sample", 6)
        assert found["judge"] == f"big at {server.url}"
        assert found["correct"] == sum(expected(run)[:6])
        assert told(run, capsys, *how, "--sample", 12)["samples"] == 12
        assert len(server.asked) == 12
        body = server.asked[0].body
        schema = answer_schema(run.samples["rows/0"].task, 4)
        if format == "json":
            assert body["response_format"]["json_schema"]["schema"] == schema
        assert body["messages"][0]["content"] == run.samples["rows/0"].task.instruction
        assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
    (path,) = place(run).glob(f"*/{JUDGED}")
    assert KEY not in path.read_text() + (path.parent / "spec.resolved.json").read_text()
    record = json.loads(path.read_text().splitlines()[0])
    assert record["costs"]["answer"]["prompt_tokens"] == 100


def test_a_refused_request_costs_its_example_only(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    surroundings(monkeypatch, tmp_path / "cache")
    with TeacherServer(
        lambda asked: Reply(400) if asked.number == 0 else chat("no calls here")
    ) as server:
        how = ("--model", "big", "--endpoint", server.url, "--set", "generator.retries=0")
        assert judge(run, *how, "--set", "generator.concurrency=1", "--sample", 3) == 3
        assert "agrees with 0 of 3" in capsys.readouterr().out
    with TeacherServer(lambda asked: Reply(401)) as server:
        assert judge(run, "--model", "big", "--endpoint", server.url) == 1
        assert "401" in capsys.readouterr().err


def test_what_cannot_be_judged_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(tmp_path, estimator="never")
    assert judge(run, "--model", "strong") == 2
    assert "no synthetic examples" in capsys.readouterr().err
    assert judge(run, "--model", "strong", "--sample", 0) == 2
    assert judge(run, "--model", "x", "--endpoint", "http://u:p@h/v1") == 2
    assert not place(run).exists()
