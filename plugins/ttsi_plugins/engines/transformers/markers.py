"""Which tokens of a vocabulary mark a call or a thought.

Many tokenizers hold `<tool_call>`, `[TOOL_CALLS]` or `<think>` as one token. Such a marker is part
of what a model writes: it is kept when an answer is decoded, and written as that token in targets.
Some tokenizers mark it as special, as they do with the tokens that begin and end turns, and some do
not, so it is known by its name.
"""

from __future__ import annotations

import re

# Words that say where a part begins or ends, but not what it is.
_ENDS = {"begin", "start", "end", "of", "section"}

_NAMES = re.compile(
    r"(\w+ )?(tool|function) calls?( (id|name|argument|arguments))?"
    r"|function|invoke|call|call id|args|arguments|tool sep|python tag|action|plugin"
    r"|(\w+ )?(think|thinking|thought|reasoning)"
    r"|channel|message|constrain|response|answer|box|escape"
)


def is_marker(token: str) -> bool:
    """Return whether `token`, an added token of a vocabulary, marks a call, a thought or an answer.

    The model does not write tool results or lists of tools, so `<tool_response>`, `[TOOL_RESULTS]`
    and `[AVAILABLE_TOOLS]` are no markers.
    """
    if token[:1].isalnum():
        return False
    words = re.sub(r"[\W_]+", " ", token.casefold()).split()
    return _NAMES.fullmatch(" ".join(word for word in words if word not in _ENDS)) is not None


def is_sign(token: str) -> bool:
    """Return whether `token` is neither a word nor white space, which templates write as text."""
    return not token.isspace() and not token[:1].isalnum()
