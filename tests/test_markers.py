"""Tokens of calls and thoughts: kept in answers, written in targets, never made from task data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from chat_tokens import CHATML, MARKERS, byte_level, sentence_piece, tokens
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken

from ttsi.types import Message, Prompt
from ttsi_plugins.engines.transformers.grammar import Grammars, allowed
from ttsi_plugins.engines.transformers.markers import is_marker
from ttsi_plugins.engines.transformers.tokens import Tokens

CALL = '<tool_call>\n{"name": "f", "arguments": {"a": " b "}}\n</tool_call>'
TEXTS = [
    CALL,
    f"<think>\n\nIs it?  No. </think>\n\n{CALL}",
    '[TOOL_CALLS] [{"name": "f"}]',
    "<|python_tag|>f.call(a='é')",
    " a <tool_call> b",
    "a <|im_end|>\n<|im_start|>user\nb </think>",
    "日本 ab  ab\n\n",
]


def vocabularies() -> dict[str, Tokens]:
    made: dict[str, Any] = {}
    for name, family in (("bytes", byte_level), ("pieces", sentence_piece)):
        made[f"{name}, special"] = family(CHATML, special=MARKERS)
        made[f"{name}, ordinary"] = family(CHATML, ordinary=MARKERS)
        made[f"{name}, none"] = family(CHATML)
    made["pieces always, special"] = sentence_piece(CHATML, special=MARKERS, scheme="always")
    return {name: tokens(tokenizer) for name, tokenizer in made.items()}


VOCABULARIES = vocabularies()
every_vocabulary = pytest.mark.parametrize("name", VOCABULARIES)
# Pieces of text that could combine to special tokens.
pieces = st.lists(
    st.sampled_from([*MARKERS, "<|im_end|>", "<|im_start|>", "<|im_", "end|>", "a", " ", "\n", "é"])
    | st.text(max_size=4),
    max_size=8,
).map("".join)


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>",
        "</tool_call>",
        "<|tool_call|>",
        "<|tool_call_start|>",
        "<|tool_calls_section_begin|>",
        "<|tool_call_argument_begin|>",
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁sep｜>",
        "[TOOL_CALLS]",
        "[ARGS]",
        "[CALL_ID]",
        "<|python_tag|>",
        "<start_function_call>",
        "<think>",
        "</think>",
        "[THINK]",
        "[/THINK]",
        "<seed:think>",
        "<minimax:tool_call>",
        "<|begin_of_thought|>",
        "<|START_THINKING|>",
        "<|START_ACTION|>",
        "<|END_RESPONSE|>",
        "<|channel|>",
        "<|message|>",
        "<|constrain|>",
    ],
)
def test_a_marker_is_known_by_its_name(text: str) -> None:
    assert is_marker(text)


@pytest.mark.parametrize(
    "text",
    [
        "<|im_start|>",
        "<|im_end|>",
        "<|start|>",
        "<|end|>",
        "<|eot_id|>",
        "<|begin_of_text|>",
        "<|start_header_id|>",
        "<start_of_turn>",
        "<|user|>",
        "<|assistant|>",
        "<|system|>",
        "<|tool|>",
        "[INST]",
        "[/INST]",
        "[TOOL_RESULTS]",
        "[AVAILABLE_TOOLS]",
        "<tool_response>",
        "<|observation|>",
        "<｜tool▁outputs▁begin｜>",
        "<start_function_response>",
        "<start_function_declaration>",
        "<s>",
        "</s>",
        "<pad>",
        "<|fim_prefix|>",
        "<|reserved_special_token_0|>",
        "<file_sep>",
        "\n\n",
        "think",
    ],
)
def test_what_frames_turns_is_none(text: str) -> None:
    assert not is_marker(text)


@every_vocabulary
@pytest.mark.parametrize("text", TEXTS)
def test_a_target_decodes_to_its_text(name: str, text: str) -> None:
    made = VOCABULARIES[name]
    assert made.decode(made.target(text)) == text
    assert made.target(text)[-1] == made.end
    assert not {*made.text(text)} & {*made.control.values()}


@every_vocabulary
@given(text=pieces)
def test_any_text_of_the_assistant_decodes_to_itself(name: str, text: str) -> None:
    made = VOCABULARIES[name]
    ids = made.text(text)
    assert made.decode(ids) == text
    assert not {*ids} & {*made.control.values()}


@every_vocabulary
def test_a_target_has_the_token_where_the_vocabulary_has_one(name: str) -> None:
    made = VOCABULARIES[name]
    ids = made.target(CALL)
    for marker in ("<tool_call>", "</tool_call>"):
        if name.endswith("none"):
            assert marker not in made.tokenizer.get_vocab()
        else:
            assert ids.count(made.tokenizer.convert_tokens_to_ids(marker)) == 1
    opening = made.prompt(Prompt((Message("user", "a"),), '<tool_call>\n{"name": "'))
    if not name.endswith("none"):
        assert opening.count(made.markers["<tool_call>"]) == 1


@every_vocabulary
@given(instruction=pieces, question=pieces, answer=pieces)
def test_no_message_writes_a_control_token(
    name: str, instruction: str, question: str, answer: str
) -> None:
    made = VOCABULARIES[name]
    roles = ("system", "user", "assistant", "user")
    given_texts = (instruction, question, answer, "a")
    said = tuple(Message(r, t) for r, t in zip(roles, given_texts, strict=True))  # type: ignore[arg-type]
    ids = made.prompt(Prompt(said))
    control = [id for id in ids if id in made.control.values()]
    start, end = made.control["<|im_start|>"], made.control["<|im_end|>"]
    assert control == [start, end] * 4 + [start]
    whole = "".join(text for text, _ in made.rendered(ids).pieces)
    # The oldest kind puts a space after each of its tokens, whoever wrote it.
    loose = name.startswith("pieces always")
    for text in given_texts:
        assert text.replace(" ", "") in whole.replace(" ", "") if loose else text in whole
    if name.endswith("special"):
        # Of the data none of the special markers is the token; the assistant may have said it.
        marked = [id for id in ids if id in made.markers.values()]
        assert marked == [id for id in made.text(answer) if id in made.markers.values()]


@every_vocabulary
@given(question=pieces)
def test_a_chat_in_pieces_is_the_chat_as_a_whole(name: str, question: str) -> None:
    """The text before and after a message with control texts is tokenised as without them."""
    made = VOCABULARIES[name]
    plain = question.replace("<", "(").replace("[", "(")
    whole = made.prompt(Prompt((Message("system", "a"), Message("user", plain))))
    hostile = (Message("system", "a"), Message("user", plain), Message("assistant", "<|im_end|>"))
    parted = made.prompt(Prompt(hostile))
    turns = len(whole) - len(made.tokenizer.encode("<|im_start|>assistant\n")) - 1
    assert parted[:turns] == whole[:turns]


@every_vocabulary
def test_only_what_ends_an_answer_is_cut(name: str) -> None:
    made = VOCABULARIES[name]
    reserved = "<|reserved|>"
    tokenizer = made.tokenizer
    tokenizer.add_tokens([AddedToken(reserved, special=True, normalized=False)])
    made = tokens(tokenizer)
    ids = [*made.text("a"), made.control["<|im_start|>"], made.control[reserved], made.end]
    assert made.decode(ids) == f"a<|im_start|>{reserved}"


def test_what_begins_the_chat_is_cut_and_what_begins_turns_is_not() -> None:
    chat = byte_level("<s>" + CHATML, special=["<s>", "<pad>"])
    chat.bos_token, chat.pad_token = "<s>", "<pad>"
    made = tokens(chat)
    begin, pad = made.control["<s>"], made.control["<pad>"]
    assert made.decode([begin, *made.text("a"), pad, pad]) == "a"
    chat = byte_level(CHATML)
    chat.bos_token = "<|im_start|>"
    made = tokens(chat)
    assert made.decode([made.control["<|im_start|>"]]) == "<|im_start|>"


def test_a_turn_token_that_is_not_marked_special_is_one_all_the_same() -> None:
    template = (
        "{% for m in messages %}{{ '<|' + m.role + '|>' }}{{ m.content }}<|end|>{% endfor %}"
        "{{ '<|assistant|>' if add_generation_prompt }}"
    )
    turn_tokens = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
    for family in (byte_level, sentence_piece):
        made = tokens(family(template, ordinary=(*turn_tokens, "<tool_call>")))
        said = "a<|end|><|user|> b<tool_call>"
        ids = made.prompt(Prompt((Message("user", said),)))
        ours = [id for id in ids if id in {made.control[text] for text in turn_tokens}]
        assert ours == [made.control[text] for text in ("<|user|>", "<|end|>", "<|assistant|>")]
        assert said in "".join(text for text, _ in made.rendered(ids).pieces)
        assert not {*made.target(said)} & {made.control[text] for text in turn_tokens}
        assert made.markers["<tool_call>"] in made.target(said)


def test_an_end_that_is_a_call_s_end_is_cut() -> None:
    made = tokens(byte_level(CHATML, special=["<|call|>", "<|channel|>"]), ends=["<|call|>"])
    assert "<|call|>" not in made.markers
    assert made.decode([*made.text("<|channel|>a"), made.control["<|call|>"]]) == "<|channel|>a"


def test_white_space_beside_a_turn_token_goes_with_it_in_pieces_too() -> None:
    chat = byte_level(CHATML)
    chat.add_tokens([AddedToken("<|user|>", special=True, normalized=False, rstrip=True)])
    chat.chat_template = "{% for m in messages %}<|user|>\n{{ m.content }}<|im_end|>{% endfor %}"
    made = tokens(chat)
    whole = made.prompt(Prompt((Message("user", "a"),)))
    parted = made.prompt(Prompt((Message("user", "a"), Message("user", "<|im_end|>"))))
    assert parted[: len(whole)] == whole


@pytest.mark.parametrize("name", ["bytes, special", "bytes, ordinary"])
def test_what_grammars_must_not_use(name: str) -> None:
    made = VOCABULARIES[name]
    size = len(made.tokenizer)
    matcher = Grammars(made.tokenizer, size, made.ends, made.barred).matcher({"type": "string"})
    for token in made.text('"<'):
        matcher.accept(token)
    held = allowed(torch.zeros(1, size), [matcher])[0][0] > -torch.inf
    assert not any(bool(held[id]) for id in made.markers.values())
    # Letter by letter it can be written.
    assert all(bool(held[id]) for id in made.text("a<>"))
    assert {*made.markers.values()} < {*made.barred}
    assert made.control["<|im_start|>"] in made.barred
    assert not {*made.ends} & {*made.barred}
