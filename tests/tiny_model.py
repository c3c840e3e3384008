"""A Llama of a few kilobytes, and its GGUF file, written by the format's own library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}<|im_end|>{% endfor %}"


def tiny_llama() -> Any:
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config).eval()


def tiny_qwen2() -> Any:
    """Return a Qwen2 with biases, tied embeddings and another ratio of heads."""
    torch.manual_seed(8)
    config = Qwen2Config(
        vocab_size=320,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    )
    model = Qwen2ForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return model


def rotate_pairs(weight: np.ndarray, heads: int) -> np.ndarray:
    """Return the rows of q or k in GGUF's order: the rotary halves interleaved."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))


def write_gguf(path: Path, model: Any, *, without: str = "", template: str = TEMPLATE) -> Path:
    """Write `model` as a GGUF file with a byte-level vocabulary, by the format's own library."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    add_vocabulary(writer, config.vocab_size, template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        kind = name.split(".")[-2]
        array = tensor.numpy()
        if kind in heads:
            array = rotate_pairs(array, heads[kind])
        if kind != without:
            writer.add_tensor(names.get_name(name.removesuffix(".weight")) + ".weight", array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_vocabulary(writer: Any, size: int, template: str) -> None:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *bytes_to_unicode().values(), "ĠĠ"]
    kinds = [3, 3, 3] + [1] * (len(tokens) - 3)
    tokens += [f"spare{index}" for index in range(size - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds + [1] * (size - len(kinds)))
    writer.add_token_merges(["Ġ Ġ"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    if template:
        writer.add_chat_template(template)


def write_folder(folder: Path, make: Callable[[int, int], Any] | None = None) -> Path:
    """Write a model folder as from the Hub, whose tokens are the bytes of a text.

    `make` builds the model from the size of its vocabulary and the id that ends a text; a Llama by
    default.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytewise = Tokenizer(models.BPE({each: id for id, each in enumerate(alphabet)}, []))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytewise,
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=TEMPLATE,
    )
    torch.manual_seed(9)
    model = (make or _small_llama)(len(tokenizer), tokenizer.eos_token_id)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _small_llama(vocabulary: int, end: int) -> Any:
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        eos_token_id=end,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config)


class EvenTokens:
    """A grammar, as the decoder sees one: every second token, from the first on."""

    def fill(self, bits: Tensor, row: int, draft: list[int]) -> None:
        bits[row : row + len(draft) + 1] = 0x55555555

    def accept(self, token: int) -> None:
        assert token % 2 == 0

    def accepts(self, token: int) -> bool:
        return token % 2 == 0

    def back(self, tokens: int) -> None: ...

    def forced(self) -> str:
        return ""
