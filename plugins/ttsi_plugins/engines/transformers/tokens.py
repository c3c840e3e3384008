"""Chats and texts as token ids.

A prompt is the chat template's text, tokenised as a whole, then the opening, tokenised by itself.
Continuations and training targets are tokenised by themselves too, so that every candidate after a
prompt is split from it at the same place and their likelihoods are comparable.

Only the template writes control tokens. A message that contains the text of one ("<|im_end|>")
is tokenised as that text: a task's data cannot end a turn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property, reduce
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from ttsi.errors import EngineError
from ttsi.types import Message, Prompt

from .lora import begins
from .prefixes import common

# Texts that begin in different ways, to see what of a chat does not depend on its messages.
_PROBES = ("a", "\n\nb", " c", "1")


class Tokens:
    """One tokenizer and what ends a text: `ends`, the ids that stop decoding, and `end`, the one
    that a training target closes with."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, generation_config: Any) -> None:
        self.tokenizer = tokenizer
        self.ends = _end_ids(tokenizer, generation_config)
        own = tokenizer.eos_token_id
        self.end: int = own if own in self.ends else self.ends[0]
        added = tokenizer.added_tokens_decoder
        self.control: dict[str, int] = {
            token.content: id for id, token in added.items() if token.special or id in self.ends
        }
        longest_first = sorted(self.control, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        # Tokenizers of the SentencePiece family put a space before a text's first word; tokenising
        # after a line break, which is cut off again, keeps it out of openings and continuations.
        self._anchor = self._plain("\n") if self._adds_space() else []

    def prompt(self, prompt: Prompt) -> list[int]:
        """Ids of the chat up to and including the opening of the assistant's turn."""
        return self._chat(prompt) + self.text(prompt.opening)

    def text(self, text: str) -> list[int]:
        """Ids of a text that follows others; control tokens in it are plain text."""
        if not text:
            return []
        if self._anchor:
            return self._plain("\n" + text)[len(self._anchor) :]
        return self._plain(text)

    def target(self, text: str) -> list[int]:
        """Ids of a training target: the text and the token that ends a turn."""
        return [*self.text(text), self.end]

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
            raise EngineError(
                "The model's chat template does not part the user's turn from the system's.",
                where=f"tokenizer {self.tokenizer.name_or_path}",
                cure='Use "active_from": "start" for the learner, or another model.',
            )
        return between[start:]

    def user_turn(self, ids: Sequence[int]) -> int:
        """Index of the first id of the last user turn in a prompt."""
        start = begins({"alora_invocation_tokens": self.invocation}, ids)
        if start is None:
            raise EngineError(
                "The prompt has no user turn from which an adapter could act.",
                where=f"tokenizer {self.tokenizer.name_or_path}",
                cure='Use "active_from": "start" for the learner.',
            )
        return start

    def decode(self, ids: list[int]) -> str:
        text = self.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(text)

    def _chat(self, prompt: Prompt) -> list[int]:
        messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
        whole = "".join(m["content"] for m in messages)
        if not self._control.search(whole):
            ids = self.tokenizer.encode(self._render(messages), add_special_tokens=False)
            return list(ids)
        # Stand-ins take the place of control texts until the template's own have been found.
        names = list(self.control)
        mark = next(c for c in map(chr, range(0xE000, 0xF900)) if c not in whole)
        for message in messages:
            message["content"] = self._control.sub(
                lambda found: f"{mark}{names.index(found.group())}{mark}", message["content"]
            )
        rendered = self._render(messages)
        ids, at = [], 0
        for found in self._control.finditer(rendered):
            ids += self._unmarked(rendered[at : found.start()], mark, names)
            ids.append(self.control[found.group()])
            at = found.end()
        return ids + self._unmarked(rendered[at:], mark, names)

    def _unmarked(self, text: str, mark: str, names: list[str]) -> list[int]:
        restored = re.sub(f"{mark}(\\d+){mark}", lambda found: names[int(found.group(1))], text)
        return self._plain(restored) if restored else []

    def _render(self, messages: list[dict[str, str]]) -> str:
        try:
            text = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        except (TemplateError, ValueError) as error:
            raise EngineError(
                f"The model's chat template refuses the prompt: {error}",
                where=f"tokenizer {self.tokenizer.name_or_path}",
                cure="Use an instruct model whose template takes system, user and assistant turns.",
            ) from error
        return str(text)

    def _plain(self, text: str) -> list[int]:
        ids = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return list(ids)

    def _adds_space(self) -> bool:
        first = self.tokenizer.convert_ids_to_tokens(self._plain("a"))[0]
        return str(first).startswith(("▁", "Ġ"))


def _probe(instruction: str, text: str) -> Prompt:
    return Prompt((Message("system", instruction), Message("user", text)))


def _beginning(texts: Sequence[list[int]]) -> list[int]:
    """What all of `texts` begin with."""
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
