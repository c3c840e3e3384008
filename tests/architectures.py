"""Tiny random models of many architectures, made by transformers from a config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from markup import between, table
from tiny_model import write_folder
from transformers import AutoConfig, AutoModelForCausalLM

# Configs use different names for the same sizes; each config takes those that it knows.
_SIZES: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def tiny(kind: str, **settings: Any) -> Any:
    """Return a random model of type `kind` in evaluation mode, of a size for tests."""
    torch.manual_seed(3)
    known = AutoConfig.for_model(kind)
    sizes = {name: size for name, size in _SIZES.items() if hasattr(known, name)}
    config = AutoConfig.for_model(kind, **{**sizes, **settings})
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Random models are nearly linear; larger weights let attention affect the logits.
            if parameter.dim() > 1 and "embed" not in name:
                parameter.mul_(4)
    return model


def folder(path: Path, kind: str, settings: dict[str, Any]) -> Path:
    """Write a random model of type `kind` to `path`, with the tokenizer of `tiny_model`."""

    def make(vocabulary: int, end: int) -> Any:
        sizes = {"vocab_size": vocabulary, "max_position_embeddings": 4096}
        ends = {"eos_token_id": end, "bos_token_id": None, "pad_token_id": end}
        return tiny(kind, **settings, **sizes, **ends)

    return write_folder(path, make)


_MOE = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
_ROTARY = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 128}
_FACTORS = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4}

_LATENT = {
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "num_key_value_heads": 4,
}

_ROUTED = {
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    **_MOE,
}
_EMBEDDED = {"vocab_size_per_layer_input": 320, "hidden_size_per_layer_input": 8}
_ALTERNATING = {
    "head_dim": 8,
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "sliding_window": 5,
    **_EMBEDDED,
}
_GEMMA_4 = {**_ALTERNATING, "global_head_dim": 16}
_GEMMA_3N = {
    **_ALTERNATING,
    "num_kv_shared_layers": 2,
    "laurel_rank": 4,
    "altup_num_inputs": 2,
    "intermediate_size": 48,
}
_GATED_DELTA = {
    "head_dim": 8,
    "linear_num_value_heads": 2,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
}

# What is run as transformers runs it: type and settings of the config.
RUNS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("llama", {}),
    "Qwen2": ("qwen2", {}),
    "Qwen3": ("qwen3", {"head_dim": 16}),
    "Mistral": ("mistral", {"sliding_window": None}),
    "Mistral, a window longer than its texts": ("mistral", {"sliding_window": 256}),
    "Phi-3": ("phi3", {}),
    "Phi-3, longrope": (
        "phi3",
        {"rope_parameters": {**_ROTARY, **_FACTORS}, "original_max_position_embeddings": 128},
    ),
    "Gemma": ("gemma", {"head_dim": 8}),
    "Gemma 3, a window longer than its texts": ("gemma3_text", {"head_dim": 8}),
    "OLMo 2": ("olmo2", {}),
    "OLMo 3, a window longer than its texts": ("olmo3", {}),
    "Cohere": ("cohere", {}),
    "Cohere 2, a window longer than its texts": ("cohere2", {}),
    "Granite": ("granite", {}),
    "Granite 4 without Mamba": (
        "granitemoehybrid",
        {"layer_types": ["attention"] * 2, "num_local_experts": 0, "mamba_n_heads": 8},
    ),
    "SmolLM3": ("smollm3", {}),
    "Starcoder 2": ("starcoder2", {}),
    "GLM 4": ("glm4", {"head_dim": 8}),
    "EXAONE 4": ("exaone4", {}),
    "GPT-NeoX": ("gpt_neox", {}),
    "Phi": ("phi", {}),
    "OPT": ("opt", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "Mixtral": ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "Qwen2-MoE": ("qwen2_moe", {"num_experts": 4, **_MOE, "shared_expert_intermediate_size": 16}),
    "Qwen3-MoE": ("qwen3_moe", {"num_experts": 4, **_MOE, "head_dim": 8}),
    "Mistral, sliding window": ("mistral", {"sliding_window": 32}),
    "Phi-3, sliding window": ("phi3", {"sliding_window": 32}),
    "Qwen2, sliding window": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 32, "max_window_layers": 1},
    ),
    "Gemma 2": ("gemma2", {"head_dim": 8, "sliding_window": 32}),
    "Gemma 3": ("gemma3_text", {"head_dim": 8, "sliding_window": 32}),
    "Cohere 2": ("cohere2", {"sliding_window": 32}),
    "OLMo 3": ("olmo3", {"sliding_window": 32}),
    "gpt-oss": ("gpt_oss", {"head_dim": 8, "num_local_experts": 4, "sliding_window": 32}),
    "Llama 4": (
        "llama4_text",
        {
            "attention_chunk_size": 32,
            "num_local_experts": 4,
            "head_dim": 8,
            "intermediate_size_mlp": 48,
            "num_hidden_layers": 4,
        },
    ),
    "DeepSeek V3": ("deepseek_v3", _LATENT),
    "StableLM": ("stablelm", {}),
    "Nemotron": ("nemotron", {}),
    "GPT-2": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),
    "Ministral 3": ("ministral3", {"sliding_window": 32}),
    "Gemma 3n": ("gemma3n_text", _GEMMA_3N),
    "Gemma 4": ("gemma4_text", _GEMMA_4),
    "Seed-OSS": ("seed_oss", {"head_dim": 8}),
    "ERNIE 4.5": ("ernie4_5", {"head_dim": 8}),
    "Hunyuan": ("hunyuan_v1_dense", {"head_dim": 8}),
    "Apertus": ("apertus", {}),
    "GLM 4 MoE": ("glm4_moe", {**_ROUTED, "head_dim": 8}),
    "MiMo V2": ("mimo_v2_flash", {}),
    "OLMoE": ("olmoe", {"num_experts": 4, "num_experts_per_tok": 2}),
}

_MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}
# What is run as transformers runs it, with layers that carry a state: type and settings.
CARRY: Mapping[str, tuple[str, dict[str, Any]]] = {
    "Mamba 2": ("mamba2", {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1}),
    "Zamba 2": (
        "zamba2",
        {
            "n_mamba_heads": 8,
            "mamba_headdim": 8,
            "mamba_d_state": 8,
            "mamba_ngroups": 1,
            "layers_block_type": ["mamba", "hybrid"],
            "num_mem_blocks": 1,
        },
    ),
    "Bamba": ("bamba", {**_MAMBA, "attn_layer_indices": [1]}),
    "Falcon H1": ("falcon_h1", {**_MAMBA, "mamba_d_ssm": 64, "head_dim": 8}),
    "Granite 4": (
        "granitemoehybrid",
        {**_MAMBA, "layer_types": ["mamba", "attention"], "num_local_experts": 0},
    ),
    "LFM2": ("lfm2", {"layer_types": ["conv", "full_attention"]}),
    "LFM2-MoE": (
        "lfm2_moe",
        {"layer_types": ["conv", "full_attention"], "num_experts": 4, **_MOE},
    ),
    "Qwen3.5": ("qwen3_5_text", _GATED_DELTA),
    "Qwen3-Next": (
        "qwen3_next",
        {
            **_GATED_DELTA,
            "num_experts": 4,
            **_MOE,
            "shared_expert_intermediate_size": 16,
        },
    ),
    "OLMo Hybrid": ("olmo_hybrid", {}),
    "Nemotron-H": (
        "nemotron_h",
        {
            "mamba_num_heads": 8,
            "mamba_head_dim": 8,
            "ssm_state_size": 8,
            "n_groups": 1,
            "hybrid_override_pattern": "M*",
            "head_dim": 8,
        },
    ),
}

# What runs natively, and what is said of why: type, settings, words.
NATIVE: Mapping[str, tuple[str, dict[str, Any], str]] = {
    "Mamba": ("mamba", {"state_size": 8}, "other numbers"),
    "Jamba": (
        "jamba",
        {
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "num_experts": 4,
            "mamba_d_state": 8,
            "mamba_dt_rank": 4,
        },
        "other numbers",
    ),
    "DiffLlama": ("diffllama", {"head_dim": 8}, "other numbers"),
    "DeepSeek V3.2": ("deepseek_v32", _LATENT, "indexed_attention"),
    "MiniMax": (
        "minimax",
        {
            "layer_types": ["linear_attention", "full_attention"],
            "num_local_experts": 4,
            "head_dim": 8,
            "block_size": 16,
        },
        "cache of its own",
    ),
    "RWKV": ("rwkv", {"attention_hidden_size": 32}, "attention of its own"),
    "Falcon": ("falcon", {"num_kv_heads": 2}, "attention of its own"),
    "BLOOM": ("bloom", {"n_layer": 2, "n_head": 4}, "attention of its own"),
    "MPT": ("mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2}, "attention of its own"),
    "GPT-J": (
        "gptj",
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4},
        "attention of its own",
    ),
}

# Configs that nobody ships and that a checkpoint might have all the same: type and settings.
ODD: Mapping[str, tuple[str, dict[str, Any]]] = {
    "a window of 1": ("mistral", {"sliding_window": 1}),
    "a window of 5": ("mistral", {"sliding_window": 5}),
    "chunks of 3": (
        "llama4_text",
        {
            "attention_chunk_size": 3,
            "num_local_experts": 2,
            "head_dim": 8,
            "intermediate_size_mlp": 48,
            "num_hidden_layers": 4,
        },
    ),
    "windows in every second layer": (
        "qwen2",
        {
            "use_sliding_window": True,
            "sliding_window": 7,
            "num_hidden_layers": 4,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
        },
    ),
    "windows in all layers but the first": (
        "gemma3_text",
        {
            "head_dim": 8,
            "sliding_window": 4,
            "num_hidden_layers": 3,
            "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
        },
    ),
    "one key head": ("llama", {"num_key_value_heads": 1}),
    "wide heads": ("qwen3", {"head_dim": 40, "num_key_value_heads": 4}),
    "no rotary in some layers": (
        "smollm3",
        {"num_hidden_layers": 4, "no_rope_layers": [1, 0, 1, 0]},
    ),
    "no rotary, and windows": (
        "cohere2",
        {"sliding_window": 6, "num_hidden_layers": 4, "sliding_window_pattern": 2},
    ),
    "a quarter rotary": ("stablelm", {"partial_rotary_factor": 0.5}),
    "parallel residual": ("gpt_neox", {"use_parallel_residual": True}),
    "biases everywhere": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "a softcap of 1": (
        "gemma2",
        {"head_dim": 8, "attn_logit_softcapping": 1.0, "sliding_window": 3},
    ),
    "no softcap": ("gemma2", {"head_dim": 8, "attn_logit_softcapping": None}),
    "sinks and a window of 3": (
        "gpt_oss",
        {"head_dim": 8, "num_local_experts": 4, "sliding_window": 3},
    ),
    "latent queries without a rank": ("deepseek_v3", {**_LATENT, "q_lora_rank": None}),
    "rotary by YaRN": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
    ),
    "rotary of Llama 3": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
    ),
    "sparse layers": (
        "mixtral",
        {"num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": 5},
    ),
    "a convolution of 1": ("lfm2", {"layer_types": ["conv", "full_attention"], "conv_L_cache": 1}),
    "no attention at all": (
        "qwen3_5_text",
        {**_GATED_DELTA, "layer_types": ["linear_attention"] * 2},
    ),
    "learned positions": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 80}),
}

# What is refused, and what its error says: type, settings, words.
REFUSED: Mapping[str, tuple[str, dict[str, Any], str]] = {
    "BERT": ("bert", {}, "other numbers"),
}


PAGE = Path(__file__).parent.parent / "docs" / "models.md"
_WHY = {
    "attention of its own": "an attention that cannot be replaced",
    "other numbers": "layers that do not go on right from what was read",
    "indexed_attention": "sparse attention",
    "cache of its own": "a cache of its own",
}


def page() -> str:
    """The text of docs/models.md with the table of these architectures."""
    return between(PAGE.read_text(), "architectures", _table())


def _table() -> str:
    found = dict.fromkeys(_WHY.values(), "")
    for name, (_, _, words) in NATIVE.items():
        found[_WHY[words]] += f", {name}" if found[_WHY[words]] else name
    rows = [["fast", "; ".join(RUNS), ""], ["fast, with states", "; ".join(CARRY), ""]]
    rows += [["native", names.replace(", ", "; "), why] for why, names in found.items()]
    rows.append(["refused", "; ".join(REFUSED), "no causal language model"])
    return table(["mode", "architectures", "because of"], rows)


if __name__ == "__main__":
    PAGE.write_text(page())
