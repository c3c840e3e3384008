"""Small tokenizers of two families, with a custom chat template."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ttsi_plugins.engines.transformers.tokens import Tokens

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKERS = ("<tool_call>", "</tool_call>", "<think>", "</think>", "[TOOL_CALLS]", "<|python_tag|>")


def byte_level(template: str, special: Sequence[str] = (), ordinary: Sequence[str] = ()) -> Any:
    """Return a byte-level tokenizer; <|im_start|>, <|im_end|> and `special` are special tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [("Ġ", "Ġ"), ("Ċ", "Ċ"), ("a", "b"), ("<", "|"), ("|", ">")]
    words = [*letters, *(one + other for one, other in pairs)]
    backend = Tokenizer(models.BPE({word: id for id, word in enumerate(words)}, pairs))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return _fast(backend, template, ("<|im_start|>", "<|im_end|>", *special), ordinary)


def sentence_piece(
    template: str, special: Sequence[str] = (), ordinary: Sequence[str] = (), scheme: str = "first"
) -> Any:
    """Return a tokenizer like those of Llama 2 and Mistral.

    Spaces become ▁, also before the text's first word, and unknown words become bytes. With the
    scheme "always", another ▁ follows each added token.
    """
    letters = [chr(code) for code in range(33, 127)] + ["é", "ü", "▁"]
    pairs = [("▁", "a"), ("a", "b"), ("▁", "▁")]
    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    words += [one + other for one, other in pairs]
    backend = Tokenizer(
        models.BPE(
            {word: id for id, word in enumerate(words)},
            pairs,
            byte_fallback=True,
            unk_token="<unk>",
            fuse_unk=True,
        )
    )
    if scheme == "always":
        backend.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return _fast(backend, template, ("<|im_start|>", "<|im_end|>", *special), ordinary)


def tokens(tokenizer: Any, date: str | None = "2031-02-03", ends: Sequence[str] = ()) -> Tokens:
    ids = [tokenizer.convert_tokens_to_ids(end) for end in ("<|im_end|>", *ends)]
    return Tokens(tokenizer, SimpleNamespace(eos_token_id=ids), date)


def _fast(backend: Any, template: str, special: Sequence[str], ordinary: Sequence[str]) -> Any:
    made = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")
    made.add_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    made.add_tokens([AddedToken(t, special=False, normalized=False) for t in ordinary])
    made.chat_template = template
    return made
