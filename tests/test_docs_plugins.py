"""The examples of docs/spec.md and docs/plugins.md do what the text says."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from _dists import importable, write_dist
from _specs import clear_environment

from ttsi import hooks
from ttsi.exchange import Message, Request
from ttsi.registry import KINDS
from ttsi.spec import Episodes, load_spec
from ttsi.spec.schema import COMPONENTS, DEFAULTS, compose_schema
from ttsi.testing import FakeEngine, check_plugin
from ttsi.types import Demonstrations, Record, Task, Tool

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    clear_environment(monkeypatch)


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)


def entry_points(toml: str) -> dict[str, str]:
    groups: dict[str, dict[str, Any]] = tomllib.loads(toml)["project"]["entry-points"]
    return {
        group: "\n".join(f"{name} = {origin}" for name, origin in lines.items())
        for group, lines in groups.items()
    }


def test_the_specs_shown_are_sound_and_the_grid_has_nine_cells() -> None:
    cells = [len(load_spec(text)) for text in blocks("spec.md", "json")]
    assert cells == [1, 1, 9, 6]


def defaults(section: str) -> dict[str, str]:
    """Return the defaults in the table of a section of docs/spec.md, by key."""
    text = (DOCS / "spec.md").read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\S+)` \| (.+?) \|", text, flags=re.M)
    return {key: default.strip("`*") for key, default in rows}


def test_the_tables_of_keys_are_complete_and_give_the_defaults() -> None:
    table = defaults("Keys")
    assert set(table) == set(compose_schema()["properties"])
    assert {key: json.loads(table[key]) for key in COMPONENTS if key in DEFAULTS} == DEFAULTS
    told = {key: None if each == "none" else each for key, each in defaults("Episodes").items()}
    assert told == asdict(Episodes())


def test_the_estimator_shown_is_found_and_works(tmp_path: Path) -> None:
    first, _ = blocks("plugins.md", "toml")
    code, *_ = blocks("plugins.md", "python")
    (spec_text,) = blocks("plugins.md", "json")
    write_dist(tmp_path, "acme-doubt", entry_points(first), {"acme_doubt": code})
    with importable(tmp_path):
        spec = load_spec(spec_text)[0]
        assert spec.estimator.name == "acme-doubt/length"
        import acme_doubt

        estimator = acme_doubt.Length(**spec.estimator.options)
        tasks = [Task("a/0", (), "", "x" * 40), Task("a/1", (), "", "x" * 320)]
        estimates = estimator.estimate(tasks, None, 0)
        assert [(e.confidence, e.uncertain) for e in estimates] == [(1.0, False), (0.25, True)]


@pytest.mark.parametrize(
    ("kind", "origin"),
    [("generators", "acme_words:Reworded"), ("inference", "acme_again:Again")],
)
def test_the_whole_plugins_shown_pass_their_contracts(
    kind: str, origin: str, tmp_path: Path
) -> None:
    module, _, name = origin.partition(":")
    (code,) = [each for each in blocks("plugins.md", "python") if f"class {name}:" in each]
    assert f'= "{origin}"` under `ttsi.{kind}`' in (DOCS / "plugins.md").read_text()
    distribution = module.replace("_", "-")
    write_dist(tmp_path, distribution, {f"ttsi.{kind}": f"it = {origin}"}, {module: code})
    with importable(tmp_path):
        outcomes = check_plugin(f"{distribution}/it", kind=kind)
        assert [each for each in outcomes if not each.passed and not each.skipped] == []
        assert sum(each.passed for each in outcomes) > 5


def test_the_inference_shown_asks_again_under_a_grammar(tmp_path: Path) -> None:
    (code,) = [each for each in blocks("plugins.md", "python") if "class Again:" in each]
    write_dist(tmp_path, "acme-again", {}, {"acme_again": code})
    with importable(tmp_path):
        import acme_again

        tool = Tool("ring", "Ring a bell", {"type": "object", "properties": {}})
        tasks = [Task("a/0", (tool,), "", "Ring once."), Task("a/1", (tool,), "", "Ring twice.")]
        call = '[{"name": "ring", "arguments": {}}]'
        asked: list[Request] = []

        def script(request: Request) -> str:
            asked.append(request)
            return call if "once" in request.prompt.messages[-1].content else "[{"

        shown = Demonstrations.of([((Message("user", "Ring."),), call)])
        acme_again.Again().answer(tasks, [shown, None], FakeEngine(script=script), 0)
        first, second, again = asked
        assert [turn.content for turn in first.prompt.messages] == ["Ring.", call, "Ring once."]
        assert (first.grammar, second.grammar) == (None, None)
        assert again.prompt == second.prompt
        assert again.grammar is not None


def test_the_watcher_shown_watches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, second = blocks("plugins.md", "toml")
    *_, code = blocks("plugins.md", "python")
    write_dist(tmp_path, "acme-watch", entry_points(second), {"acme_watch": code})
    with importable(tmp_path):
        hooks.Hooks().sample_finished(Record(id="a/0", digest="", seed=0, adapted=True))
    assert capsys.readouterr().out == "a/0 adapted\n"


def test_every_hook_and_kind_is_told() -> None:
    text = (DOCS / "plugins.md").read_text()
    specs = [n for n in vars(hooks.Hookspecs) if n.startswith("ttsi_")]
    assert len(specs) == 4
    for name in specs:
        arguments = list(inspect.signature(getattr(hooks.Hookspecs, name)).parameters)
        assert f"`{name}({', '.join(a for a in arguments if a != 'self')})`" in text
    assert all(f"`{kind}`" in text for kind in KINDS)
