"""GGUF files: conversion to a folder, its cache, and failures of disks and files."""

from __future__ import annotations

import errno
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf as gguf_format
import pytest
import torch
from tiny_model import TEMPLATE, tiny_llama, write_gguf

from ttsi.errors import CorruptAsset, StorageError
from ttsi_plugins.engines.transformers import convert, gguf, weights


@pytest.fixture(scope="session")
def original() -> Any:
    return tiny_llama()


@pytest.fixture(scope="session")
def tiny_gguf(original: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", original)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache of this test's own; the folder does not exist yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TTSI_CACHE_DIR", str(folder))
    return folder


# ---------------------------------------------------------------- conversion


def test_converted_model_computes_what_the_original_does(
    original: Any, tiny_gguf: Path, cache: Path
) -> None:
    loaded = weights.load({"id": str(tiny_gguf)}, "cpu")
    ids = torch.arange(40).reshape(2, 20)
    assert torch.equal(loaded.model(ids).logits, original(ids).logits)
    assert loaded.folder.parent == cache / "models"
    assert len({path.stat().st_mode for path in loaded.folder.iterdir()}) == 1
    assert loaded.tokenizer.eos_token == "<|im_end|>"
    assert loaded.tokenizer.chat_template == TEMPLATE
    assert loaded.tokenizer.tokenize("  1") == ["ĠĠ", "1"]


def test_dtypes_have_folders_of_their_own(original: Any, tiny_gguf: Path, cache: Path) -> None:
    loaded = weights.load({"id": str(tiny_gguf), "dtype": "bfloat16"}, "cpu")
    assert loaded.folder.name.endswith("-bfloat16")
    assert loaded.model.dtype == torch.bfloat16
    head = original.lm_head.weight.to(torch.bfloat16)
    assert torch.equal(loaded.model.lm_head.weight, head)
    size = (loaded.folder / "model.safetensors").stat().st_size
    assert size < 2.2 * sum(p.numel() for p in original.parameters())


def test_neighbours_of_the_file_do_not_count(tiny_gguf: Path, cache: Path, tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "adapter_config.json").write_text("{}")
    (beside / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer"}')
    path = shutil.copy(tiny_gguf, beside / "other.GGUF")
    alone = weights.resolve({"id": str(tiny_gguf)})
    assert weights.resolve({"id": str(path)}) == alone
    shutil.rmtree(alone)
    again = weights.resolve({"id": str(path)})
    assert json.loads((again / "manifest.json").read_text())["files"].keys() == {
        path.name for path in again.iterdir() if path.name != "manifest.json"
    }
    assert "T5" not in (again / "tokenizer_config.json").read_text()


def test_one_of_many_converts(
    tiny_gguf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, calls, found = gguf.read, [], []
    monkeypatch.setattr(gguf, "read", lambda path: calls.append(path) or read(path))

    def resolve() -> None:
        found.append(weights.resolve({"id": str(tiny_gguf)}))

    threads = [threading.Thread(target=resolve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert len(calls) == 1


def test_transformers_is_left_as_it_was(tiny_gguf: Path, cache: Path) -> None:
    from transformers import modeling_gguf_pytorch_utils as loader

    before = gguf_format.GGUFReader, gguf_format.get_tensor_name_map, loader.tqdm
    weights.resolve({"id": str(tiny_gguf)})
    assert before == (gguf_format.GGUFReader, gguf_format.get_tensor_name_map, loader.tqdm)


def test_an_older_layout_is_made_anew(
    tiny_gguf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "_LAYOUT", 0)
    old = weights.resolve({"id": str(tiny_gguf)})
    monkeypatch.undo()
    monkeypatch.setenv("TTSI_CACHE_DIR", str(cache))
    assert weights.resolve({"id": str(tiny_gguf)}) == old
    assert json.loads((old / "manifest.json").read_text())["layout"] == 1


def test_killed_conversion_is_not_trusted(tiny_gguf: Path, cache: Path) -> None:
    """The process dies after writing everything, before the folder gets its final name."""
    script = (
        "import os, sys, pathlib\n"
        "from ttsi_plugins.engines.transformers import weights\n"
        "pathlib.Path.rename = lambda *_: os._exit(9)\n"
        "weights.resolve({'id': sys.argv[1]})\n"
    )
    command = [sys.executable, "-c", script, str(tiny_gguf)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 9
    (left,) = (path for path in (cache / "models").iterdir() if path.is_dir())
    assert left.name.endswith(".tmp")
    folder = weights.resolve({"id": str(tiny_gguf)})
    assert [path for path in (cache / "models").iterdir() if path.is_dir()] == [folder]


@pytest.mark.parametrize("step", ["write_folder", "_seal"])
def test_interrupted_conversion_leaves_nothing(
    step: str, tiny_gguf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gguf if step == "write_folder" else convert, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        weights.resolve({"id": str(tiny_gguf)})
    assert not any(path.is_dir() for path in (cache / "models").iterdir())


# ---------------------------------------------------------------- the disk


def flip(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "model.safetensors": flip,
    "tokenizer.json": lambda folder: (folder / "tokenizer.json").unlink(),
    "config.json": lambda folder: os.truncate(folder / "config.json", 10),
    "adapter_config.json": lambda folder: (folder / "adapter_config.json").write_text("{}"),
    "manifest.json": lambda folder: (folder / "manifest.json").write_text("[]"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_cache_is_named_and_cured(name: str, tiny_gguf: Path, cache: Path) -> None:
    folder = weights.resolve({"id": str(tiny_gguf)})
    DAMAGES[name](folder)
    with pytest.raises(CorruptAsset) as caught:
        weights.resolve({"id": str(tiny_gguf)})
    assert caught.value.where == str(folder / name)
    command = caught.value.cure.split("`")[1]
    subprocess.run(shlex.split(command), check=True)
    assert weights.resolve({"id": str(tiny_gguf)}) == folder


def test_cache_that_is_a_file(tiny_gguf: Path, cache: Path) -> None:
    cache.write_text("in the way")
    with pytest.raises(StorageError) as caught:
        weights.resolve({"id": str(tiny_gguf)})
    assert "TTSI_CACHE_DIR" in caught.value.cure
    assert str(cache) in caught.value.where


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_disk_that_refuses(
    number: int, tiny_gguf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError) as caught:
        weights.resolve({"id": str(tiny_gguf)})
    full = number in (errno.ENOSPC, errno.EDQUOT)
    assert ("full" in caught.value.what) == full
    assert not any(path.is_dir() for path in (cache / "models").iterdir())


def test_file_size_limit(tiny_gguf: Path, cache: Path) -> None:
    """The operating system refuses a write in the middle of a safetensors file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(StorageError, match="does not fit"):
            weights.resolve({"id": str(tiny_gguf)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not any(path.is_dir() for path in (cache / "models").iterdir())


def test_too_little_space_is_told_beforehand(
    tiny_gguf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil._ntuple_diskusage(10**9, 10**9, 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(gguf, "write_folder", pytest.fail)
    with pytest.raises(StorageError, match=r"needs 0\.07 GB of disk, and 0\.00 GB are free"):
        weights.resolve({"id": str(tiny_gguf)})


# ---------------------------------------------------------------- GGUF files that are none


def garbled(data: bytes) -> dict[str, bytes]:
    return {
        "empty": b"",
        "text": b"this is not a model",
        "magic only": data[:4],
        "cut in the metadata": data[:2000],
        "cut in the tensors": data[:-1000],
        "count out of bounds": data[:16] + b"\xff" * 7 + data[23:],
    }


@pytest.mark.parametrize("how", garbled(b""))
def test_garbage_gguf(how: str, tiny_gguf: Path, cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(garbled(tiny_gguf.read_bytes())[how])
    with pytest.raises(CorruptAsset) as caught:
        weights.resolve({"id": str(path)})
    assert caught.value.where == str(path)
    assert "Fetch the file again" in caught.value.cure


def test_gguf_without_all_its_weights(original: Any, cache: Path, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "part.gguf", original, without="down_proj")
    with pytest.raises(CorruptAsset, match=r"lacks 2 weights .*down_proj"):
        weights.resolve({"id": str(path)})
