"""A spec may come from a stranger: it never decides which secret goes to which host."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from teacher_server import (
    AMBIENT,
    KEY,
    KEY_ENV,
    URL_ENV,
    Asked,
    Reply,
    TeacherServer,
    chat,
    surroundings,
)

import ttsi
from ttsi.errors import MissingAsset, SpecError, TtsiError, UsageError
from ttsi.types import Message
from ttsi_fakes import ScriptedEngine, make_sample
from ttsi_plugins.generators._keys import OPENAI, Address, config_file, key_for
from ttsi_plugins.generators.teacher import TeacherGenerator

SECRETS = {
    **{name: f"secret-{name.lower()}-0123456789" for name in AMBIENT if name.endswith("_KEY")},
    "OPENAI_ORG_ID": "org-secret-0123456789",
    "OPENAI_PROJECT_ID": "proj-secret-0123456789",
    "OPENAI_CUSTOM_HEADERS": "X-Gateway: secret-gateway\nAuthorization: Bearer secret-ambient",
    "AWS_SECRET_ACCESS_KEY": "secret-aws-0123456789",
    "HF_TOKEN": "hf_secret0123456789",
    "TTSI_TEACHER_URL": "https://teacher.example/v1",
    "TTSI_TEACHER_KEY": "secret-teacher-0123456789",
}
WORDS = ("secret", "org-", "proj-", "hf_")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    surroundings(monkeypatch, tmp_path / "cache")


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the keys of a user who runs a stranger's spec."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    configure({"https://filed.example/v1": {"key": "secret-filed-0123456789"}})


def configure(entries: Any, mode: int = 0o600) -> Path:
    path = config_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    path.chmod(mode)
    return path


def answer(asked: Asked) -> Reply:
    call = {"name": "get_weather", "arguments": {"city": "Rome"}}
    return chat(json.dumps({"input": "Weather in Rome?", "output": [call]}))


def spec(**generator: Any) -> dict[str, Any]:
    return {
        "name": "hostile",
        "model": {"id": "scripted"},
        "engine": "ttsi-fakes/scripted",
        "benchmark": {"name": "ttsi-fakes/rows", "rows": 2},
        "estimator": "always",
        "generator": {"name": "teacher", "retries": 0, **generator},
    }


def ask(url: str | None, **options: Any) -> None:
    generator = TeacherGenerator(base_url=url, retries=0, cache=False, **options)
    generator.generate([make_sample(0).task], ScriptedEngine(), seed=0)


def told(server: TeacherServer) -> str:
    return repr([(asked.headers, asked.body) for asked in server.asked])


# ---------------------------------------------------------------- a stranger's spec


@pytest.mark.usefixtures("keys")
def test_a_strangers_endpoint_gets_no_secret_of_the_users(tmp_path: Path) -> None:
    with TeacherServer(answer) as server:
        (cell,) = ttsi.evaluate(spec(base_url=server.url), out=tmp_path / "runs")
    assert cell.seeds[0]["adapted"] == 2
    assert len(server.asked) == 2
    for asked in server.asked:
        assert asked.headers["authorization"] == "Bearer none"
        assert not [name for name in asked.headers if name.startswith(("openai-", "x-gateway"))]
    assert not any(word in told(server) for word in WORDS)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != config_file()]
    assert len(files) > 8
    assert not any(word in path.read_text() for path in files for word in ("secret-", "hf_secret"))


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "TTSI_TEACHER_KEY"])
@pytest.mark.parametrize("option", ["key_env", "api_key", "headers", "extra_headers"])
def test_a_spec_has_no_word_for_a_secret(name: str, option: str, tmp_path: Path) -> None:
    with TeacherServer(answer) as server:
        with pytest.raises(SpecError):
            ttsi.evaluate(spec(base_url=server.url, **{option: name}), out=tmp_path)
        assert server.asked == []


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    "trick",
    [
        "http://api.openai.com@{host}/v1",
        "http://api.openai.com:443@{host}/v1",
        "http://{host}/v1?x=https://api.openai.com/v1",
        "http://{host}/v1#@api.openai.com/v1",
        "http://{host}\\@api.openai.com/v1",
        "http://api.openai.com\\@{host}/v1",
        "http://{host}/../v1",
        "http://{host}/%2e%2e/v1",
        "http://{host}/v1\n",
        "http:// {host}/v1",
        "http://{host}/v1/\u2044",
        "http://\uff41pi.openai.com@{host}/v1",
        "${{OPENAI_BASE_URL}}{host}",
    ],
)
def test_an_address_that_reads_in_two_ways_is_refused(trick: str, tmp_path: Path) -> None:
    with TeacherServer(answer) as server:
        host = server.url.removeprefix("http://").removesuffix("/v1")
        with pytest.raises(TtsiError) as caught:
            ttsi.evaluate(spec(base_url=trick.format(host=host)), out=tmp_path)
        assert server.asked == []
    assert caught.value.exit_code == 2
    assert not any(word in str(caught.value) for word in WORDS)


def test_a_key_goes_to_its_own_address_and_to_no_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    with TeacherServer(answer) as own, TeacherServer(answer) as neighbour:
        monkeypatch.setenv(URL_ENV, own.url)
        monkeypatch.setenv(KEY_ENV, KEY)
        ask(own.url)
        ask(own.url.upper().replace("/V1", "/v1"))
        ask(neighbour.url)
        ask(own.url.replace("127.0.0.1", "localhost"))
    assert [asked.headers["authorization"] for asked in own.asked] == [
        f"Bearer {KEY}",
        f"Bearer {KEY}",
        "Bearer none",
    ]
    assert KEY not in told(neighbour)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is not meant for another host, even without the key."""
    with TeacherServer(answer) as other:
        away = Reply(status, b"", {"Location": f"{other.url}/chat/completions"})
        with TeacherServer(lambda asked: away) as server:
            monkeypatch.setenv(URL_ENV, server.url)
            monkeypatch.setenv(KEY_ENV, KEY)
            with pytest.raises(TtsiError, match=f"redirects \\({status}\\)"):
                ask(server.url)
        assert other.asked == []


@pytest.mark.usefixtures("keys")
def test_openais_other_settings_go_where_its_key_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway: mine")
    with TeacherServer(answer) as gateway:
        monkeypatch.setenv("OPENAI_BASE_URL", gateway.url)
        ask(gateway.url)
    (asked,) = gateway.asked
    assert asked.headers["authorization"] == f"Bearer {SECRETS['OPENAI_API_KEY']}"
    assert asked.headers["openai-organization"] == SECRETS["OPENAI_ORG_ID"]
    assert asked.headers["x-gateway"] == "mine"
    # The gateway has the key now, and OpenAI's own URL has none.
    with pytest.raises(MissingAsset, match="key is missing") as caught:
        TeacherGenerator()
    assert f"export {URL_ENV}={OPENAI} {KEY_ENV}=..." in caught.value.cure


def test_a_spec_names_no_cluster_that_code_and_rays_token_would_go_to(tmp_path: Path) -> None:
    executor = {"name": "ray", "address": "evil.example:6379"}
    with pytest.raises(SpecError) as caught:
        ttsi.evaluate(spec() | {"executor": executor}, out=tmp_path)
    assert [problem.pointer for problem in caught.value.problems] == ["/executor/address"]


# ---------------------------------------------------------------- which key is whose


def secret(url: str) -> str | None:
    address = Address.read(url)
    assert address is not None, url
    key = key_for(address)
    return key.secret if key else None


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ("https://a.example/v1", True),
        ("https://a.example/v1/", True),
        ("https://A.Example:443/v1", True),
        ("https://a.example/v1/models", True),
        ("http://a.example/v1", False),
        ("https://a.example:8443/v1", False),
        ("https://a.example", False),
        ("https://a.example/v12", False),
        ("https://a.example/V1", False),
        ("https://b.a.example/v1", False),
        ("https://a.example.evil.example/v1", False),
        ("https://xa.example/v1", False),
    ],
)
def test_a_key_fits_its_origin_and_what_lies_under_its_path(asked: str, fits: bool) -> None:
    configure({"https://a.example/v1": {"key": "filed"}})
    assert secret(asked) == ("filed" if fits else None)
    os.environ[URL_ENV], os.environ[KEY_ENV] = "https://a.example/v1/", "set"
    assert secret(asked) == ("set" if fits else None)


def test_the_nearest_entry_of_the_file_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "mine")
    configure(
        {
            "https://a.example": {"key": "wide"},
            "https://a.example/v1/one": {"key_env": "MY_KEY"},
            "https://a.example/v1": {"key": "near"},
        }
    )
    assert secret("https://a.example/v2") == "wide"
    assert secret("https://a.example/v1/two") == "near"
    assert secret("https://a.example/v1/one") == "mine"
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(MissingAsset, match="MY_KEY is not set"):
        secret("https://a.example/v1/one")


def test_openais_key_is_for_openai_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "open")
    assert secret(OPENAI) == "open"
    assert secret("https://a.example/v1") is None
    monkeypatch.setenv("OPENAI_BASE_URL", "https://a.example/v1")
    assert secret("https://a.example/v1") == "open"
    assert secret(OPENAI) is None


@pytest.mark.parametrize(
    "url",
    [
        "", "a.example/v1", "ftp://a.example", "https://", "https:///v1", "https://a.example.",
        "https://.a.example", "https://a..example", "https://a.example:0", "https://a.example:65536",
        "https://a.example:", "https://u@a.example", "https://u:p@a.example", "https://a.example?x",
        "https://a.example#x", "https://a.example/%76", "https://a.example/./v1",
        "https://a.example//v1", "https://a.example/v1 ", " https://a.example", "https://a b",
        "https://\u0430.example", "https://a.example/\u00e9", "https://[::1", "https://[::1]x",
        "https://a.example\\v1", "https://a.example;v1", "https://a\x00.example",
    ],
)  # fmt: skip
def test_what_is_no_plain_url_is_none(url: str) -> None:
    assert Address.read(url) is None


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("HTTP://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("https://A.example:443/v1/", "https://a.example/v1"),
        ("http://a.example:443", "http://a.example:443"),
        (OPENAI, OPENAI),
    ],
)
def test_an_address_has_one_spelling(url: str, plain: str) -> None:
    assert str(Address.read(url)) == plain
    assert str(Address.read(plain)) == plain


def test_addresses_cover_each_other_only_where_they_are_one() -> None:
    urls = [OPENAI, "http://api.openai.com/v1", "https://api.openai.com/v2", "https://x.example/v1"]
    found = [Address.read(url) for url in urls]
    for a, b in itertools.product(found, found):
        assert a is not None
        assert b is not None
        assert a.covers(b) == (a == b)


# ---------------------------------------------------------------- what the user has configured


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o602, 0o604, 0o660, 0o777])
def test_a_file_that_others_can_use_is_not_used(mode: int) -> None:
    path = configure({"https://a.example/v1": {"key": "filed"}}, mode)
    with pytest.raises(MissingAsset, match="by others than you") as caught:
        secret("https://a.example/v1")
    assert "filed" not in str(caught.value)
    # The cure works as it is printed.
    assert os.system(caught.value.cure) == 0
    assert secret("https://a.example/v1") == "filed"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [
        "", "null", "[]", "{", '"https://a.example"', "[" * 10**5,
        {"https://u:hidden@a.example": {"key": "hidden"}},
        {"https://a.example": "hidden"},
        {"https://a.example": {"key": "hidden", "key_env": "hidden"}},
        {"https://a.example": {"key": 1}},
        {"https://a.example": {}},
        {"https://a.example": {"key": "hidden key"}},
        {"https://a.example": {"key": ""}},
    ],
)  # fmt: skip
def test_a_faulty_file_is_told_of_without_what_it_holds(content: Any) -> None:
    path = configure(content)
    with pytest.raises(MissingAsset) as caught:
        secret("https://a.example/v1")
    assert "hidden" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_what_is_no_file_is_told_of() -> None:
    path = config_file()
    path.mkdir(parents=True)
    with pytest.raises(MissingAsset, match="cannot be used"):
        secret("https://a.example/v1")
    path.rmdir()
    os.mkfifo(path, 0o600)
    with pytest.raises(MissingAsset, match="it is no file"):
        secret("https://a.example/v1")
    path.unlink()
    assert secret("https://a.example/v1") is None


def test_a_key_without_its_endpoint_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    with pytest.raises(MissingAsset, match="a key goes with its endpoint") as caught:
        secret("https://a.example/v1")
    assert KEY not in str(caught.value)
    monkeypatch.setenv(URL_ENV, "https://u:hidden@a.example")
    with pytest.raises(MissingAsset, match="no plain URL") as caught:
        secret("https://a.example/v1")
    assert "hidden" not in str(caught.value)


def test_what_the_user_lacks_is_no_fault_of_the_spec(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ttsi.cli.main import main

    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec(base_url="https://a.example/v1")))
    configure("no JSON")
    assert main(["validate", str(path)]) == 0
    assert main(["eval", str(path), "--out", str(tmp_path / "runs")]) == 5
    assert "file of endpoints" in capsys.readouterr().err


def test_a_url_with_a_user_is_a_fault_of_the_spec() -> None:
    with pytest.raises(UsageError, match="base_url") as caught:
        TeacherGenerator(base_url="https://me:hidden@a.example/v1")
    assert "hidden" not in str(caught.value)


def test_messages_are_sent_as_they_are() -> None:
    """The hook removes headers only: the body is the question."""
    with TeacherServer(answer) as server:
        ask(server.url)
    turns = [Message(**each) for each in server.asked[0].body["messages"]]
    assert "What is the weather in City0?" in turns[-1].content
