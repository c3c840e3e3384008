"""Would decoding held to a task's grammar be able to write this answer?"""

from __future__ import annotations

import json
from collections.abc import Sequence

import xgrammar

from ttsi.types import Task, ToolCall
from ttsi_plugins.inference.direct import Direct

_END = 0


def can_write(task: Task, calls: Sequence[ToolCall], inference: Direct) -> bool:
    """Whether the answer's JSON is a whole sentence of the grammar of `inference` for the task."""
    schema = inference.request(task, None, 0).grammar
    # Characters are tokens: which strings a grammar has does not depend on the vocabulary.
    info = xgrammar.TokenizerInfo(["<end>", *map(chr, range(32, 127))], stop_token_ids=[_END])
    compiled = xgrammar.GrammarCompiler(info).compile_json_schema(
        json.dumps(schema), any_whitespace=False, strict_mode=True
    )
    matcher = xgrammar.GrammarMatcher(compiled)
    text = json.dumps([call.as_json() for call in calls])
    return bool(matcher.accept_string(text) and matcher.accept_token(_END))
