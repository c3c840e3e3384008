"""What each new plugin does, what its author changes, and a spec that uses it.

There is one for each kind, and one that begins a benchmark with an environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ttsi.scaffold.names import Names
from ttsi.spec.schema import COMPONENTS
from ttsi.types import JSON


@dataclass(frozen=True, slots=True)
class Start:
    """The texts and settings of a kind's new plugin.

    `does` and `change`: texts for the package. `options`: those that the spec and the contract test
    give the plugin. `beside`: other parts of the spec, where those of _COMMON do not suit.
    """

    does: str
    change: str
    options: Mapping[str, JSON]
    beside: Mapping[str, JSON] = field(default_factory=dict)


STARTS = {
    "benchmarks": Start(
        "Six requests at the desk of a library, from `rows.json`.",
        "Put rows of your own into `rows.json`. Where the labels need another reading of values, "
        "say so in `scoring`: the options of the scorer `exact`.",
        {"limit": 4},
    ),
    "environments": Start(
        "Conversations about the lamps of a house, played in steps, from `rows.json`.",
        "Put a world of your own in the place of `House`: its tools do what `call` does. In "
        "`rows.json` say what users ask, turn by turn, and which calls are right. `score` and "
        "`turns` tell what counts as right.",
        {"limit": 2},
        {
            "inference": {
                "name": "direct",
                "format": "tool_calls",
                "decoding": "greedy",
                "min_calls": 0,
                "max_calls": 2,
                "max_tokens": 64,
            }
        },
    ),
    "answers": Start(
        "Answers that are days, such as 2024-05-03.",
        "Decide in `parse` and `read` what a text and a JSON value say, and in `write` how an "
        "answer is written. `specimens` are texts that the contract is tried on. A form whose "
        "answers are candidates for H has `candidates`, too.",
        {},
    ),
    "estimators": Start(
        "Doubts long inputs: confidence falls from 1 as the input grows past `tolerated`.",
        "Compute the confidence of each task in `estimate`. To ask the model, put what you ask "
        "for (`loglikelihood`, `generate`) into `needs`, and take the whole wave to the engine in "
        "one call.",
        {"tolerated": 40},
    ),
    "generators": Start(
        "Makes examples by filling the offered tools' own schemas: no model is asked.",
        "Write better requests in `_example`, or ask the model for them: then `generate` goes "
        "into `needs`, and the whole wave to `engine.generate` in one call.",
        {"samples": 2},
    ),
    "learners": Start(
        "Shows the shortest examples before the question; no weight changes.",
        "Choose and write the examples otherwise in `_turns`, or train: `engine.train` makes "
        "adapters, and `train` and `adapters` then go into `needs`.",
        {"most": 2},
    ),
    "inference": Start(
        "Answers greedily, and draws again where no call can be read.",
        "Decide in `answer` what to draw and which answer to keep.",
        {"tries": 2, "max_tokens": 64},
    ),
    "engines": Start(
        "Answers by rules: the tool that shares most words with the request.",
        "Load a model in `load`, let `generate` ask it, and add to `capabilities` what else it "
        "can do. Import heavy packages inside the methods.",
        {"fill": True},
        {
            "model": {"id": "rules"},
            "estimator": "never",
            "generator": "self",
            "learner": "icl",
            "inference": {"name": "direct", "decoding": "greedy"},
        },
    ),
    "executors": Start(
        "Runs waves of inputs of like length, the longest first.",
        "Decide in `run` where waves run. Each worker makes a runner of its own with `factory`.",
        {"wave": 2},
    ),
    "scorers": Start(
        "Right where tools and arguments are right, whatever their values.",
        "Decide in `score` when an answer counts as right, and with which reason it does not.",
        {"compare": "arguments"},
    ),
}

_COMMON: dict[str, Any] = {
    "model": {"id": "smollm2-135m"},
    "benchmark": {"name": "quickstart", "limit": 4},
    "estimator": {"name": "rss_margin", "threshold": 0.95},
    "generator": {
        "name": "self",
        "prompt": "seed_first",
        "format": "json",
        "at_once": 1,
        "max_calls": 1,
        "max_tokens": 80,
    },
    "learner": {"name": "lora_sft", "target": "as_answered", "active_from": "user_turn"},
    "inference": {
        "name": "direct",
        "format": "tool_calls",
        "decoding": "greedy",
        "max_calls": 2,
        "max_tokens": 64,
    },
}
"""A spec of TT-SI on the embedded model and four requests: under a minute on two CPU cores."""


def spec(names: Names) -> dict[str, JSON]:
    """Return the spec of a short run with the plugin; not for answer forms, which no spec names."""
    start = STARTS[names.start]
    role = next(role for role, kind in COMPONENTS.items() if kind == names.kind)
    own = {role: {"name": names.name, **start.options}}
    return {"ttsi": 1, "name": names.distribution, **_COMMON, **start.beside, **own}
