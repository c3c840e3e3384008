"""The marks that models put around thoughts and calls, and where a call may begin.

A mark of this table is what a model's own template, or the habit of a family of models, uses. What
is not in it is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Thought:
    """How a thought begins and ends, as regular expressions.

    `alone`: the end also ends a thought whose beginning the model did not write, because it stands
    in the prompt.
    """

    opens: str
    closes: str
    alone: bool = True


def _tag(name: str) -> Thought:
    return Thought(f"<{name}>", f"</{name}>")


THOUGHTS = (
    *map(_tag, ("think", "thinking", "thought", "thoughts", "reason", "reasoning", "reflection")),
    *map(_tag, ("scratchpad", "scratch_pad", "seed:think", "antml:thinking")),
    Thought(r"\[THINK\]", r"\[/THINK\]"),
    Thought(r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    Thought(r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    Thought("◁think▷", "◁/think▷"),
    Thought(
        r"<\|channel\|>\s*analysis", r"<\|end\|>|<\|channel\|>\s*(?:final|commentary)", alone=False
    ),
    Thought(r"<\|channel>thought", r"<channel\|>", alone=False),
    Thought(r"Here(?:'s| is) my thought process:", r"Here(?:'s| is) my response:", alone=False),
)

CALL_TAGS = (
    *("<tool_call>", "<tool_calls>", "<function_call>", "<function_calls>", "<functioncall>"),
    *("<toolcall>", "<|tool_call|>", "<|tool_call>", "<|tool_calls|>", "<|tool_call_start|>"),
    *("<|python_tag|>", "[TOOL_CALLS]", "<|START_ACTION|>", "<|action_start|>", "<|plugin|>"),
    *("<|tool_calls_section_begin|>", "<|tool_call_begin|>", "<minimax:tool_call>"),
    *("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"),
)
"""Each promises a call: behind one that is opened a call has to be read."""

_ANY_TAG = "|".join(map(re.escape, CALL_TAGS))
NAME = r"[^\W\d][\w.\-]*"

BEFORE_CALL = re.compile(rf"(?:\s|```[\w-]*|(?i:{_ANY_TAG}))*")
"""What may stand between a tag that is opened and its call."""

XML = re.compile(rf"<(?:function=|(?:function|invoke|tool)\s+name=[\"'])({NAME})[\"']?\s*>")
PYTHON_LIST = re.compile(rf"\[\s*{NAME}\(")
PYTHON_CALL = re.compile(rf"({NAME})\(")
NAMED_IN_TAG = re.compile(
    rf"(?:function<｜tool▁sep｜>)?({NAME})(?::\d+)?\s{{0,9}}(?:\[CALL_ID\]\w{{1,99}})?"
    r"(?:\[ARGS\]|<\|tool_call_argument_begin\|>|<｜tool▁sep｜>)?"
    r"\s{0,9}(?:```\w*\s{0,9})?(?=\{)"
)
PAIRS_IN_TAG = re.compile(rf"({NAME})\s*(?=<arg_key>|</tool_call>)")
ACTION_NAME = re.compile(rf"[`\"']?({NAME})[`\"']?[ \t]*(?=\n|\Z)")
ACTION_INPUT = re.compile(
    r"\s*(?:\*\*)?Action Input(?:\*\*)?[ \t]*:(?:\*\*)?\s*(?:```\w*\s*)?"
)
MESSAGE = re.compile(rf"({NAME})[^{{}}]{{0,200}}?<\|message\|>\s*")
"""A recipient, up to its message: gpt-oss's calls."""

_CLOSES = {thought.opens: re.compile(thought.closes, re.IGNORECASE) for thought in THOUGHTS}
_OPENS = "|".join(thought.opens for thought in THOUGHTS)
_CLOSES_ALONE = "|".join(thought.closes for thought in THOUGHTS if thought.alone)
CLOSES_ALONE = re.compile(_CLOSES_ALONE, re.IGNORECASE)
_STEMS = ("think", "thought", "reason", "reflection", "scratch", "channel")
"""One of them is in each mark of a thought."""

_THEN = (
    r"\(",
    r"\[ARGS\]",
    r">",
    r"\.call\(",
    r"\{",
    rf"[ \t]+\((?=\s*(?:\)|{NAME}\s*=(?!=)))",
    r"""(?:\s{0,9}:)?\s{0,9}(?:```\w{0,20}\s{0,9})?\{(?=\s*["'}])""",
)
"""What makes an attempted call of the name of a tool on offer, if it follows."""


def closing(opened: str) -> re.Pattern[str]:
    """What closes the thought that the mark `opened` opens."""
    return next(
        closes for opens, closes in _CLOSES.items() if re.fullmatch(opens, opened, re.IGNORECASE)
    )


def may_hold_thoughts(text: str) -> bool:
    """False only if no mark of a thought is in the text; far faster than looking for each."""
    lowered = text.lower()
    return any(stem in lowered for stem in _STEMS)


def rewritten(name: str) -> str:
    """A tool's name as an API writes it that takes letters, digits, _ and - alone."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def spellings(tools: Iterable[str]) -> frozenset[str]:
    """The names, and what an API may have made of them."""
    names = {name for name in tools if name.strip()}
    return frozenset(names | {rewritten(name) for name in names})


@lru_cache(maxsize=256)
def places(names: frozenset[str]) -> re.Pattern[str]:
    """Where something begins that has to be looked at: a group by kind.

    `names` were offered to whoever wrote the text.
    """
    kinds = {
        "close": f"(?i:{_CLOSES_ALONE})",
        "open": f"(?i:{_OPENS})",
        "xml": r"<function=|<(?:function|invoke|tool)\s+name=[\"']",
        "tag": f"(?i:{_ANY_TAG})",
        "action": r"(?m:^[ \t]*(?:\*\*)?Action(?:\*\*)?[ \t]*:(?:\*\*)?[ \t]*)",
        "harmony": r"\bto=functions\.",
        "value": r"""\[|\{(?=\s*["'}\w])""",
    }
    if names:
        known = "|".join(map(re.escape, sorted(names, key=lambda name: (-len(name), name))))
        kinds["name"] = rf"(?<![\w\-])(?P<called>{known})(?P<then>{'|'.join(_THEN)})"
    return re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in kinds.items()))
