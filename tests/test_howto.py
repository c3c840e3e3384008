"""docs/howto.md: its recipes are tried as they stand, with the embedded model and real clients."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ttsi.cli.main import main
from ttsi.spec import load_spec

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "howto.md").read_text()


def blocks(heading: str, language: str) -> list[str]:
    text = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def call(line: str) -> int:
    """Run a command of the page in this process, in the current folder."""
    _, *words = shlex.split(line)
    argv = [
        str(found) for word in words for found in (Path().glob(word) if "*" in word else [word])
    ]
    return main(argv)


def commands(heading: str) -> list[str]:
    return [line for block in blocks(heading, "bash") for line in block.splitlines()]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that has the specs, as a checkout has them; runs have one sample."""
    (tmp_path / "specs").symlink_to(ROOT / "specs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TTSI_LIMIT", "1")
    return tmp_path


def test_every_recipe_is_tried() -> None:
    tried = set(re.findall(r'"([A-Z][^"]+)"', Path(__file__).read_text()))
    assert set(re.findall(r"^## (.+)$", PAGE, re.MULTILINE)) <= tried


@pytest.mark.model
def test_one_sample_is_debugged(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TTSI_LIMIT")
    prompts, run, report = commands("Debug one sample")
    assert call(prompts) == 0
    assert "quickstart/6" in capsys.readouterr().out
    assert call(run) == 0
    (line,) = next(place.glob("debug/*/seed-0/samples.jsonl")).read_text().splitlines()
    record = json.loads(line)
    assert (record["id"], record["estimate"]["uncertain"]) == ("quickstart/6", True)
    assert float(record["costs"]["answer"]["prompt_tokens"]).is_integer()
    assert call(report) == 0
    assert "quickstart/6" in (place / "debug" / "report.html").read_text()


def test_the_prompt_is_changed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heading = "Change the prompt"
    (shown,) = commands(heading)
    assert call(shown) == 0
    told = capsys.readouterr().out
    assert "benchmark.instruction" in told
    assert "generator.template" in told
    (document,) = blocks(heading, "json")
    (place / "worded.json").write_text(document)
    assert main(["prompts", "worded.json", "--templates", "--json"]) == 0
    templates = json.loads(capsys.readouterr().out)["templates"]
    (spec,) = load_spec(document)
    assert templates["benchmark.instruction"] == spec.benchmark.options["instruction"]
    assert templates["generator.template"] == spec.generator.options["template"]


@pytest.mark.model
def test_a_folder_is_run_and_exported(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from ttsi_plugins.engines.transformers import weights

    shutil.copytree(weights.resolve({"id": "smollm2-135m"}), place / "my-model")
    (run,) = commands("Use your own model folder")
    capfd.readouterr()
    assert call(f"{run} -q") == 0
    assert capfd.readouterr() == ("", "")  # no library speaks up either
    (export,) = commands("Get a CSV file")
    assert call(export) == 0
    with (place / "records.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["./my-model"]


@pytest.mark.model
def test_a_run_stops_and_goes_on(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTSI_LIMIT", "2")
    heading = "Stop when so many dollars or minutes are spent"
    (document,) = blocks(heading, "json")
    (spec,) = load_spec(document)
    assert (spec.stop_at.usd, spec.stop_at.minutes) == (5, 90)
    stopped, goes_on = commands(heading)
    assert call(stopped) == 6
    assert "1 of 2 samples are finished, and stay" in capsys.readouterr().err
    (samples,) = place.glob("limited/*/seed-0/samples.jsonl")
    (kept,) = samples.read_text().splitlines()
    assert call(goes_on) == 0
    assert samples.read_text().splitlines()[0] == kept
    assert len(samples.read_text().splitlines()) == 2


@pytest.mark.model
def test_a_hook_tracks(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("Log to a tracker, by a hook", "python")
    exec(compile(code, "howto.md", "exec"), {})
    logged = [eval(line) for line in capsys.readouterr().out.splitlines() if line[:1] == "{"]
    (results,) = place.glob("tracked/*/seed-0/results.json")
    accuracy = json.loads(results.read_text())["accuracy"]
    assert [each.get("samples") for each in logged] == [1, None]
    assert logged[0]["accuracy"] == logged[1]["final_accuracy"] == accuracy


def test_the_spec_for_two_gpus_is_sound(place: Path) -> None:
    """tests/on_machines.py runs one like it, on a machine of two logical GPUs."""
    (line,) = commands("Use two GPUs of one machine")
    words = shlex.split(line)
    assert main(["-q", "validate", words[2], *words[3:]]) == 0


# ---------------------------------------------------------------- a mirror and a proxy

FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "model.safetensors": b"\x02\0\0\0\0\0\0\0{}",
}
COMMIT = "c0ffee" * 6 + "c0ff"


class Mirror(BaseHTTPRequestHandler):
    """The part of the Hub's interface by which a model is fetched; asked directly or as a proxy."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        path = urlsplit(self.path).path
        if path.startswith("/api/models/owner/name"):
            names = [{"rfilename": name} for name in FILES]
            told: Any = {"id": "owner/name", "sha": COMMIT, "siblings": names}
            if "/tree/" in path:
                told = [
                    {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
                    for name, data in FILES.items()
                ]
            self._send(json.dumps(told).encode(), "application/json")
        else:
            name = path.rpartition("/")[2]
            self._send(FILES.get(name, b""), "application/octet-stream", name)

    do_HEAD = do_GET  # noqa: N815

    def _send(self, data: bytes, kind: str, name: str = "") -> None:
        self.send_response(200 if not name or name in FILES else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{name or "list"}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def mirror() -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a mirror, and the paths that it is asked for."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        server.asked = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", server.asked  # type: ignore[attr-defined]
        server.shutdown()


def fetched(home: Path, **settings: str) -> Path:
    """Fetch the model as a run would, in a process of its own: the Hub's library reads settings."""
    code = "from ttsi_plugins.engines.transformers.hub import snapshot\n"
    code += "print(snapshot('owner/name', 'main'))"
    own = ("HF_ENDPOINT", "HF_HUB_OFFLINE", "TTSI_OFFLINE", "NO_PROXY", "no_proxy")
    environment = {name: value for name, value in os.environ.items() if name not in own}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.mark.parametrize("through", ["HF_ENDPOINT", "HTTP_PROXY"])
def test_a_model_is_fetched_from_a_mirror_or_through_a_proxy(tmp_path: Path, through: str) -> None:
    named = "\n".join(blocks("Fetch models from a mirror or through a proxy", "sh"))
    assert "HF_ENDPOINT=" in named
    assert "HTTPS_PROXY=" in named  # of an address that begins with https; here it is http
    with mirror() as (address, asked):
        settings = {"HF_ENDPOINT": "http://hub.invalid"} if through == "HTTP_PROXY" else {}
        folder = fetched(tmp_path, **settings, **{through: address})
    assert folder.name == COMMIT
    for name, data in FILES.items():
        assert (folder / name).read_bytes() == data, name
    whole = [path for path in asked if path.startswith("http://hub.invalid/")]
    assert len(whole) == (len(asked) if through == "HTTP_PROXY" else 0)
    assert asked
