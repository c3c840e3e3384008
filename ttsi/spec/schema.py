"""The JSON Schema of a spec, composed from the plugins that are installed.

The checked-in schemas/spec.schema.json is `compose_schema(builtins_only=True)`.
"""

from __future__ import annotations

from typing import Any

from ttsi import registry
from ttsi.options import options_schema
from ttsi.spec.episodes import Episodes
from ttsi.spec.stopping import StopAt

COMPONENTS = {
    "engine": "engines",
    "benchmark": "benchmarks",
    "estimator": "estimators",
    "generator": "generators",
    "learner": "learners",
    "inference": "inference",
    "executor": "executors",
    "scorer": "scorers",
}
"""The keys of a spec that name a plugin, and the kind of each plugin."""

DEFAULTS: dict[str, Any] = {
    "engine": "transformers",
    "estimator": "rss_margin",
    "generator": "self",
    "learner": "lora_sft",
    "inference": "direct",
    "executor": "local",
    "scorer": "exact",
}
DEFAULT_MODEL = "smollm2-135m"

# Python lets $ stand before a last line break; the look-ahead does not.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$(?!\n)"
NAME_IN_WORDS = "letters, digits, dots, underscores and hyphens, a letter or digit first"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_LARGEST_SEED = 2**53 - 1  # the integers that every JSON reader keeps exact

# What ttsi itself says to a chat template, or to the function that fills it in.
_TEMPLATE_CALL = (
    *("messages", "conversation", "tools", "documents", "chat_template", "tokenize"),
    *("add_generation_prompt", "continue_final_message", "padding", "truncation", "max_length"),
    *("return_tensors", "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs"),
    *("sanitize_control_tokens", "ttsi_dates", "enable_thinking"),
)

_MODEL_OPTIONS: dict[str, Any] = {
    "id": {
        "type": "string",
        "minLength": 1,
        "description": "A Hub id, a local folder, a .gguf file, or smollm2-135m.",
    },
    "revision": {
        "type": "string",
        "minLength": 1,
        "default": "main",
        "description": "Branch, tag or commit of a Hub id.",
    },
    "dtype": {
        "enum": ["auto", "float32", "bfloat16", "float16"],
        "default": "auto",
        "description": "The number format of the weights; auto: what suits the hardware.",
    },
    "date": {
        "type": ["string", "null"],
        "format": "date",
        "default": None,
        "description": "The date, as YYYY-MM-DD, that a chat template prints if it prints one; "
        "null: the day, in UTC, on which the run was started.",
    },
    "thinking": {
        "enum": ["default", "on", "off"],
        "default": "default",
        "description": "Whether answers begin with a thought; scoring of candidates, G and "
        "training never have one. default: as the chat template has it, without a limit.",
    },
    "chat_template": {
        "type": ["string", "null"],
        "minLength": 1,
        "default": None,
        "description": "A Jinja file that is the chat template; null: the tokenizer's own.",
    },
    "chat_template_kwargs": {
        "type": "object",
        "default": {},
        "propertyNames": {"not": {"enum": list(_TEMPLATE_CALL)}},
        "description": "Further variables of the chat template, by name.",
    },
}

DESCRIPTIONS = {
    "engine": "What runs the model.",
    "benchmark": "What is asked, and what the right answers are.",
    "estimator": "H: is the model uncertain about this input?",
    "generator": "G: training examples like the uncertain input.",
    "learner": "T: an adaptation from those examples, for this one input.",
    "inference": "How an answer is drawn.",
    "executor": "Where waves of samples run.",
    "scorer": "When an answer counts as right.",
}


def skeleton(*, benchmark: bool = True) -> dict[str, Any]:
    """Return the part of the schema that does not depend on plugins; components are left open.

    With `benchmark` False it requires none.
    """
    component = {
        "type": ["string", "object"],
        "required": ["name"],
        "properties": {"name": {"type": "string"}},
    }
    return {
        "type": "object",
        "properties": _plain_keys() | dict.fromkeys(COMPONENTS, component),
        "required": ["benchmark"] if benchmark else [],
        "additionalProperties": False,
    }


def model_defaults() -> dict[str, Any]:
    return {k: v["default"] for k, v in _MODEL_OPTIONS.items() if "default" in v}


def compose_schema(*, builtins_only: bool = False) -> dict[str, Any]:
    """Return the whole schema, without plugins that do not load, since no spec can use them."""
    components = {
        key: {
            "description": DESCRIPTIONS[key],
            **({"default": DEFAULTS[key]} if key in DEFAULTS else {}),
            "anyOf": _variants(kind, builtins_only=builtins_only),
        }
        for key, kind in COMPONENTS.items()
    }
    return {
        "$schema": _DIALECT,
        "title": "ttsi spec",
        "description": "One evaluation, or a grid of them; see docs/spec.md.",
        "type": "object",
        "properties": _plain_keys() | components,
        "anyOf": [{"required": ["benchmark"]}, {"required": ["matrix"]}],
        "additionalProperties": False,
    }


def _plain_keys() -> dict[str, Any]:
    return {
        "$schema": {"type": "string", "description": "Where editors find this schema."},
        "ttsi": {"const": 1, "default": 1, "description": "The version of the spec format."},
        "name": {
            "type": "string",
            "pattern": NAME,
            "$comment": NAME_IN_WORDS,
            "maxLength": 100,
            "description": "Names the run's folder. Default: the file's name.",
        },
        "model": {
            "type": ["string", "object"],
            "minLength": 1,
            "default": DEFAULT_MODEL,
            "description": "The model, or just its id.",
            "properties": _MODEL_OPTIONS,
            "required": ["id"],
            "additionalProperties": False,
        },
        "seeds": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": _LARGEST_SEED},
            "minItems": 1,
            "uniqueItems": True,
            "default": [0],
            "description": "The evaluation runs once for each.",
        },
        "baseline": {
            "type": "boolean",
            "default": True,
            "description": "Answer every sample with the unadapted model too.",
        },
        "budget": {
            "type": ["number", "null"],
            "exclusiveMinimum": 0,
            "maximum": 1,
            "default": None,
            "description": "Adapt to this share of the samples, the least confident ones, instead "
            "of those under a threshold. All are estimated first.",
        },
        "episodes": {
            **options_schema(Episodes),
            "description": "How samples that are episodes are played; it has no effect on others.",
        },
        "stop_at": {
            **options_schema(StopAt),
            "description": "When to stop: what is done stays, and a larger limit goes on.",
        },
        "matrix": {
            "type": "object",
            "description": "A grid: JSON pointers into this spec, each with the values it takes; "
            "or names of axes, each with variants: a label, and what it sets by JSON pointer.",
            "propertyNames": {"pattern": f"^/|{NAME}"},
            "patternProperties": {"^/": {"type": "array", "minItems": 1, "uniqueItems": True}},
            "additionalProperties": {
                "type": "object",
                "propertyNames": {"pattern": NAME},
                "additionalProperties": {"type": "object", "propertyNames": {"pattern": "^/"}},
                "minProperties": 1,
            },
            "minProperties": 1,
        },
    }


def _variants(kind: str, *, builtins_only: bool) -> list[dict[str, Any]]:
    bare_names: list[str] = []
    variants: list[dict[str, Any]] = []
    for row in registry.listing(kind):
        options = row["options"]
        if options is None or (builtins_only and not row["builtin"]):
            continue
        required = options.get("required", [])
        if not required:
            bare_names.append(row["name"])
        named = {"name": {"const": row["name"]}, **options.get("properties", {})}
        variants.append({**options, "properties": named, "required": ["name", *required]})
    return [{"enum": bare_names}, *variants]
