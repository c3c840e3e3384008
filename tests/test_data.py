"""Data files: local copies, the cache, the download, and their failures."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT

from ttsi.assets import Asset, cache_root, data_file
from ttsi.errors import CorruptAsset, MissingAsset, StorageError
from ttsi_benchmarks import apibank, sealtool, toolalpaca
from ttsi_benchmarks._nexus_source import QUERIES, TOOLS, read_table
from ttsi_benchmarks.nexusraven import NexusRaven
from ttsi_benchmarks.sealtool import SealTool

SHARED = ROOT.parent / "shared" / "data"
BYTES = b'[{"a": "row"}]\n'
ASSETS = [
    *apibank.ASSETS.values(),
    QUERIES,
    TOOLS,
    sealtool.ASSET,
    toolalpaca.ASSET,
]


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing, which would mix with the test's output."""


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a writable copy of the data, to which TTSI_DATA_DIR points."""
    folder = tmp_path / "data"
    for asset in ASSETS:
        (folder / asset.name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SHARED / asset.name, folder / asset.name)
    monkeypatch.setenv("TTSI_DATA_DIR", str(folder))
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache, without local copies."""
    monkeypatch.delenv("TTSI_DATA_DIR", raising=False)
    monkeypatch.delenv("TTSI_OFFLINE", raising=False)
    monkeypatch.setenv("TTSI_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asset]:
    """Yield an asset on a server in this process."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "rows.json").write_bytes(BYTES)
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/rows.json"
        yield Asset("set/rows.json", url, hashlib.sha256(BYTES).hexdigest(), "CC0-1.0")
        server.shutdown()
        thread.join()


def test_the_assets_are_those_of_the_manifest() -> None:
    manifest = {row["file"]: row for row in json.loads((SHARED / "MANIFEST.json").read_text())}
    for asset in ASSETS:
        row = manifest[asset.name]
        assert asset.sha256 == row["sha256"]
        assert asset.license in row["license"]
        if row["byte_exact"]:
            path = f"{row['repository']}/{row['commit']}/{row['upstream_path']}"
            assert asset.url == f"https://raw.githubusercontent.com/{path}"
        else:
            assert asset.url == ""


def test_local_copies_come_first(copies: Path) -> None:
    assert data_file(sealtool.ASSET) == copies / "hammer" / "sealtool.json"


def test_one_changed_byte_is_found(copies: Path) -> None:
    path = copies / "hammer" / "sealtool.json"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptAsset) as caught:
        SealTool().samples()
    assert caught.value.where == str(path)
    assert caught.value.cure


@pytest.mark.parametrize("asset", [QUERIES, TOOLS], ids=["queries", "tools"])
def test_a_truncated_table_is_found(asset: Asset, copies: Path) -> None:
    path = copies / asset.name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptAsset, match=r"standardized_"):
        NexusRaven().samples()


def test_a_missing_local_copy_is_not_fetched(copies: Path, served: Asset) -> None:
    with pytest.raises(MissingAsset) as caught:
        data_file(served)
    assert caught.value.where == str(copies / served.name)
    assert "TTSI_DATA_DIR" in caught.value.cure


def test_a_file_is_fetched_once_and_then_found_offline(
    cache: Path, served: Asset, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = data_file(served)
    assert path == cache / "data" / "set" / "rows.json"
    assert path.read_bytes() == BYTES
    monkeypatch.setenv("TTSI_OFFLINE", "1")
    assert data_file(served) == path


def test_offline_without_the_file(
    cache: Path, served: Asset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTSI_OFFLINE", "1")
    with pytest.raises(MissingAsset) as caught:
        data_file(served)
    assert "TTSI_DATA_DIR" in caught.value.cure
    assert not cache.exists()


def test_a_damaged_file_in_the_cache(cache: Path, served: Asset) -> None:
    path = data_file(served)
    path.write_bytes(b"something else")
    with pytest.raises(CorruptAsset) as caught:
        data_file(served)
    assert caught.value.where == str(path)
    path.unlink()
    assert data_file(served).read_bytes() == BYTES


def test_other_bytes_on_the_server_are_refused(cache: Path, served: Asset) -> None:
    other = dataclasses.replace(served, sha256="0" * 64)
    with pytest.raises(CorruptAsset) as caught:
        data_file(other)
    assert caught.value.where == served.url
    assert not (cache / "data" / "set" / "rows.json").exists()


@pytest.mark.parametrize("path", ["gone.json", None], ids=["not there", "no server"])
def test_a_failing_network_is_told_with_a_cure(
    path: str | None, cache: Path, served: Asset
) -> None:
    base = served.url.rsplit("/", 1)[0] if path else "http://127.0.0.1:9"
    with pytest.raises(MissingAsset, match="could not be fetched") as caught:
        data_file(dataclasses.replace(served, url=f"{base}/{path or 'rows.json'}"))
    assert "TTSI_DATA_DIR" in caught.value.cure


def test_a_cache_that_cannot_be_written(cache: Path, served: Asset) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(StorageError) as caught:
        data_file(served)
    assert "TTSI_CACHE_DIR" in caught.value.cure


def test_an_asset_without_an_address(cache: Path) -> None:
    with pytest.raises(MissingAsset, match="cannot be fetched"):
        data_file(Asset("set/x.json", "", "0" * 64, "CC0-1.0"))


def test_the_cache_is_the_users_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TTSI_CACHE_DIR", raising=False)
    assert cache_root().name == "ttsi"
    monkeypatch.setenv("TTSI_CACHE_DIR", "~/elsewhere")
    assert cache_root() == Path.home() / "elsewhere"


# ---------------------------------------------------------------- the Hub's tables


def hub(calls: list[tuple[str, str, str]]) -> SimpleNamespace:
    """Stand in for the package `datasets`: serve the local tables as the Hub would."""

    def load_dataset(path: str, name: str, *, split: str) -> list[dict[str, object]]:
        calls.append((path, name, split))
        lines = (SHARED / "nexusraven" / f"{name}.jsonl").read_text("utf-8").split("\n")
        return [json.loads(line) for line in lines if line]

    return SimpleNamespace(load_dataset=load_dataset)


def test_nexusraven_from_the_hub_equals_local_copies_and_is_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str, str]] = []
    monkeypatch.setitem(sys.modules, "datasets", hub(calls))
    samples, revision = NexusRaven().samples(), NexusRaven().revision()
    name = "Nexusflow/NexusRaven_API_evaluation"
    assert sorted(calls) == [
        (name, "standardized_api_list", "train"),
        (name, "standardized_queries", "train"),
    ]
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setenv("TTSI_OFFLINE", "1")
    assert NexusRaven().samples() == samples
    monkeypatch.setenv("TTSI_DATA_DIR", str(SHARED))
    assert NexusRaven().samples() == samples
    assert NexusRaven().revision() == revision


def test_nexusraven_without_the_package_names_the_extra(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingAsset) as caught:
        NexusRaven().samples()
    assert caught.value.cure == "pip install 'ttsi[datasets]'"


def test_nexusraven_offline_or_unreachable(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=fail))
    with pytest.raises(MissingAsset, match="no route"):
        NexusRaven().samples()
    monkeypatch.setenv("TTSI_OFFLINE", "1")
    with pytest.raises(MissingAsset, match="TTSI_OFFLINE"):
        NexusRaven().samples()


def test_a_kept_table_that_is_torn(cache: Path) -> None:
    path = cache / "data" / QUERIES.name
    path.parent.mkdir(parents=True)
    path.write_text('{"dataset": "cve')
    with pytest.raises(CorruptAsset) as caught:
        read_table(QUERIES)
    assert caught.value.where == str(path)
