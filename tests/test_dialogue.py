"""Examples of a conversation: another last request, in the state that was reached before it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from test_native_prompts import SHAPES, made
from test_templates import with_template
from turns_play import DONE, calling

from ttsi.answers.calls.values import ToolCall, answer_with
from ttsi.leaderboard.publishing import repeats
from ttsi.records.lines import from_json, to_json, whole_task
from ttsi.types import Completion, Message, Record, Request, Task
from ttsi_benchmarks.bfcl_multi_turn import BfclMultiTurn
from ttsi_fakes import ScriptedEngine
from ttsi_plugins._support import blank
from ttsi_plugins.generators._asking import EXAMPLE, REQUEST, UNSERVED, asking
from ttsi_plugins.generators.evidence import Evidence
from ttsi_plugins.generators.self_generator import SelfGenerator
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners.icl import InContext
from ttsi_plugins.learners.icl_train import InContextTrain
from ttsi_plugins.learners.lora_sft import LoraSft

NEW = "Now move 'log.txt' to the folder archive as well."
LISTED = ToolCall("ls", {"a": True})


def reached(prompt: Any = "paper", *more: Completion) -> Task:
    """Return the task of the first row at its second turn, after `more` answers in that turn.

    In the first turn the folder was listed.
    """
    (sample,) = BfclMultiTurn(ids=["bfcl_multi_turn/base/0"], prompt=prompt).samples()
    assert sample.episode is not None
    episode = sample.episode()
    task = episode.start()
    for answer in (calling([LISTED]), DONE, *more):
        task = episode.step(answer)
    assert isinstance(task, Task)
    return task


@pytest.fixture(scope="module")
def second() -> Task:
    return reached()


@pytest.fixture(scope="module")
def within() -> Task:
    """A task within the second turn: a tool has spoken last."""
    return reached("paper", calling([ToolCall("pwd", {})]))


def example(request: Request) -> str:
    call = {"name": "mv", "arguments": {"source": "log.txt", "destination": "archive"}}
    return json.dumps({"input": NEW, "output": [call]})


# ---------------------------------------------------------------- the task


def test_the_past_ends_before_the_users_last_turn(second: Task, within: Task) -> None:
    assert [turn.role for turn in second.past] == ["user", "assistant", "tool", "assistant"]
    assert second.said == (*second.past, Message("user", second.input))
    assert (within.past, within.input) == (second.past, second.input)
    assert [turn.role for turn in within.said[len(within.past) :]] == ["user", "assistant", "tool"]


def test_a_variant_is_asked_in_the_state_before_the_last_request(
    second: Task, within: Task
) -> None:
    for task in (second, within):
        variant = task.variant("0", input=NEW)
        assert variant.messages == (*second.messages[:-1], Message("user", NEW))
        assert (variant.past, variant.input, variant.tools) == (task.past, NEW, task.tools)


def test_a_request_that_begins_a_conversation_has_no_past() -> None:
    first = Task("a", (), "Do it.", "Go.")
    talk = (Message("user", "Go."), Message("assistant", "f()"), Message("tool", "gone"))
    later = first.after(talk)
    assert (first.past, later.past, later.input) == ((), (), "Go.")
    assert first.after(talk[:1]) == first
    assert later.variant("0", input="Stay.") == replace(first, id="a#0", input="Stay.")
    with pytest.raises(ValueError, match="turn of the user"):
        first.after(talk[1:])


def test_without_an_instruction_there_is_no_system_turn() -> None:
    bare = replace(Task("a", (), "", "Go."), choices=("left", "right"), form="choice")
    native = replace(bare, instruction="Tools: f", bare="")
    for task in (bare, native):
        assert task.messages == task.said == (Message("user", "Go."),)
        (ask,) = asking(task, "seed_first").messages
        assert ask.role == "user"
        assert blank(task.prompt()).messages == (Message("user", ""),)


def test_a_record_restores_the_conversation_of_an_example(second: Task) -> None:
    (got,) = SelfGenerator().generate([second], ScriptedEngine(script=example), 0)[0]
    stored = from_json(to_json(Record("a", "", 0, examples=(got,)))).examples[0]
    assert whole_task(stored, second) == got.task


def test_pieces_of_the_conversation_are_the_benchmarks(second: Task) -> None:
    assert repeats(f"Again: {second.past[0].content}", second)
    assert not repeats(NEW, second)


# ---------------------------------------------------------------- G


@pytest.mark.parametrize("wish", [EXAMPLE, REQUEST, UNSERVED])
def test_the_writer_sees_the_conversation_up_to_the_last_request(
    wish: Any, second: Task, within: Task
) -> None:
    ask = asking(second, "quoted", wish).messages[-1]
    assert second.instruction in ask.content
    _, _, shown = ask.content.partition(second.instruction)
    places = [shown.index(turn.content) for turn in second.said]
    assert places == sorted(places)
    assert f'{{"input": {json.dumps(second.input)}}}' in ask.content
    assert "another user" not in ask.content
    assert asking(within, "quoted", wish) == asking(second, "quoted", wish)


def test_with_its_own_system_turn_the_conversation_is_read_once(second: Task) -> None:
    prompt = asking(second, "seed_first")
    assert prompt.messages[:-1] == second.messages[:-1]
    ask = prompt.messages[-1].content
    assert ask.startswith("At this point of the conversation the user wrote:")
    assert json.dumps(second.input) in ask
    assert "what this user could ask here instead" in ask


def test_a_copy_of_the_last_request_is_no_example(second: Task) -> None:
    def asked(words: str) -> list[str]:
        engine = ScriptedEngine(
            script=lambda r: json.dumps(json.loads(example(r)) | {"input": words})
        )
        return [made.task.input for made in SelfGenerator().generate([second], engine, 0)[0]]

    assert asked(second.input.upper()) == []
    earlier = second.past[0].content
    assert asked(earlier) == [earlier]


def test_evidence_asks_the_model_in_the_state_of_the_conversation(within: Task) -> None:
    engine = ScriptedEngine(script=lambda request: _labelled(request))
    (got,) = Evidence(attempts=1).generate([within], engine, 0)[0]
    assert got.task == within.variant("0", input="Move it there.")
    assert got.evidence == {"agreement": 1.0, "support": 1.0}
    writing, *labels = engine.asked
    assert writing.prompt == asking(within, "quoted", REQUEST)
    assert all(each.prompt == replace(got.task.prompt(), thinking=True) for each in labels)
    # The words of the request alone do not state what was said before.
    alone = got.task.after(got.task.said[-1:])
    assert Evidence(attempts=1).generate([alone], engine, 0) == [[]]


def _labelled(request: Request) -> str:
    """Write a request that takes its file from an earlier result, and call with it."""
    if request.grammar and "input" in request.grammar.get("properties", ()):
        return json.dumps({"input": "Move it there."})
    call = {"name": "mv", "arguments": {"source": "document", "destination": "archive"}}
    return json.dumps([call])


# ---------------------------------------------------------------- T


def learnt(learner: Any, task: Task, prompt: str = "paper") -> tuple[Any, ScriptedEngine]:
    engine = ScriptedEngine(script=example)
    examples = SelfGenerator().generate([task], engine, 0)
    base = Completion("[]", answer_with([]))
    (got,) = learner.learn([task], examples, [base], engine, 0)
    return got, engine


def test_a_demonstration_is_a_conversation_and_the_question_follows_whole(within: Task) -> None:
    got, _ = learnt(InContext(), within)
    *shown, answer = got.turns
    assert shown == [*within.past, Message("user", NEW)]
    assert answer.role == "assistant"
    assert '"name": "mv"' in answer.content
    asked = Direct().request(within, got, 0).prompt.messages
    assert asked == (within.messages[0], *got.turns, *within.said)


def test_labelled_rows_are_shown_with_their_past(second: Task) -> None:
    learner = InContextTrain(target="tool_call")
    learner.teach(lambda: _samples([second]))
    (got,) = learner.learn([second.variant("0", input=NEW)], [[]], [None], ScriptedEngine(), 0)
    assert got.turns[:-1] == second.said  # type: ignore[union-attr]


def _samples(tasks: Sequence[Task]) -> list[Any]:
    from ttsi.types import Sample

    return [Sample(task, answer_with([LISTED])) for task in tasks]


def test_an_adapter_is_trained_on_the_new_request_in_the_same_state(within: Task) -> None:
    _, engine = learnt(LoraSft(), within)
    ((prompt, target),) = engine.asked[-1].pairs
    assert prompt == replace(within, turns=(*within.past, Message("user", NEW))).prompt()
    assert '"mv"' in target


@pytest.mark.parametrize("prompt", ["paper", "native"])
def test_the_pairs_prompt_is_the_rendered_conversation_with_the_new_message(prompt: Any) -> None:
    task = reached(prompt, calling([ToolCall("pwd", {})]))
    _, engine = learnt(LoraSft(target="as_answered"), task)
    ((pair, _),) = engine.asked[-1].pairs
    tokens = made(SHAPES["tags"])
    text = "".join(piece for piece, _ in tokens.rendered(tokens.prompt(pair)).pieces)
    system = task.instruction if task.bare is None else task.bare
    turns = [{"role": "system", "content": system}]
    turns += [{"role": turn.role, "content": turn.content} for turn in task.past]
    functions = [
        {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        for tool in task.offered
    ]
    assert text == tokens.tokenizer.apply_chat_template(
        [*turns, {"role": "user", "content": NEW}],
        tools=[{"type": "function", "function": each} for each in functions] or None,
        tokenize=False,
        add_generation_prompt=True,
    )
    assert f"<|im_start|>tool\n{task.past[2].content}<|im_end|>" in text


# ---------------------------------------------------------------- templates

TALK = (
    Message("system", "Call."),
    Message("user", "Where?"),
    Message("assistant", "[f()]"),
    Message("tool", "in\nRome"),
    Message("tool", "in Oslo"),
    Message("user", "And now?"),
)
# As Llama 3.1: what a tool returned is written as JSON.
ESCAPES = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | tojson if m.role == 'tool' "
    "else m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_where_a_template_has_no_turn_for_results_they_are_the_users() -> None:
    template = with_template(ESCAPES).template
    assert template.tool_turn == "folded"
    assert template.render(TALK).endswith(
        "<|im_start|>user\n<tool_response>\nin\nRome\n</tool_response>\n<tool_response>\nin Oslo\n"
        "</tool_response>\nAnd now?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert template.render(TALK[:2]) == with_template(ESCAPES).template.render(TALK[:2])


def test_users_turns_are_not_joined_where_no_result_stands_between() -> None:
    template = with_template(ESCAPES).template
    twice = (*TALK[:2], Message("user", "Here?"))
    assert template.render(twice).count("<|im_start|>user") == 2
