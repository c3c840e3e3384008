"""Prompts in the user's own words: `instruction` of benchmarks, `template` of generators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ttsi import Message, Task, UsageError, registry
from ttsi._common.places import filled
from ttsi.cli.main import main
from ttsi.rows.rendering import ANSWER_FORMAT, tool_line
from ttsi.solving import assemble
from ttsi.spec import load_spec
from ttsi_benchmarks.file import File
from ttsi_benchmarks.quickstart import Quickstart
from ttsi_plugins.generators._asking import EXAMPLE, REQUEST, PromptForm, asking, template_of
from ttsi_plugins.generators.evidence import Evidence
from ttsi_plugins.generators.self_generator import SelfGenerator

OWN = 'Tools first.\n{tools}\n\n{instruction} {format} Keep {this} and {"braces": {}}.'
BARE = "Think of {instruction}"
TASK = Quickstart(limit=1).samples()[0].task
NAMES = sorted(name for name, each in registry.discover("benchmarks").items() if each.builtin)


def made(name: str, tmp_path: Path, **options: Any) -> Any:
    if name == "file":
        tool = {"name": "wake", "parameters": {"type": "object", "properties": {}}}
        row = {"input": "Wake me.", "instruction": "Be brief.", "tools": [tool], "reference": []}
        (tmp_path / "my.jsonl").write_text(json.dumps(row))
        options["path"] = str(tmp_path / "my.jsonl")
    return registry.load("benchmarks", name)(limit=1, **options)


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_takes_the_user_s_words(name: str, tmp_path: Path) -> None:
    (plain,) = made(name, tmp_path).samples()
    template = OWN if plain.task.tools else BARE
    benchmark = made(name, tmp_path, instruction=template)
    (own,) = benchmark.samples()
    words = plain.task.instruction.partition("\n\nTools:\n")[0]
    tools = "\n".join(map(tool_line, plain.task.tools))
    wanted = template.replace("{instruction}", words)
    wanted = wanted.replace("{tools}", tools).replace("{format}", ANSWER_FORMAT)
    assert own.task.instruction == wanted
    assert own.task.messages[0] == Message("system", wanted)
    assert (own.task.input, own.task.tools, own.reference) == (
        plain.task.input,
        plain.task.tools,
        plain.reference,
    )
    assert own.digest != plain.digest
    assert benchmark.revision() == made(name, tmp_path).revision()
    assert benchmark.template_for(own.task) == template
    default = made(name, tmp_path).template_for(plain.task)
    again = made(name, tmp_path, instruction=default).samples()
    assert [each.task for each in again] == [plain.task]
    if own.episode is not None:
        episode = own.episode()
        assert episode.start().instruction == wanted
        episode.score()


@pytest.mark.parametrize("name", ["quickstart", "sealtool", "gsm8k"])
def test_rows_for_training_have_the_same_words(name: str, tmp_path: Path) -> None:
    template = BARE if name == "gsm8k" else OWN
    rows = made(name, tmp_path, instruction=template).train()
    start = template.partition("{")[0]
    assert all(row.task.instruction.startswith(start) for row in rows)


def test_a_chat_template_adds_the_tools_to_the_user_s_words() -> None:
    (own,) = Quickstart(limit=1, prompt="native", instruction=BARE).samples()
    words = TASK.instruction.partition("\n\nTools:\n")[0]
    assert own.task.bare == f"Think of {words}"
    assert own.task.messages[0].content == own.task.bare
    assert own.task.offered == TASK.tools
    # Another writer, who is asked in text, sees the tools there.
    assert all(tool_line(tool) in own.task.instruction for tool in TASK.tools)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"instruction": "No place."}, "no place for tools"),
        ({"instruction": "{tool}"}, "Did you mean {tools}?"),
        ({"instruction": "{tools} {Format}"}, "Did you mean {format}?"),
        ({"instruction": OWN, "prompt": "native"}, "{tools}, and the model's chat template"),
        ({"instruction": "{format}", "prompt": "native"}, "{format}, and"),
    ],
)
def test_a_template_that_does_not_fit_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as refused:
        Quickstart(**options).samples()
    assert told in str(refused.value)
    assert refused.value.where == "benchmark.instruction"


def test_without_tools_there_is_no_place_for_them(tmp_path: Path) -> None:
    path = tmp_path / "my.jsonl"
    path.write_text('{"input": "1 + 1?", "reference": 2}')
    with pytest.raises(UsageError, match=r"\{tools\}, and the task has no tools"):
        File(path=str(path), form="number", instruction="{tools}").samples()


def test_a_text_about_tools_is_no_call(tmp_path: Path) -> None:
    tool = {"name": "wake", "parameters": {"type": "object", "properties": {}}}
    row = {"input": "Which tool wakes me?", "tools": [tool], "reference": "wake"}
    path = tmp_path / "my.jsonl"
    path.write_text(json.dumps(row))
    (plain,) = File(path=str(path), form="text").samples()
    assert ANSWER_FORMAT not in plain.task.instruction
    template = File(path=str(path), form="text").template_for(plain.task)
    assert "{tools}" in template
    assert File(path=str(path), form="text", instruction=template).samples() == [plain]
    with pytest.raises(UsageError, match=r"\{format\}, and the task is not answered by calls"):
        File(path=str(path), form="text", instruction=OWN).samples()


# ---------------------------------------------------------------- G

LATER = TASK.after((*TASK.said, Message("assistant", "{seed}"), *TASK.said))
OURS = 'Somebody asked {seed}; before it {past}. Told: {instruction} Write {"input": ..., {x}}'


@pytest.mark.parametrize("form", ["quoted", "seed_first"])
def test_g_asks_in_the_user_s_words(form: PromptForm) -> None:
    prompt = SelfGenerator(prompt=form, template=OURS).asking(TASK)
    wanted = (
        f"Somebody asked {json.dumps({'input': TASK.input})}; before it . Told: "
        f'{TASK.instruction} Write {{"input": ..., {{x}}}}'
    )
    ours = asking(TASK, form)
    assert prompt.messages == (*ours.messages[:-1], Message("user", wanted))
    assert prompt.tools == ours.tools


def test_evidence_asks_for_a_request_in_the_user_s_words() -> None:
    prompt = Evidence(template="{seed} {instruction}").asking(TASK)
    assert prompt.messages[-1].content == f"{json.dumps({'input': TASK.input})} {TASK.instruction}"
    assert Evidence().asking(TASK) == asking(TASK, "quoted", REQUEST)


@pytest.mark.parametrize("form", ["quoted", "seed_first"])
@pytest.mark.parametrize("wish", [EXAMPLE, REQUEST])
@pytest.mark.parametrize("task", [TASK, LATER])
def test_our_own_words_are_a_template_too(form: PromptForm, wish: Any, task: Task) -> None:
    ours = template_of(task, form, wish)
    assert asking(task, form, wish, ours) == asking(task, form, wish)


def test_the_places_that_a_template_needs() -> None:
    with pytest.raises(UsageError, match="no place for seed"):
        SelfGenerator(template="{instruction}")
    with pytest.raises(UsageError, match="no place for instruction"):
        SelfGenerator(template="{seed}")
    with pytest.raises(UsageError, match=r"\{seeds\}, which is no place"):
        SelfGenerator(template="{seed} {instruction} {seeds}")
    SelfGenerator(template="{seed} {answer}", prompt="seed_first")


def test_what_is_filled_in_is_no_template() -> None:
    assert filled("{a} {b} {c}", {"a": "{b}", "b": "\\1 {a}"}) == "{b} \\1 {a} {c}"


def test_ttsi_prompts_prints_templates_to_begin_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({"benchmark": "quickstart", "generator": "evidence"}))
    assert main(["prompts", str(path), "--templates", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sample"] == "quickstart/0"
    templates = found["templates"]
    assert list(templates) == ["benchmark.instruction", "generator.template"]
    (plain, *_), (own, *_) = load_spec(path), load_spec(path, templates)
    a, b = (next(iter(assemble.benchmark(each).samples())).task for each in (plain, own))
    assert a == b
    one, two = (assemble.stages(each).generator for each in (plain, own))
    assert one.asking(a) == two.asking(b)  # type: ignore[attr-defined]
    assert main(["prompts", str(path), "--templates"]) == 0
    assert "  │ {seed}" in capsys.readouterr().out.splitlines()
