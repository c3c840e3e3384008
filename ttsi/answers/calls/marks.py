"""The marks that models put around thoughts and calls, and the places where a call may begin.

The tables contain the marks of models' own templates and the habits of model families. Anything
else is text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Thought:
    """The marks of a thought: regular expressions, each of which begins with `first`.

    `alone`: the end also ends a thought whose beginning is in the prompt and not in the text.
    `until`: what follows a thought that has no end mark.
    """

    first: str
    opens: str
    closes: str
    alone: bool = True
    until: str = ""


_WORDS = "(?:(?:seed|antml):)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratch_?pad)"
_WORD_MARK = re.compile(rf"<(/?)({_WORDS})>", re.IGNORECASE)

THOUGHTS = (
    Thought("<", rf"<{_WORDS}>", rf"</{_WORDS}>"),
    Thought("[", r"\[THINK\]", r"\[/THINK\]"),
    Thought("<", r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    Thought("<", r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    Thought("◁", "◁think▷", "◁/think▷"),
    Thought(
        "<",
        r"<\|channel\|>\s*analysis",
        r"<\|end\|>(?:<\|start\|>assistant)?",
        alone=False,
        until=r"<\|channel\|>\s*(?:final|commentary)",
    ),
    Thought("<", r"<\|channel>thought", r"<channel\|>", alone=False),
    Thought(
        "H", r"Here(?:'s| is) my thought process:", r"Here(?:'s| is) my response:", alone=False
    ),
)

CALL_TAGS = (
    *("<tool_call>", "<tool_calls>", "<function_call>", "<function_calls>", "<functioncall>"),
    *("<toolcall>", "<|tool_call|>", "<|tool_call>", "<|tool_calls|>", "<|tool_call_start|>"),
    *("<|python_tag|>", "[TOOL_CALLS]", "<|START_ACTION|>", "<|action_start|>", "<|plugin|>"),
    *("<|tool_calls_section_begin|>", "<|tool_call_begin|>", "<minimax:tool_call>"),
    *("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜DSML｜function_calls>"),
)
"""Tags that announce a call: after an opened one, a call has to follow."""

_ANY_TAG = "|".join(map(re.escape, CALL_TAGS))
NAME = r"[^\W\d][\w.\-]*"
_SHORT_NAME = r"[^\W\d][\w.\-]{0,100}"

TAG = re.compile(_ANY_TAG, re.IGNORECASE)
BEFORE_CALL = re.compile(rf"(?:\s|```[\w-]*|(?i:{_ANY_TAG}))*")
"""What may stand between an opened tag and its call."""

_ELEMENT = (
    "(?:｜DSML｜)?(?:function=|(?:function|invoke|tool|tool_call|function_call)\\s+name=[\"'])"
)
XML = re.compile(rf"<{_ELEMENT}({NAME})[\"']?\s*>")
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
    r"\s*>?\s*(?:\*\*)?Action Input(?:\*\*)?[ \t]*\d{0,3}[ \t]*:(?:\*\*)?\s*(?:```\w*\s*)?"
)
BEFORE_ACTION = re.compile(r"[\s>*+#-]*(?:\d{1,3}[.)])?[\s>*]*")
"""What may precede an Action in its line: the marks of lists and quotations."""
ACTION_OF = re.compile(rf"[`\"']?({NAME})[`\"']?[ \t]*\[")
LABEL = re.compile(r"(?i:arguments|parameters|args|input)")
ESCAPED = re.compile(r'\{\s*\\"(?:\w{1,20}\\"\s{0,9}:\s{0,9}\\")?([^"\\]{1,200})\\"')
"""An object in a JSON string, without the string's quotes: its first key or value."""
_COMMENT = r"(?://[^\n]{0,200}\n|\#[^\n]{0,200}\n|/\*[^*]{0,200}\*/)"
COMMENTED = re.compile(
    rf"(?:\s{{0,20}}{_COMMENT}){{1,9}}\s{{0,20}}[\"']([^\"'\n]{{1,200}})[\"']\s*:"
)
"""Comments, which JSON does not allow, and the key after them."""
MESSAGE = re.compile(rf"({NAME})[^{{}}]{{0,200}}?<\|message\|>\s*")
"""A recipient, up to its message, in gpt-oss's notation of calls."""


def _rest(first: str, pattern: str) -> str:
    """Return the pattern without its first character."""
    return pattern.removeprefix(re.escape(first))


CLOSES_ALONE = re.compile(
    "|".join(thought.closes for thought in THOUGHTS if thought.alone), re.IGNORECASE
)
_IN_THOUGHTS = "|".join(
    f"(?<={re.escape(each.first)})(?:{_rest(each.first, part)})"
    for each in THOUGHTS
    for part in (each.opens, each.closes)
)
_ANY_THOUGHT = re.compile(f"[<◁H[](?i:{_IN_THOUGHTS})")
_STEMS = ("think", "thought", "reason", "reflection", "scratch", "channel")
"""Every mark of a thought contains one of these."""

_THEN = (
    r"\(",
    r"\[ARGS\]",
    r">",
    r"\.(?:call|a?run|a?invoke|execute)\(",
    r"\{",
    rf"(?:\s{{1,9}}|[`*]{{1,3}}\s{{0,9}})\((?=\s*(?:\)|{NAME}\s*=(?!=)))",
    rf"\\\((?=\s*(?:\\?\)|{NAME}\s*=(?!=)))",
    r"""[`*]{0,3}(?:\s{0,9}:)?[`*]{0,2}\s{0,9}(?:```\w{0,20}\s{0,9})?\{(?=\s*["'}])""",
    r"""[`*"]{0,3}\s{1,9}[-*> \t]{0,5}(?i:(?:action |tool )?(?:arguments|parameters|args|input))"""
    r"""[*`]{0,2}\s{0,9}:[*`]{0,2}\s{0,9}(?:```\w{0,20}\s{0,9})?\{(?=\s*["'}])""",
)
"""What makes the name of an offered tool an attempted call, if it follows the name."""


def closed(opened: str, text: str, at: int) -> int | None:
    """Return where the thought ends that the mark `opened` before `at` opens; None if it does not.

    Models may open a thought with one word and close it with another: <thinking> with </think>. An
    end mark of an inner thought with another word does not close it.
    """
    for thought in THOUGHTS:
        if re.fullmatch(thought.opens, opened, re.IGNORECASE):
            break
    else:
        raise ValueError(opened)
    if thought is THOUGHTS[0]:
        return _closed_by_word(opened[1:-1].lower(), text, at)
    ends = f"{thought.closes}|(?={thought.until})" if thought.until else thought.closes
    found = re.compile(ends, re.IGNORECASE).search(text, at)
    return found and found.end()


def _closed_by_word(word: str, text: str, at: int) -> int | None:
    inner: Counter[str] = Counter()
    for found in _WORD_MARK.finditer(text, at):
        closes, marked = bool(found[1]), found[2].lower()
        if not closes:
            inner[marked] += 1
        elif marked == word or not inner[marked]:
            return found.end()
        else:
            inner[marked] -= 1
    return None


def may_hold_thoughts(text: str) -> bool:
    """Whether the text contains a mark of a thought, even inside a string of a call."""
    lowered = text.lower()
    # The stems are far faster to look for than the marks.
    return any(stem in lowered for stem in _STEMS) and bool(_ANY_THOUGHT.search(text))


def rewritten(name: str) -> str:
    """Return a tool's name as APIs rewrite it that allow only letters, digits, _ and -."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def spellings(tools: Iterable[str]) -> frozenset[str]:
    """Return the names and their rewritten forms."""
    names = {name for name in tools if name.strip()}
    return frozenset(names | {rewritten(name) for name in names})


@lru_cache(maxsize=256)
def places(names: frozenset[str]) -> re.Pattern[str]:
    """Return a pattern for the places where an item may begin.

    The kind of an item is the matching group's name without its number. `names` are the offered
    tools; the group `then` holds what makes an attempted call of a name. The pattern begins with a
    class of first characters, because that is searched for fastest; look-behinds then check which
    one was found.
    """
    starts: dict[str, dict[str, list[str]]] = {"{": {}, "[": {}}
    for kind, first, pattern in _marks():
        starts.setdefault(first, {}).setdefault(kind, []).append(pattern)
    for name in sorted(names, key=lambda name: (-len(name), name)):
        starts.setdefault(name[0], {}).setdefault("name", []).append(_spelt(name[1:]))
    branches = [
        f"(?<={re.escape(first)})(?:{'|'.join(_group(*some, at) for some in kinds.items())})"
        for at, (first, kinds) in enumerate(starts.items())
    ]
    return re.compile(f"[{re.escape(''.join(starts))}](?:{'|'.join(branches)})", re.DOTALL)


def _marks() -> Iterator[tuple[str, str, str]]:
    """Yield kind, first character, and the pattern of the rest."""
    for thought in THOUGHTS:
        if thought.alone:
            yield "close", thought.first, _rest(thought.first, thought.closes)
        yield "open", thought.first, _rest(thought.first, thought.opens)
    yield "xml", "<", _ELEMENT
    for tag in CALL_TAGS:
        yield "tag", tag[0], re.escape(tag[1:])
    yield "action", "A", r"ction(?:\*\*)?[ \t]*\d{0,3}[ \t]*:(?:\*\*)?[ \t]*"
    yield "harmony", "t", r"o=functions\."
    message = r"[^{}<]{0,40}(?:<\|constrain\|>[^{}<]{0,40})?<\|message\|>"
    yield "harmony", "t", rf"o=(?={_SHORT_NAME}{message})"
    yield "encoded", '"', r"""(?=\s*(?:\[\s*)?\{\s*\\")"""
    yield "value", "[", rf"""(?=\s*(?:["'\[{{\]0-9+.\-]|[TFtfnN]\w{{3,4}}\b|{NAME}\())"""
    yield "escaped", "{", r"""(?=\s*\\")"""
    yield "value", "{", r"""(?=\s*["'}\w/#])"""


def _spelt(name: str) -> str:
    """Return a pattern of the name that also allows Markdown's backslashes before underscores."""
    return re.escape(name).replace("_", r"\\?_")


def _group(kind: str, patterns: list[str], at: int) -> str:
    either = "|".join(patterns)
    if kind == "name":
        return rf"(?P<name{at}>(?<![\w\-].)(?:{either})(?P<then{at}>{'|'.join(_THEN)}))"
    return f"(?P<{kind}{at}>(?i:{either}))"
