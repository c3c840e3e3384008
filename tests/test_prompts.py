"""`ttsi prompts`: what the model is shown, at every stage, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from teacher_server import TeacherServer, chat, surroundings

import ttsi_fakes
from ttsi.cli import main as cli
from ttsi.cli.prompts import lines, visible
from ttsi.report.about import groups
from ttsi.report.facts import Facts
from ttsi.results.runs import open_run
from ttsi.solving.prompts import shown, tools_of
from ttsi.spec import load_spec
from ttsi.types import Likelihood, Prompt, Rendered

SPEC = {
    "name": "tried",
    "engine": "ttsi-fakes/scripted",
    "benchmark": {"name": "ttsi-fakes/rows", "rows": 4},
    "estimator": {"name": "rss_margin", "threshold": 1.0},
    "generator": {"name": "self", "samples": 2, "attempts": 3, "at_once": 1},
}
STAGES = ["estimate", "answer", "generate", "learn", "adapted"]
ESCAPE = "\x1b[31m"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TTSI_MODEL", "TTSI_LIMIT", "TTSI_SEEDS", "TTSI_WAVE"):
        monkeypatch.delenv(name, raising=False)


def told(sample: str | None = None, *, all_stages: bool = False, **changes: Any) -> dict[str, Any]:
    (spec, *_) = load_spec({**SPEC, **changes})
    return shown(spec, sample, all_stages=all_stages)


def stage(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return next((each["calls"] for each in found["stages"] if each["stage"] == name), [])


def said(found: dict[str, Any]) -> str:
    return "\n".join(lines(found))


def write(tmp_path: Path, **changes: Any) -> str:
    path = tmp_path / "tried.json"
    path.write_text(json.dumps({**SPEC, **changes}))
    return str(path)


def test_every_stage_is_told_in_order() -> None:
    found = told("rows/1")
    assert [each["stage"] for each in found["stages"]] == STAGES
    assert (found["sample"], found["seed"], found["uncertain"]) == ("rows/1", 0, True)
    assert found["adapted"]
    assert not found["error"]
    (scored,) = stage(found, "estimate")
    assert scored["kind"] == "score"
    assert scored["opening"]["text"] == '<tool_call>\n{"name": "'
    assert [each["text"] for each in scored["continuations"]] == ['get_weather"', 'get_time"']
    assert all(each["logprob"] <= 0 for each in scored["continuations"])
    (answer,) = stage(found, "answer")
    assert answer["prompt"] == scored["prompt"]
    assert answer["adapter"] is None
    assert "get_time" in answer["answer"]["text"]
    sample = ttsi_fakes.make_sample(1)
    assert found["prompts"][answer["prompt"] - 1]["messages"] == [
        {"role": "system", "content": sample.task.instruction},
        {"role": "user", "content": sample.task.input},
    ]
    assert all(ttsi_fakes.WRITING in str(_chat(found, call)) for call in stage(found, "generate"))
    pairs = stage(found, "learn")
    assert [call["kind"] for call in pairs] == ["train", "train"]
    assert all('{"name": "get_weather"' in call["target"]["text"] for call in pairs)
    (adapted,) = stage(found, "adapted")
    assert adapted["prompt"] == answer["prompt"]
    assert adapted["adapter"].startswith("sha256:")
    assert "get_weather" in adapted["answer"]["text"]


def _chat(found: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    chat: dict[str, Any] = found["prompts"][call["prompt"] - 1]
    return chat


def test_it_is_what_a_run_asks() -> None:
    """The engine of a run of the same spec gets the same requests, and those of other samples."""
    (spec,) = load_spec(SPEC)
    asked: list[Any] = []
    engine = ttsi_fakes.ScriptedEngine()
    from ttsi.solving import assemble
    from ttsi.solving.pipeline import Pipeline

    pipeline = Pipeline(assemble.stages(spec), engine, seed=0)
    list(pipeline.solve([ttsi_fakes.make_sample(2).task]))
    for each in engine.asked:
        if isinstance(each, Prompt):
            asked.append([m.content for m in each.messages])
        elif hasattr(each, "pairs"):
            asked += [[m.content for m in prompt.messages] for prompt, _ in each.pairs]
        else:
            asked.append([m.content for m in each.prompt.messages])
    found = told("rows/2")
    ours = [
        [message["content"] for message in _chat(found, call)["messages"]]
        for each in found["stages"]
        for call in each["calls"]
    ]
    assert ours == asked


def test_a_certain_sample_stops_at_its_answer_unless_told_otherwise() -> None:
    certain = {"estimator": "never"}
    found = told(**certain)
    assert [each["stage"] for each in found["stages"]] == ["answer"]
    assert (found["uncertain"], found["adapted"], found["forced"]) == (False, False, False)
    assert "--all-stages" in said(found)
    assert "H is certain: confidence 1.000" in said(found)
    found = told(all_stages=True, **certain)
    assert [each["stage"] for each in found["stages"]] == ["answer", "generate", "learn", "adapted"]
    assert (found["uncertain"], found["adapted"], found["forced"]) == (False, True, True)
    assert "would have stopped" in said(found)
    assert len(stage(found, "answer")) == 1


def test_an_uncertain_sample_is_not_run_twice() -> None:
    assert told(all_stages=True) == told() | {"engine": told()["engine"]}


def test_with_a_budget_every_sample_is_adapted_to() -> None:
    found = told(estimator="never", budget=0.5)
    assert found["forced"]
    assert stage(found, "adapted")


def test_demonstrations_stand_in_the_adapted_prompt() -> None:
    found = told(learner={"name": "icl", "target": "tool_call"})
    assert not stage(found, "learn")
    (adapted,) = stage(found, "adapted")
    roles = [message["role"] for message in _chat(found, adapted)["messages"]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    assert adapted["adapter"] is None


def test_without_a_valid_example_it_says_so() -> None:
    found = told(generator={"name": "self", "attempts": 1, "max_calls": 1}, seeds=[0])
    assert stage(found, "generate")
    refused = said({**found, "note": "no valid example was generated", "adapted": False})
    assert "No adaptation: no valid example" in refused


def test_a_grammar_is_named_by_its_tools() -> None:
    found = told(inference={"name": "direct", "format": "tool_calls"})
    (answer,) = stage(found, "answer")
    assert list(tools_of(answer["grammar"])) == ["get_weather", "get_time"]
    assert "grammar: JSON array with calls of get_weather, get_time" in said(found)
    assert "temperature 0.7, top-p 0.8, top-k 20, penalty 1.1, 256 tokens at most" in said(found)
    greedy = told(inference={"name": "direct", "decoding": "greedy", "max_tokens": 9})
    assert "greedy, 9 tokens at most" in said(greedy)


def test_the_same_prompt_is_printed_once() -> None:
    found = told()
    text = said(found)
    assert "H is uncertain: confidence 0." in text
    assert text.count("│ What is the weather in City0?") == 1
    assert "prompt 1, shown above" in text
    vote = said(
        told(inference={"name": "best_of", "samples": 3, "greedy_first": False}, estimator="never")
    )
    assert "answer 3 of 3" in vote


def test_many_pairs_are_counted_and_not_printed(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    call = [{"name": "get_time", "arguments": {"city": "Rome"}}]
    some = [{"instruction": "i", "input": f"q{n}", "output": call} for n in range(9)]
    rows.write_text("\n".join(map(json.dumps, some)))
    found = told(learner={"name": "sft", "file": str(rows)})
    assert len(stage(found, "learn")) == 9
    text = said(found)
    assert "and 6 more pairs" in text
    assert text.count("target") == 3


def test_an_engine_that_does_not_say_what_its_model_reads(capsys: Any, tmp_path: Path) -> None:
    assert cli.main(["prompts", write(tmp_path), "--sample", "rows/3"]) == 0
    out = capsys.readouterr().out
    assert "tried, sample rows/3, seed 0, smollm2-135m" in out
    assert "messages are shown" in out
    assert "  system:\n  │ Call a tool.\n  │ get_weather\n  │ get_time\n" in out
    assert "  prompt 1\n" in out
    assert "  target, trained from its start on\n" in out


def test_what_an_engine_says_its_model_reads_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    def rendered(self: Any, prompt: Prompt) -> Rendered:
        assert not prompt.opening
        ours = [("<s>", True), (f"{prompt.messages[-1].content}{ESCAPE} <s>⟦\n", False)]
        return Rendered(tuple(ours), 77)

    def rendered_text(self: Any, text: str, *, end: bool = False) -> Rendered:
        return Rendered(((text, False), *([("</s>", True)] if end else [])), 1)

    scripted = ttsi_fakes.ScriptedEngine
    monkeypatch.setattr(scripted, "rendered", rendered, raising=False)
    monkeypatch.setattr(scripted, "rendered_text", rendered_text, raising=False)
    monkeypatch.setattr(scripted, "describe", lambda self: {"system_turn": "folded"})
    found = told()
    assert found["rendered"]
    text = said(found)
    assert (
        "  prompt 1, 77 tokens\n  │ ⟦<s>⟧What is the weather in City0?\\x1b[31m <s>\\u27e6\n"
        in text
    )
    assert 'get_weather"   ' in text
    assert "</tool_call>⟦</s>⟧" in text
    assert "opening of the answer, 1 token\n" in text
    assert "no system turn" in text
    assert ESCAPE not in text
    json.dumps(found)


def test_the_output_for_machines(capsys: Any, tmp_path: Path) -> None:
    changes = ["--set", "estimator.threshold=0", "--all-stages", "--json"]
    assert cli.main(["prompts", write(tmp_path), *changes]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["stage"] for each in found["stages"]] == STAGES
    assert found["forced"]
    assert found["engine"]["model"] == "smollm2-135m"


def test_of_a_matrix_the_first_cell_is_shown(capsys: Any, tmp_path: Path) -> None:
    matrix = {"/generator/samples": [1, 2]}
    assert cli.main(["prompts", write(tmp_path, matrix=matrix)]) == 0
    captured = capsys.readouterr()
    assert "2 cells" in captured.err
    assert captured.out.count("target") == 1
    cell = ["--cell", "/generator/samples=2"]
    assert cli.main(["prompts", write(tmp_path, matrix=matrix), *cell]) == 0
    captured = capsys.readouterr()
    assert "cells" not in captured.err
    assert captured.out.count("target") == 2


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--sample", "row/1"], 'Did you mean "rows/1"?'),
        (["--sample", "rows/9"], "There is no sample 'rows/9'"),
        (["--set", "benchmark.rows=0"], "There are no samples."),
        (["--set", "engine=tranformers"], "transformers"),
    ],
)
def test_what_cannot_be_meant(argv: list[str], words: str, capsys: Any, tmp_path: Path) -> None:
    assert cli.main(["prompts", write(tmp_path), *argv]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert not captured.out


def test_a_failure_is_told_with_what_came_before(capsys: Any, tmp_path: Path) -> None:
    path = write(tmp_path, engine={"name": SPEC["engine"], "failing": 1.0})
    assert cli.main(["prompts", path]) == 1
    out = capsys.readouterr().out
    assert 'get_weather"   -' in out
    assert "It ended in an error: answer: EngineError: injected" in out


def test_what_a_terminal_would_hide_is_written_out() -> None:
    assert visible("a\tb\nc é 日") == "a\tb\nc é 日"
    assert visible("\x1b]0;t\x07\r\u202e\u200b⟦") == "\\x1b]0;t\\x07\\r\\u202e\\u200b\\u27e6"


@pytest.mark.model
@pytest.mark.slow
def test_the_small_model_is_shown_what_its_tokenizer_makes_of_it() -> None:
    from engines import shared_engine

    own = shared_engine()._runtime()
    (spec,) = load_spec(
        {
            "benchmark": {"name": "quickstart", "limit": 1},
            "estimator": {"name": "rss_margin", "threshold": 1.0},
            "generator": {"name": "self", "format": "json", "attempts": 2, "max_tokens": 48},
            "inference": {"name": "direct", "format": "tool_calls", "max_tokens": 24},
        }
    )
    found = shown(spec)
    assert not found["error"]
    assert found["rendered"]
    for one in found["prompts"]:
        text = "".join(piece["text"] for piece in one["pieces"])
        assert text == own.loaded.tokenizer.apply_chat_template(
            one["messages"], tokenize=False, add_generation_prompt=True
        )
        ids = own.loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert one["tokens"] == len(ids)
        marked = [piece["text"] for piece in one["pieces"] if piece["control"]]
        assert marked == ["<|im_start|>", "<|im_end|>"] * 2 + ["<|im_start|>"]
    for each in found["stages"]:
        for call in each["calls"]:
            tokens = found["prompts"][call["prompt"] - 1]["tokens"]
            if call["kind"] == "generate":
                opening = call.get("opening", {"tokens": 0})["tokens"]
                assert call["answer"]["prompt_tokens"] == tokens + opening
            if call["kind"] == "train":
                assert call["target"]["pieces"][-1] == {"text": "<|im_end|>", "control": True}
    (scored,) = stage(found, "estimate")
    opening = Prompt(ttsi_messages(found, scored), scored["opening"]["text"])
    texts = [each["text"] for each in scored["continuations"]]
    ((*again,),) = shared_engine().loglikelihoods([opening], [texts])
    for mine, theirs in zip(scored["continuations"], again, strict=True):
        assert isinstance(theirs, Likelihood)
        assert mine["tokens"] == theirs.tokens
        assert mine["logprob"] == pytest.approx(theirs.logprob, abs=1e-3)


def ttsi_messages(found: dict[str, Any], call: dict[str, Any]) -> Any:
    from ttsi.types import Message

    return tuple(Message(m["role"], m["content"]) for m in _chat(found, call)["messages"])


def test_what_a_teacher_is_asked_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    surroundings(monkeypatch, tmp_path / "cache")
    call = {"name": "get_time", "arguments": {"city": "Rome"}}
    written = json.dumps({"input": "Time in Rome?", "output": [call]})
    with TeacherServer(lambda asked: chat(written)) as server:
        options = {"model": "m", "base_url": server.url, "prompt": "seed_first"}
        found = told(generator={"name": "teacher", **options})
    assert found["adapted"], found["error"]
    (asked,) = stage(found, "generate")
    assert asked["kind"] == "outside"
    assert _chat(found, asked)["messages"] == server.asked[0].body["messages"]
    text = said(found)
    assert "asked of a model outside the engine" in text
    assert f"  │ {_chat(found, asked)['messages'][0]['content'].splitlines()[0]}\n" in text


# ---------------------------------------------------------------- runs say it, too


@pytest.mark.parametrize(
    ("about", "said_of_it"),
    [
        ({"system_turn": "template", "content": "text"}, ()),
        ({}, ()),
        ({"system_turn": "folded", "content": "text"}, ("has no system turn",)),
        ({"system_turn": "folded", "content": "parts"}, ("has no system turn", "as parts")),
    ],
)
def test_a_run_says_what_its_template_did(
    about: dict[str, str],
    said_of_it: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: Any,
) -> None:
    describe = ttsi_fakes.ScriptedEngine.describe
    monkeypatch.setattr(ttsi_fakes.ScriptedEngine, "describe", lambda self: describe(self) | about)
    assert cli.main(["eval", write(tmp_path), "--out", str(tmp_path / "runs")]) == 0
    out = capsys.readouterr().out
    assert out.count("chat template") == len(said_of_it)
    assert all(words in out for words in said_of_it)
    (folder,) = (tmp_path / "runs").iterdir()
    assert cli.main(["report", str(folder)]) == 0
    (engine,) = json.loads((folder / "seed-0" / "results.json").read_text())["engines"]
    rows = groups(Facts(open_run(folder)))[1]["rows"]
    (settings,) = [dict(pairs) for title, _, pairs in rows if title == "engine"]
    said_apart = {k: v for k, v in about.items() if v in ("folded", "parts")}
    assert {k: settings[k] for k in ("system_turn", "content") if k in settings} == said_apart
    assert engine["model"] == settings["model"]
