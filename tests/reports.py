"""Runs for reports, each an edge case, made with the scripted engine; and a reader of the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import ttsi
import ttsi_fakes
from ttsi.answers.calls.values import ToolCall, answer_with
from ttsi.results.runs import Run, open_run
from ttsi.types import Completion, Rejected, Rejections, Request, Score, Step, Tool

HOSTILE = (
    "</pre><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"
    "\x00\ud800\u202e&lt;"
)
LONG = "Donaudampfschifffahrtsgesellschaft" * 20


def document(**changed: Any) -> dict[str, Any]:
    return {
        "name": "scripted",
        "model": {"id": "scripted"},
        "engine": "ttsi-fakes/scripted",
        "benchmark": {"name": "ttsi-fakes/rows", "rows": 12},
        "estimator": "rss_margin",
        "inference": {"name": "direct", "decoding": "greedy"},
        "executor": {"name": "local", "wave": 4},
    } | changed


def made(out: Path, **changed: Any) -> Run:
    (cell,) = ttsi.evaluate(document(**changed), out=out)
    return open_run(cell.folder)


def plain(out: Path) -> list[Run]:
    return [made(out)]


def none_uncertain(out: Path) -> list[Run]:
    return [made(out, estimator="never")]


def all_uncertain(out: Path) -> list[Run]:
    return [made(out, estimator="always")]


def one_sample(out: Path) -> list[Run]:
    return [made(out, benchmark={"name": "ttsi-fakes/rows", "rows": 1})]


def no_baseline(out: Path) -> list[Run]:
    return [made(out, baseline=False)]


def seeds(out: Path) -> list[Run]:
    return [made(out, estimator="always", seeds=[3, 4, 5])]


def in_context(out: Path) -> list[Run]:
    return [made(out, estimator="always", learner="icl")]


def budget(out: Path) -> list[Run]:
    return [made(out, budget=0.25)]


def cells(out: Path) -> list[Run]:
    found = ttsi.evaluate(document(matrix={"/estimator": ["always", "never"]}), out=out)
    return [open_run(cell.folder) for cell in found]


def all_errors(out: Path) -> list[Run]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ttsi_fakes.ScriptedEngine, "generate", _fails(lambda request: True))
        return [made(out)]


def some_errors(out: Path) -> list[Run]:
    with pytest.MonkeyPatch.context() as patch:
        failing = _fails(lambda request: "City3?" in request.prompt.messages[-1].content)
        patch.setattr(ttsi_fakes.ScriptedEngine, "generate", failing)
        return [made(out, estimator="always")]


def unfinished(out: Path) -> list[Run]:
    folder = made(out, estimator="always").folder
    seed = folder / "seed-0"
    (seed / "manifest.json").unlink()
    lines = (seed / "samples.jsonl").read_text().splitlines(keepends=True)
    (seed / "samples.jsonl").write_text("".join(lines[:5]) + '{"id": "torn')
    return [open_run(folder)]


def nothing_yet(out: Path) -> list[Run]:
    (run,) = unfinished(out)
    (run.folder / "seed-0" / "samples.jsonl").write_text("")
    return [open_run(run.folder)]


def no_benchmark(out: Path) -> list[Run]:
    folder = made(out).folder
    path = folder / "seed-0" / "spec.resolved.json"
    spec = json.loads(path.read_text())
    path.write_text(json.dumps(spec | {"benchmark": {"name": "ttsi-fakes/gone"}}))
    return [open_run(folder)]


def other_data(out: Path) -> list[Run]:
    (run,) = plain(out)
    return [_with_records(run, lambda record: replace(record, digest="sha256:other"))]


def hostile(out: Path) -> list[Run]:
    """Return runs whose texts, of model and benchmark, try to inject HTML or are very wide."""
    (run,) = all_uncertain(out)
    answer = answer_with([ToolCall(HOSTILE, {LONG: HOSTILE})])
    bad = Completion(HOSTILE + LONG, answer, 1, 1)

    def soil(record: Any) -> Any:
        scores = {HOSTILE: -1.0, LONG: -2.0}
        example = record.examples[0]
        task = replace(example.task, input=HOSTILE + LONG)
        return replace(
            record,
            id=f"{HOSTILE} {record.id}",
            estimate=replace(record.estimate, scores=scores),
            examples=(replace(example, task=task, text=HOSTILE, answer=answer),),
            rejected=Rejections({HOSTILE: 2}, (Rejected(HOSTILE, HOSTILE + LONG, LONG),)),
            base=bad,
            final=bad,
            final_score=replace(record.final_score, correct=False, detail=HOSTILE + LONG),
            note=HOSTILE,
        )

    soiled = _with_records(run, soil)
    tool = Tool(HOSTILE, LONG, {"properties": {HOSTILE: {"type": LONG, "description": HOSTILE}}})
    soiled.__dict__["samples"] = {
        f"{HOSTILE} {id}": replace(
            sample,
            task=replace(
                sample.task,
                id=f"{HOSTILE} {id}",
                tools=(tool,),
                instruction=HOSTILE,
                input=HOSTILE + LONG,
            ),
            reference=answer,
        )
        for id, sample in run.samples.items()
    }
    digests = {id: sample.digest for id, sample in soiled.samples.items()}
    seen = _with_records(soiled, lambda record: replace(record, digest=digests[record.id]))
    seen.__dict__["samples"] = soiled.samples
    return [seen]


def episodes(out: Path) -> list[Run]:
    return [made(out, estimator="always", benchmark="ttsi-fakes/tours")]


def hostile_episodes(out: Path) -> list[Run]:
    """Return a run of episodes in which all that is said is hostile."""
    (run,) = episodes(out)
    bad = Completion(HOSTILE + LONG, answer_with([ToolCall(HOSTILE, {LONG: HOSTILE})]), 1, 1)

    def soiled(step: Step) -> Step:
        said = tuple(replace(turn, content=HOSTILE + LONG) for turn in step.said)
        turn = step.turn and Score(False, HOSTILE, LONG)
        examples = tuple(
            replace(each, task=replace(each.task, input=LONG + HOSTILE), text=HOSTILE)
            for each in step.examples
        )
        return replace(step, said=said, turn=turn, answer=bad, examples=examples)

    def soil(record: Any) -> Any:
        plays = {
            name: tuple(map(soiled, getattr(record, name))) for name in ("steps", "base_steps")
        }
        score = replace(record.final_score, detail=HOSTILE + LONG)
        return replace(record, final=bad, final_score=score, note=HOSTILE, **plays)

    return [_with_records(run, soil)]


CASES: dict[str, Callable[[Path], list[Run]]] = {
    case.__name__: case
    for case in (
        plain,
        none_uncertain,
        all_uncertain,
        one_sample,
        no_baseline,
        seeds,
        in_context,
        budget,
        cells,
        all_errors,
        some_errors,
        unfinished,
        nothing_yet,
        no_benchmark,
        other_data,
        hostile,
        episodes,
        hostile_episodes,
    )
}


def _with_records(run: Run, change: Callable[[Any], Any]) -> Run:
    seeds = tuple(
        replace(seed, records=tuple(change(record) for record in seed.records))
        for seed in run.seeds
    )
    return replace(run, seeds=seeds)


def _fails(when: Callable[[Request], bool]) -> Callable[..., Any]:
    generate = ttsi_fakes.ScriptedEngine.generate

    def fails(engine: Any, requests: list[Request]) -> Any:
        if any(when(request) for request in requests):
            raise ValueError("the engine broke <b>down</b>")
        return generate(engine, requests)

    return fails


# ---------------------------------------------------------------- reading the page

VOID = {"meta", "link", "input", "br", "img", "hr", "wbr"}
RAW = {"script", "style"}


class Page(HTMLParser):
    """A parsed page; raises AssertionError if its tags do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not RAW & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        """Return the visible text, with single spaces."""
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element with that tag and the wanted attributes."""
        return [
            attrs
            for name, attrs in self.elements
            if name == tag and all(attrs.get(key) == value for key, value in wanted.items())
        ]

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for _, attrs in self.elements if name in (attrs.get("class") or "").split()]
