"""The documentation is true: links resolve, specs validate, commands exist, pages are current."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)")

sys.path.insert(0, str(ROOT / "docs"))


def fences(language: str) -> list[tuple[Path, str]]:
    found = [(page, fence) for page in PAGES for fence in FENCE.findall(page.read_text())]
    return [(page, text) for page, (kind, text) in found if kind == language]


def test_there_are_pages() -> None:
    assert len(PAGES) >= 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text()) if "://" not in target]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


def test_generated_pages_are_current() -> None:
    import generate

    for page, text in generate.pages().items():
        assert page.read_text() == text, f"{page.name}: run `make docs`"


def test_results_are_of_forty_samples_a_benchmark_at_least() -> None:
    import generate
    from stored import OLD

    old = generate.stored_runs(OLD)
    counts = {results["benchmark"]: results["samples"] for results, _ in old}
    assert {"sealtool", "nexusraven", "apibank", "toolalpaca", "quickstart"} <= set(counts)
    assert all(count >= 40 for name, count in counts.items() if name != "quickstart")


def test_results_of_this_version_are_of_a_hundred_samples_and_two_models() -> None:
    import generate
    from stored import RESULTS

    runs = [results for results, _ in generate.stored_runs(RESULTS)]
    assert all(results["samples"] >= 100 for results in runs)
    assert {(r["benchmark"], r["model"]) for r in runs} >= {
        ("gsm8k", "qwen2.5-coder-0.5b.gguf"),
        ("bbh", "smollm2-135m"),
        ("bbh", "qwen2.5-coder-0.5b.gguf"),
    }


def test_specs_in_the_repository_validate() -> None:
    from ttsi import load_spec

    paths = sorted((ROOT / "specs").glob("**/*.json"))
    assert len(paths) >= 5
    for path in paths:
        assert load_spec(path, benchmark=not path.name.startswith("serve-"))


def test_specs_on_the_pages_validate() -> None:
    from ttsi.spec import validate

    documents = [json.loads(text) for _, text in fences("json")]
    # Those that name the example package are run by tests/test_docs_plugins.py, which installs it.
    specs = [
        document
        for document in documents
        if "benchmark" in document and "acme-doubt" not in json.dumps(document)
    ]
    assert len(specs) >= 3
    for spec in specs:
        assert validate(spec) == []


def test_commands_on_the_pages_are_ones() -> None:
    from ttsi.cli.main import VERBS

    lines = [line.strip() for _, text in fences("bash") for line in text.splitlines()]
    calls = [shlex.split(line, comments=True) for line in lines if line.startswith("ttsi ")]
    assert len(calls) >= 4
    for call in calls:
        assert call[1] in VERBS or call[1].startswith("-"), call
        for word in call:
            if word.startswith("specs/"):
                assert (ROOT / word).exists(), word


def test_make_targets_on_the_pages_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {name for page in PAGES for name in re.findall(r"`make (\w+)", page.read_text())}
    assert named >= {"quickstart", "test"}
    for name in named:
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name


def test_every_plugin_is_told_of() -> None:
    from ttsi import registry

    text = "\n".join(page.read_text() for page in PAGES)
    for kind in registry.KINDS:
        for name, plugin in registry.discover(kind).items():
            if plugin.builtin:
                assert f"`{name}`" in text, f"{kind}: {name}"
