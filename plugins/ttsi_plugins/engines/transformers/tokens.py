"""Chats and texts as token ids, and ids as text.

A prompt is the chat template's text, tokenised as a whole, then the opening, tokenised by itself.
Continuations and training targets are tokenised by themselves too, so that every candidate after a
prompt is split from it at the same place and their likelihoods are comparable.

Only the template writes the tokens that begin and end turns. A message that contains the text of
one ("<|im_end|>") is tokenised as that text: a task's data cannot end a turn. What the model itself
says (targets, openings, answers that are shown to it) has the vocabulary's own tokens for calls and
thoughts, special or not, and when its answers are decoded they stay in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property, reduce
from itertools import groupby
from typing import Any

from transformers import PreTrainedTokenizerBase

from ttsi import JSON, EngineError, Message, Prompt, Rendered, Tool

from .lora import begins
from .markers import is_marker, is_sign
from .prefixes import common
from .spelling import shares
from .templates import Template, day
from .thoughts import THOUGHTS, Thought

# Texts that begin in different ways, to see what of a chat does not depend on its messages.
_PROBES = ("a", "\n\nb", " c", "1")
# Tokens at the end of a text in which the mark of a thought is looked for.
_TAIL = 12
# A chat of every kind of turn, for what a template puts around them.
_TURNS = (
    Message("system", "ttsi"),
    Message("user", "ttsi"),
    *(Message("assistant", "ttsi"), Message("tool", "ttsi")),
    *(Message("assistant", "ttsi"), Message("user", "ttsi")),
)


class Tokens:
    """One tokenizer, its chat template, and what ends a text.

    `ends` are the ids that stop decoding, `end` is the one that a training target closes with.
    `control` and `markers` are added tokens by their texts: those that no message may hold, and
    those of calls and thoughts, which no system or user turn may hold if they are special. `today`
    is what a template prints as its date, "YYYY-MM-DD"; None is this day.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        generation_config: Any,
        today: JSON = None,
        variables: JSON = None,
        thinking: JSON = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.template = Template(tokenizer, day(today), variables)
        # None: the template decides.
        self._thinking = {"on": True, "off": False}.get(str(thinking))
        self.ends = _end_ids(tokenizer, generation_config)
        own = tokenizer.eos_token_id
        self.end: int = own if own in self.ends else self.ends[0]
        self._added = dict(tokenizer.added_tokens_decoder)
        self.spelled = cache(lambda id: self._text_of([id]))
        frame = self._frame()
        self.markers: dict[str, int] = {}
        self.control: dict[str, int] = {}
        for id, token in self._added.items():
            text = token.content
            if id not in self.ends and is_marker(text):
                self.markers[text] = id
            elif token.special or id in self.ends or (is_sign(text) and text in frame):
                self.control[text] = id
        # A marker that is no special token is text to the tokenizer wherever it stands.
        special = {text for text, id in self.markers.items() if self._added[id].special}
        self._forbidden_to = {
            "assistant": _any_of(self.control),
            "system": _any_of({*self.control, *special}),
        }
        self._written = _any_of({*self.control, *self.markers})
        self._cut = {*self.ends, tokenizer.pad_token_id}
        if tokenizer.bos_token_id is not None and frame.count(str(tokenizer.bos_token)) < 2:
            # It only begins the chat; a token that begins each turn may be in an answer.
            self._cut.add(tokenizer.bos_token_id)
        # Control tokens that the tokenizer finds in plain text too, as they are not special.
        self._found_anyway = _any_of(
            {text for text, id in self.control.items() if not self._added[id].special}
        )
        # Tokenizers of the SentencePiece family put a space before a text's first word; tokenising
        # after a line break, which is cut off again, keeps it out of openings and continuations.
        first = str(tokenizer.convert_ids_to_tokens(self._encode("a"))[0])
        adds_space = first.startswith(("▁", "Ġ"))
        self._anchor = self._encode("\n") if adds_space else []
        # Some put that space after each of their added tokens too.
        after_end = tokenizer.encode(tokenizer.decode([self.end]) + "a", add_special_tokens=False)
        self._space_after_added = adds_space and after_end[1:] == self._encode("a")

    @property
    def barred(self) -> list[int]:
        """Ids that no text under a grammar may hold: in JSON `<think>` is plain text of a value."""
        return sorted({*self.control.values(), *self.markers.values()} - {*self.ends})

    def prompt(self, prompt: Prompt) -> list[int]:
        """Return the ids of the chat up to and including the opening of the assistant's turn."""
        if not prompt.messages:  # a plain text, as the tokenizer itself reads it
            return list(self.tokenizer.encode(prompt.opening))
        ids = self._chat(prompt)
        if self._thinking is not None:
            ids += self._thought_begun(ids, self.thinks(prompt))
        return ids + self.text(prompt.opening)

    def thinks(self, prompt: Prompt) -> bool:
        """Return whether an answer to `prompt` begins with a thought that the engine bounds."""
        return bool(self._thinking) and prompt.thinking

    def thought(self, most: int) -> Thought:
        """Return a thought of at most `most` tokens, which the prompt has begun."""
        closing = self._thought[1]
        return Thought(
            most,
            self.text(f"\n{closing}\n\n"),
            lambda ids: closing in self.decode(ids[-_TAIL:]),
        )

    def _thought_begun(self, ids: Sequence[int], thinks: bool) -> list[int]:
        """Return the ids after which a prompt is in a thought if it `thinks`, and else in none.

        Only what the template wrote behind the last turn counts; templates that know no
        enable_thinking begin a thought always, or never.
        """
        turn = max((at for at, id in enumerate(ids) if id in self._turns), default=-1)
        opening, closing = self._thought
        text = self.decode(ids[turn + 1 :])
        opened = text.rfind(opening) > text.rfind(closing)
        if opened == thinks:
            return []
        return self.text(f"{opening}\n" if thinks else f"\n{closing}\n\n")

    @cached_property
    def _turns(self) -> set[int]:
        """The ids that begin and end turns."""
        return {*self.control.values(), *self.ends}

    @property
    def _thought(self) -> tuple[str, str]:
        """The marks around a thought: the model's, if its vocabulary has other than the usual."""
        return next((pair for pair in THOUGHTS if pair[1] in self.markers), THOUGHTS[0])

    def called(self, prompt: Prompt, calls: JSON) -> str:
        """Return the text of `calls` as the template writes them, without what ends the turn."""
        text = self.template.called(prompt.messages, prompt.tools, calls)
        ends = [self._added[id].content for id in self.ends if id in self._added]
        last = max((text.rfind(end) for end in ends), default=-1)
        return (text[:last] if last >= 0 else text).strip()

    def text(self, text: str) -> list[int]:
        """Return the ids of an assistant's text that follows other text.

        Markers become their own tokens; the texts of control tokens stay plain text.
        """
        ids, at = [], 0
        for found in self._written.finditer(text):
            if found[0] in self.markers:
                ids += self._following(text[at : found.start()])
                ids.append(self.markers[found[0]])
                at = found.end()
        return ids + self._following(text[at:])

    def target(self, text: str) -> list[int]:
        """Return the ids of a training target: the text and the token that ends a turn."""
        return [*self.text(text), self.end]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of an answer without end tokens, padding and the chat's first token."""
        return "".join(text for text, _ in self._pieces([id for id in ids if id not in self._cut]))

    def texts(self, ids: Sequence[int]) -> list[str]:
        """Return the part of `decode(ids)` that each id wrote; see `spelling.shares`."""
        kept = [id for id in ids if id not in self._cut]
        parts = (
            part
            for run in self._runs(kept)
            for part in shares(run, self._text_of(run), self._decoded, self.spelled)
        )
        return ["" if id in self._cut else next(parts) for id in ids]

    def rendered(self, ids: Sequence[int]) -> Rendered:
        """Return the text of `ids` for people, with control tokens and markers told from text."""
        return Rendered(tuple(self._pieces(ids)), len(ids))

    @cached_property
    def invocation(self) -> list[int]:
        """The ids that begin a user turn after a system turn, whatever the user says.

        An activated adapter acts from them on; PEFT calls them `alora_invocation_tokens`. Raises
        EngineError where the template does not part the two turns.
        """
        heads = [
            _beginning([self._chat(_probe(instruction, text)) for text in _PROBES])
            for instruction in _PROBES
        ]
        between = _beginning([head[::-1] for head in heads])[::-1]
        # The system turn's end, if it has one, and then the first control token of the user turn.
        ended = max((at for at, id in enumerate(between) if id in self.ends), default=-1)
        control = set(self.control.values())
        begins = (at for at in range(ended + 1, len(between)) if between[at] in control)
        start = next(begins, None)
        if start is None:
            folded = self.template.system_turn == "folded"
            raise EngineError(
                "The model's chat template has no system turn: instruction and input stand in one "
                "user turn, and an adapter cannot act from the input on."
                if folded
                else "The model's chat template does not separate the user's turn from "
                "the system's.",
                where=f"tokenizer {self.tokenizer.name_or_path}",
                cure='Use "active_from": "start" and "prompt_loss": 0 for the learner.',
            )
        return between[start:]

    def user_turn(self, ids: Sequence[int]) -> int:
        """Return the index of the last user turn's first id. Raises EngineError for none."""
        start = begins({"alora_invocation_tokens": self.invocation}, ids)
        if start is None:
            raise EngineError(
                "The prompt has no user turn from which an adapter could act.",
                where=f"tokenizer {self.tokenizer.name_or_path}",
                cure='Use "active_from": "start" and "prompt_loss": 0 for the learner.',
            )
        return start

    # ------------------------------------------------------------ chats

    def _chat(self, prompt: Prompt) -> list[int]:
        messages, tools = prompt.messages, prompt.tools
        told = [text for t in tools for text in _texts([t.name, t.description, t.parameters])]
        hostile = any(self._forbidden_to["system"].search(text) for text in told)
        if not hostile and not any(self._forbidden(m).search(m.content) for m in messages):
            text = self.template.render(messages, tools, self._variable(prompt))
            return list(self.tokenizer.encode(text, add_special_tokens=False))
        # Stand-ins take the place of control texts until the template's own have been found.
        names = [*self.control, *self.markers]
        whole = "".join([*told, *(message.content for message in messages)])
        mark = next(c for c in map(chr, range(0xE000, 0xF900)) if c not in whole)

        def stand_in(found: re.Match[str]) -> str:
            return f"{mark}{names.index(found[0])}{mark}"

        def hidden(value: Any) -> Any:
            if isinstance(value, str):
                return self._forbidden_to["system"].sub(stand_in, value)
            if isinstance(value, Mapping):
                return {hidden(key): hidden(item) for key, item in value.items()}
            return [hidden(item) for item in value] if isinstance(value, list | tuple) else value

        rendered = self.template.render(
            [replace(m, content=self._forbidden(m).sub(stand_in, m.content)) for m in messages],
            [Tool(*map(hidden, (t.name, t.description, t.parameters))) for t in tools],
            self._variable(prompt),
        )
        ids: list[int] = []
        for piece in self._parted(rendered):
            if isinstance(piece, int):
                ids.append(piece)
            else:
                text = re.sub(f"{mark}(\\d+){mark}", lambda found: names[int(found[1])], piece)
                spaced = not ids or self._space_after_added
                ids += self._plain(text) if spaced else self._following(text)
        return ids

    def _variable(self, prompt: Prompt) -> bool | None:
        return None if self._thinking is None else self.thinks(prompt)

    def _forbidden(self, message: Message) -> re.Pattern[str]:
        """Return a pattern that finds the control tokens that `message` must not write."""
        return self._forbidden_to["assistant" if message.role == "assistant" else "system"]

    def _parted(self, rendered: str) -> Iterator[str | int]:
        """Yield the ids of the tokens that the template wrote, and the texts between them."""
        at = 0
        for found in self._written.finditer(rendered):
            id = self.control.get(found[0], self.markers.get(found[0], -1))
            before, token = rendered[at : found.start()], self._added[id]
            # As in the tokenizer, white space beside such a token (lstrip, rstrip) belongs to it.
            before = before.rstrip() if token.lstrip else before
            if before:
                yield before
            yield id
            at = found.end()
            if token.rstrip:
                at += len(rendered[at:]) - len(rendered[at:].lstrip())
        if rendered[at:]:
            yield rendered[at:]

    def _frame(self) -> str:
        """Return a rendered chat, to see what the template writes around turns; empty if none."""
        for turns in (_TURNS, _TURNS[:2]):
            try:
                return self.template.render(turns)
            except EngineError:
                # Templates that refuse earlier answers still render questions.
                continue
        return ""

    # ------------------------------------------------------------ texts

    def _pieces(self, ids: Sequence[int]) -> Iterator[tuple[str, bool]]:
        """Yield the texts in order, each with whether it is a control token or a marker."""
        for run in self._runs(ids):
            text = self._text_of(run)
            yield text, run[0] in self._added and (text in self.control or text in self.markers)

    def _runs(self, ids: Sequence[int]) -> Iterator[list[int]]:
        """Yield the ids in order, each added token by itself."""
        for added, group in groupby(ids, self._added.__contains__):
            run = list(group)
            yield from ([id] for id in run) if added else (run,)

    def _text_of(self, run: Sequence[int]) -> str:
        return self._added[run[0]].content if run[0] in self._added else self._decoded(run)

    def _decoded(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, no added tokens, including white space at its beginning."""
        before, whole = (
            self.tokenizer.decode(
                some, skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
            for some in (self._anchor, [*self._anchor, *ids])
        )
        return str(whole)[len(str(before)) :]

    def _following(self, text: str) -> list[int]:
        """Return the ids of plain text that follows other text."""
        ids = self._plain("\n" + text) if self._anchor and text else []
        if ids and ids[: len(self._anchor)] == self._anchor:
            return ids[len(self._anchor) :]
        return self._plain(text)

    def _plain(self, text: str) -> list[int]:
        """Return the ids of `text` as plain text, even where it holds a control token's text."""
        ids, at = [], 0
        for found in self._found_anyway.finditer(text):
            # In two parts, the tokenizer does not find the token.
            cut = found.start() + 1
            ids += self._encode(text[at:cut]) if at == 0 else self._following(text[at:cut])
            at = cut
        return ids + (self._encode(text[at:]) if at == 0 else self._following(text[at:]))

    def _encode(self, text: str) -> list[int]:
        if not text:
            return []
        return list(
            self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        )


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds any of `texts`, the longest where several begin."""
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or r"(?!)")


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in JSON, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from (key, *_texts(item))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _probe(instruction: str, text: str) -> Prompt:
    return Prompt((Message("system", instruction), Message("user", text)))


def _beginning(texts: Sequence[list[int]]) -> list[int]:
    """Return the longest common prefix of `texts`."""
    return reduce(lambda one, other: one[: common(one, other)], texts)


def _end_ids(tokenizer: PreTrainedTokenizerBase, generation_config: Any) -> tuple[int, ...]:
    configured = getattr(generation_config, "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    ends = [id for id in [tokenizer.eos_token_id, *listed] if isinstance(id, int)]
    if not ends:
        raise EngineError(
            "The model names no end-of-text token, so nothing would stop its answers.",
            where=f"tokenizer {tokenizer.name_or_path}",
            cure="Set eos_token_id in the model's generation_config.json.",
        )
    return tuple(dict.fromkeys(ends))
