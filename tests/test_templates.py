"""Chat templates of the shapes that models use: what they show of a prompt, and which date."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from chat_tokens import CHATML, byte_level, sentence_piece, tokens
from hypothesis import example, given
from hypothesis import strategies as st
from tiny_model import tiny_llama, write_gguf

from ttsi.errors import EngineError, UsageError
from ttsi.types import LoraRecipe, Message, Prompt, Request, Sampling, TrainJob
from ttsi_plugins.engines.transformers import TransformersEngine
from ttsi_plugins.engines.transformers.tokens import Tokens

DATE = "2031-02-03"
ASKED = (Message("system", "  Tools: f, g.\n"), Message("user", "\nCall f. "))
SHOWN = (
    ASKED[0],
    Message("user", "Call g."),
    Message("assistant", "[g()]"),
    ASKED[1],
)

# As Gemma 1 and 2: the assistant is "model", and a system turn is refused.
NO_SYSTEM = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{{ raise_exception('no system role') }}{% endif %}{% for m in messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must take turns') }}{% endif %}"
    "<turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
# As Gemma 3: the instruction before the first user's text, content as text or parts.
FOLDS_FIRST = (
    "{% if messages[0].role == 'system' %}{% set first = (messages[0].content if "
    "messages[0].content is string else messages[0].content[0].text) + '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}"
    "{% endif %}{% for m in rest %}<turn>{{ m.role }}\n{{ first if loop.first else '' }}"
    "{% if m.content is string %}{{ m.content | trim }}{% else %}{% for part in m.content %}"
    "{{ part.text | trim }}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
# As Mistral v0.3: the instruction in the last user turn.
FOLDS_LAST = (
    "<s>{% if messages[0].role == 'system' %}{% set s = messages[0].content %}"
    "{% set rest = messages[1:] %}{% else %}{% set s = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if m.role == 'user' %}[INST] "
    "{% if loop.last and s %}{{ s }}\n\n{% endif %}{{ m.content }}[/INST]"
    "{% else %} {{ m.content | trim }}<|im_end|>{% endif %}{% endfor %}"
)
# As some of Mistral's first and many hand-made templates: the system turn is dropped silently.
DROPS_SYSTEM = (
    "<s>{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
)
LLAMA = (
    "{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% else %}"
    "{% set date_string = '26 Jul 2024' %}{% endif %}{% endif %}"
    "{% if messages[0].role == 'system' %}{% set s = messages[0].content | trim %}"
    "{% set messages = messages[1:] %}{% else %}{% set s = '' %}{% endif %}"
    "<s><head>system</head>\n\n{% if builtin_tools is defined %}Environment: ipython\n{% endif %}"
    "Today Date: {{ date_string }}\n\n{{ s }}<|im_end|>"
    "{% for m in messages %}<head>{{ m.role }}</head>\n\n{{ m.content | trim }}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}<head>assistant</head>\n\n{% endif %}"
)
DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are of use.<|im_end|>\n"
    "{% endif %}" + CHATML
)
THINKING = (
    "{% for m in messages %}{% set c = m.content %}{% if m.role == 'assistant' and '</think>' in c"
    " %}{% set c = c.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ c }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking is defined and "
    "not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
PHI = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
    "{{ '<|assistant|>\n' if add_generation_prompt else '<|im_end|>' }}"
)
PARTS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for part in m.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PARTS_NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + (
    PARTS
)

SHAPES = {
    "chatml": (CHATML, "template", "text"),
    "no system": (NO_SYSTEM, "folded", "text"),
    "folds first": (FOLDS_FIRST, "template", "text"),
    "folds last": (FOLDS_LAST, "template", "text"),
    "drops system": (DROPS_SYSTEM, "folded", "text"),
    "llama": (LLAMA, "template", "text"),
    "default system": (DEFAULT_SYSTEM, "template", "text"),
    "thinking": (THINKING, "template", "text"),
    "phi": (PHI, "template", "text"),
    "parts": (PARTS, "template", "parts"),
    "parts, no system": (PARTS_NO_SYSTEM, "folded", "parts"),
}
# Of shapes that have no turn of a tool.
RESULTS = dict.fromkeys(("no system", "folds last", "drops system"), "folded")
every_shape = pytest.mark.parametrize("shape", SHAPES)
SPECIAL = ("<s>", "<turn>", "[INST]", "[/INST]", "<head>", "</head>", "<|user|>", "<|end|>")


def with_template(
    template: str, family: Any = byte_level, date: str | None = "2031-02-03"
) -> Tokens:
    tokenizer = family(template, special=SPECIAL, ordinary=["<think>", "</think>"])
    tokenizer.bos_token = "<s>"
    return tokens(tokenizer, date)


MADE = {name: with_template(template) for name, (template, *_) in SHAPES.items()}


def read(made: Tokens, *messages: Message, opening: str = "") -> str:
    """Return the text that the model reads, decoded from its tokens."""
    ids = made.prompt(Prompt(messages, opening))
    return "".join(text for text, _ in made.rendered(ids).pieces)


@every_shape
def test_a_template_is_taken_as_it_is(shape: str) -> None:
    _, system_turn, content = SHAPES[shape]
    assert MADE[shape].template.describe() == {
        "system_turn": system_turn,
        "content": content,
        "tool_turn": RESULTS.get(shape, "template"),
    }


@every_shape
@pytest.mark.parametrize("messages", [ASKED, SHOWN])
def test_the_model_reads_every_turn(shape: str, messages: tuple[Message, ...]) -> None:
    said = read(MADE[shape], *messages)
    for message in messages:
        assert message.content.strip() in said
        assert said.count(message.content.strip()) == 1
    if SHAPES[shape][1] == "folded":
        first = next(message for message in messages if message.role == "user")
        assert f"{ASKED[0].content}\n\n{first.content}".strip() in said


@every_shape
@example(instruction="0", question="0", shown="<think>")
@given(
    instruction=st.text(min_size=1, max_size=20),
    question=st.text(min_size=1, max_size=20),
    shown=st.text(max_size=20),
)
def test_the_model_reads_any_instruction_and_input(
    shape: str, instruction: str, question: str, shown: str
) -> None:
    made = MADE[shape]
    messages = (
        Message("system", instruction),
        Message("user", shown),
        Message("assistant", "[]"),
        Message("user", question),
    )
    for some in (messages, (messages[0], messages[3])):
        said = read(made, *some)
        assert instruction.strip() in said
        assert question.strip() in said
    # A marker that is not special, as <think> is here, may stand in a text.
    control = {*made.control.values()}
    frame = [id for id in made.prompt(Prompt(SHOWN)) if id in control]
    assert [id for id in made.prompt(Prompt(messages)) if id in control] == frame


def test_without_an_instruction_nothing_is_folded() -> None:
    assert (
        read(MADE["no system"], Message("user", "a")) == "<s><turn>user\na<|im_end|>\n<turn>model\n"
    )
    assert "You are of use." in read(MADE["default system"], Message("user", "a"))
    assert "You are of use." not in read(MADE["default system"], *ASKED)


def test_an_earlier_thought_may_be_left_out_and_an_earlier_answer_may_not() -> None:
    made = MADE["thinking"]
    thought = Message("assistant", "<think>\nHm.\n</think>\n\n[g()]")
    said = read(made, ASKED[0], Message("user", "Call g."), thought, ASKED[1])
    assert "[g()]" in said
    assert "Hm." not in said
    forgets = with_template(
        CHATML.replace("{{ m.content }}", "{{ m.content if m.role != 'assistant' }}")
    )
    assert read(forgets, *ASKED)
    with pytest.raises(EngineError, match="leaves out an answer") as caught:
        read(forgets, *SHOWN)
    assert "turn 3 of 4, role assistant" in caught.value.where
    assert caught.value.cure


@pytest.mark.parametrize(("lost", "what"), [("system", "the instruction"), ("user", "the input")])
def test_a_prompt_that_lacks_a_turn_is_refused(lost: str, what: str) -> None:
    """The turn is lost only among many turns, so that the trial at loading does not notice it."""
    template = CHATML.replace(
        "{% for m in messages %}",
        "{% for m in messages %}{% if m.role == '" + lost + "' and messages | length > 3 %}"
        "{% continue %}{% endif %}",
    )
    made = with_template(template)
    assert read(made, *ASKED)
    with pytest.raises(EngineError, match=f"leaves out {what}") as caught:
        read(made, *SHOWN)
    assert "chat_template" in caught.value.cure
    assert f"role {lost}" in caught.value.where


def test_a_turn_that_is_also_part_of_another_is_missed() -> None:
    template = CHATML.replace(
        "{% for m in messages %}",
        "{% for m in messages %}{% if loop.last and loop.length == 4 %}{% continue %}{% endif %}",
    )
    question = Message("user", "f")
    made = with_template(template)
    with pytest.raises(EngineError, match="leaves out"):
        read(made, Message("system", "Tools: f."), *SHOWN[1:3], question)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (
            "{% for m in messages %}<|im_start|>{{ m.role }}<|im_end|>{% endfor %}",
            "the instruction",
        ),
        ("<|im_start|>{{ messages[0].content[:3] }}<|im_end|>", "the instruction"),
        ("{{ raise_exception('never') }}", "refuses the prompt: never"),
        ("{{ messages[0].content + 1 }}", "refuses the prompt"),
        ("{{ nothing.at.all }}", "refuses the prompt"),
    ],
)
def test_a_template_that_shows_nothing_is_refused_at_load(template: str, said: str) -> None:
    with pytest.raises(EngineError, match=said) as caught:
        with_template(template)
    assert caught.value.where
    assert caught.value.cure


def test_of_several_templates_the_default_is_taken() -> None:
    tokenizer = byte_level(CHATML)
    tokenizer.chat_template = {"default": CHATML, "rag": "{{ raise_exception('no') }}"}
    assert tokens(tokenizer).template.describe() == MADE["chatml"].template.describe()
    tokenizer.chat_template = {"rag": CHATML}
    with pytest.raises(EngineError) as caught:
        tokens(tokenizer)
    assert caught.value.cure


def test_a_list_that_is_printed_as_a_list_is_no_way_to_show_it() -> None:
    """The template refuses texts, and prints parts as Python would."""
    template = (
        "{% for m in messages %}{% if m.content is string %}{{ raise_exception('parts!') }}"
        "{% endif %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    )
    with pytest.raises(EngineError, match="refuses the prompt: parts!"):
        with_template(template)


# ---------------------------------------------------------------- dates


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("{{ strftime_now('%Y-%m-%d') }}", "2031-02-03"),
        ('{{ strftime_now( "%d %b %Y" ) }}', "03 Feb 2031"),
        ("{{ strftime_now(format='%A') }}", "Monday"),
        ("{{ strftime_now('%H:%M') }}", "00:00"),
        ("{{ strftime_now('%d') | int - 1 }}", "2"),
        ("{% set now = strftime_now('%B') %}{{ now[:3] }}", "Feb"),
        ("{% macro head() %}{{ strftime_now('%j') }}{% endmacro %}{{ head() }}", "034"),
        # A date that the template fixes for itself stays, as with transformers.
        ("{{ date_string if date_string is defined else '26 Jul 2024' }}", "26 Jul 2024"),
    ],
)
def test_every_spelling_of_the_date_is_the_run_s(written: str, printed: str) -> None:
    made = with_template(f"  {{% if true %}}\n  Today: {written};\n{{% endif %}}\n" + CHATML)
    for messages in (ASKED, SHOWN, (Message("user", "<|im_end|>"),)):
        assert f"Today: {printed};" in read(made, *messages)


def test_a_date_changes_nothing_else_of_a_template() -> None:
    for start in ("", "\n", "\n\n", "  ", "  {% if true %}a{% endif %}\n", "{# note #}\n b"):
        plain = with_template(start + CHATML)
        dated = with_template(start + CHATML + "{{ strftime_now('%Y')[:0] }}")
        assert read(dated, *ASKED) == read(plain, *ASKED)


def test_llama_prints_the_date_in_every_prompt() -> None:
    for messages in (ASKED, SHOWN):
        assert "Today Date: 03 Feb 2031" in read(MADE["llama"], *messages)


def test_without_a_date_it_is_today() -> None:
    before = datetime.datetime.now(datetime.UTC).date().isoformat()
    said = read(with_template("{{ strftime_now('%Y-%m-%d') }}" + CHATML, date=None), *ASKED)
    after = datetime.datetime.now(datetime.UTC).date().isoformat()
    assert said[:10] in (before, after)


def test_a_date_whose_form_is_computed_is_refused() -> None:
    """The date would have to be computed again from what only the template knows."""
    with pytest.raises(EngineError, match="form of its date"):
        with_template("{{ strftime_now('%Y' + '%d') }}" + CHATML)


@pytest.mark.parametrize("date", ["2031-02-30", "yesterday", "", "03.02.2031"])
def test_what_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(UsageError, match=r"model\.date") as caught:
        with_template(CHATML, date=date)
    assert "YYYY-MM-DD" in caught.value.cure


# ---------------------------------------------------------------- where the user's turn begins


@pytest.mark.parametrize("shape", ["no system", "drops system", "parts, no system"])
def test_no_adapter_acts_from_a_user_turn_that_holds_the_instruction(shape: str) -> None:
    with pytest.raises(EngineError, match="has no system turn") as caught:
        MADE[shape].user_turn(MADE[shape].prompt(Prompt(ASKED)))
    assert '"active_from": "start"' in caught.value.cure


@pytest.mark.parametrize("shape", ["folds first", "folds last"])
def test_nor_from_one_that_the_template_folds(shape: str) -> None:
    with pytest.raises(EngineError, match="does not separate"):
        _ = MADE[shape].invocation


@pytest.mark.parametrize("shape", ["chatml", "llama", "default system", "thinking", "phi", "parts"])
@pytest.mark.parametrize("messages", [ASKED, SHOWN])
def test_it_does_from_a_user_turn_of_its_own(shape: str, messages: tuple[Message, ...]) -> None:
    made = MADE[shape]
    ids = made.prompt(Prompt(messages))
    rest = made.tokenizer.decode(ids[made.user_turn(ids) :])
    assert ASKED[1].content.strip() in rest
    assert "Tools" not in rest
    assert "Call g." not in rest


def test_sentence_pieces_are_framed_the_same() -> None:
    for name, (template, *_) in SHAPES.items():
        made = with_template(template, sentence_piece)
        for messages in (ASKED, SHOWN):
            said = read(made, *messages)
            for message in messages:
                assert message.content.strip() in said, name


# ---------------------------------------------------------------- in the engine


def test_an_engine_says_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTSI_CACHE_DIR", str(tmp_path / "cache"))
    template = "{{ strftime_now('%Y-%m-%d') }}" + NO_SYSTEM.replace("{{ bos_token }}", "")
    made = write_gguf(tmp_path / "tiny.gguf", tiny_llama(), template=template)
    engine = TransformersEngine({"id": str(made), "date": DATE}, device="cpu", memory_gib=1.0)
    try:
        said = engine.describe()
        assert (said["system_turn"], said["content"]) == ("folded", "text")
        asked = Prompt((Message("system", "Tools: f."), Message("user", "Call f.")), "[f")
        read_by_it = engine.rendered(asked)
        whole = "".join(text for text, _ in read_by_it.pieces)
        assert whole == f"{DATE}<turn>user\nTools: f.\n\nCall f.<|im_end|>\n<turn>model\n[f"
        (answer,) = engine.generate([Request(asked, Sampling.greedy(4), 0)])
        assert answer.prompt_tokens == read_by_it.tokens
        target = engine.rendered_text("[f()]", end=True)
        assert target.pieces == (("[f()]", False), ("<|im_end|>", True))
        recipe = LoraRecipe(active_from="user_turn", epochs=1)
        with pytest.raises(EngineError, match="has no system turn"):
            engine.train([TrainJob("a", ((asked, "[f()]"),), recipe, 0)])
    finally:
        engine.close()


def test_a_tokenizer_without_an_end_is_an_error_with_its_cure() -> None:
    tokenizer = byte_level(CHATML)
    tokenizer.eos_token = None
    with pytest.raises(EngineError, match="no end-of-text token") as caught:
        Tokens(tokenizer, None)
    assert "generation_config.json" in caught.value.cure
