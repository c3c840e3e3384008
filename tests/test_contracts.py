"""The contract checks: the built-in plugins pass them, and each finds the plugin that breaks it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import wrong_anywhere
import wrong_data
import wrong_episodes  # noqa: F401
import wrong_forms
import wrong_stages
import wrong_workers
from _dists import LOSSY, SOUND, importable, write_dist
from teacher_server import Asked, Reply, TeacherServer, chat, surroundings
from tiny_model import write_folder
from wrong import WRONG, Sound, Wrong

from ttsi import registry
from ttsi.errors import PluginError, UsageError
from ttsi.testing import FakeBenchmark, FakeEngine, check_class, check_plugin, checks_for, contract
from ttsi.testing.running import kind_of, run_check, subject_of
from ttsi.testing.subject import STAGES, Subject
from ttsi.types import Message, Prompt, Request, Sampling

LIGHT = {
    **{kind: [n for n, p in registry.discover(kind).items() if p.builtin] for kind in STAGES},
    "answers": list(registry.discover("answers")),
    "scorers": list(registry.discover("scorers")),
    "benchmarks": ["quickstart", "toolalpaca"],
    "executors": ["local"],
}
"""What runs on the fakes. Scorers are all that are installed, whoever wrote them."""

EPISODES = {check.name for check in checks_for("benchmarks") if check.name.startswith("episode")}
# FakeEngine's answers neither agree nor repeat the request, so none of them is evidence.
SKIPPED = {
    "local": {"portable"},
    "toolalpaca": {"train", *EPISODES},
    "quickstart": EPISODES,
    "evidence": {"results"},
}
OUT_OF_REACH = [("generators", "teacher"), ("executors", "ray")] + [
    ("engines", name) for name in sorted(registry.discover("engines"))
]
DOCS = Path(__file__).parent.parent / "docs"
PAGE, PLUGINS = (DOCS / "testing.md").read_text(), (DOCS / "plugins.md").read_text()
AT_REST = ("import-cost", "options-schema", "options-described", "options-closed")

LIGHT["generators"].remove("teacher")


def states(outcomes: list[Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"passed": set(), "failed": set(), "skipped": set()}
    for outcome in outcomes:
        found[outcome.state].add(outcome.check.name)
    return found


def at_rest(subject: Subject) -> None:
    """Skip the check in another process, which is slow to start and finds nothing here."""
    vars(subject)["elsewhere"] = {"heavy": [], "changed": [], "made": None}


# ---------------------------------------------------------------- what is built in


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in LIGHT.items() for name in names]
)
def test_what_is_installed_keeps_its_contract(kind: str, name: str) -> None:
    outcomes = check_plugin(name, {}, kind)
    assert [(o.check.name, o.message) for o in outcomes if not o.passed] == []
    assert states(outcomes)["skipped"] == SKIPPED.get(name, set())
    assert len(outcomes) == len(checks_for(kind))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("direct", {"format": "tool_calls"}),
        ("icl", {"target": "tool_call"}),
        ("lora_sft", {"target": "as_answered", "active_from": "user_turn"}),
        ("rss_margin", {"context": "as_answered", "no_call_candidate": True}),
        ("self", {"format": "json", "prompt": "seed_first", "samples": 3}),
        ("self_consistency", {"format": "tool_calls"}),
        ("call_support", {"support": "lexical", "format": "tool_calls"}),
        ("pruned", {"support": "lexical", "format": "tool_calls", "decoding": "greedy"}),
        ("evidence", {"labels": 1, "support": "off", "most_overlap": 1, "samples": 3}),
    ],
)
def test_other_options_keep_the_contract_too(name: str, options: dict[str, Any]) -> None:
    subject = subject_of(name, options)
    at_rest(subject)
    outcomes = [run_check(check, subject) for check in checks_for(subject.kind)]
    assert [(o.check.name, o.message) for o in outcomes if o.state != "passed"] == []


def test_the_teacher_keeps_its_contract_with_an_endpoint_to_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surroundings(monkeypatch, tmp_path)

    def answer(asked: Asked) -> Reply:
        turns = tuple(Message(m["role"], m["content"]) for m in asked.body["messages"])
        request = Request(Prompt(turns), Sampling(), asked.body["seed"])
        return chat(FakeEngine().generate([request])[0].text)

    with TeacherServer(answer) as server:
        options = {"base_url": server.url, "retries": 0, "cache": False}
        outcomes = check_plugin("teacher", options)
    assert [(o.check.name, o.message) for o in outcomes if o.state != "passed"] == []


@pytest.mark.parametrize(("kind", "name"), OUT_OF_REACH)
def test_what_needs_more_than_fakes_keeps_what_can_be_seen_at_rest(kind: str, name: str) -> None:
    subject = subject_of(name, {}, kind)
    for check in checks_for(kind):
        if check.name in AT_REST:
            outcome = run_check(check, subject)
            assert (outcome.state, outcome.message) == ("passed", "")


def test_the_fakes_keep_the_contract_of_what_they_stand_for() -> None:
    engine = states(check_class("engines", FakeEngine, {"model": "fake"}))
    assert (engine["failed"], engine["skipped"]) == (set(), {"refusals"})
    benchmark = states(check_class("benchmarks", FakeBenchmark, name="fake"))
    assert (benchmark["failed"], benchmark["skipped"]) == (set(), EPISODES)


# ---------------------------------------------------------------- each check finds its fault


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.check}-{wrong.plugin.__name__}")
def test_a_plugin_that_is_wrong_in_one_way_fails_the_one_check(
    wrong: Wrong, request: pytest.FixtureRequest
) -> None:
    wrong_anywhere.HELD.clear()
    request.addfinalizer(wrong_anywhere.HELD.set)
    options = {"model": "fake"} if wrong.kind == "engines" else {}
    subject = Subject(wrong.kind, "fake", wrong.plugin, options)
    if wrong.check not in ("determinism", "stable"):
        at_rest(subject)
    outcomes = [run_check(check, subject) for check in checks_for(wrong.kind)]
    assert states(outcomes)["failed"] == {wrong.check, *wrong.also}
    told = {outcome.check.name: outcome.message for outcome in outcomes if not outcome.passed}
    assert re.search(wrong.message, told[wrong.check]), told
    assert wrong.plugin.__qualname__ in told[wrong.check]


def test_what_the_wrong_ones_are_made_of_is_right() -> None:
    sound = {
        "estimators": Sound,
        "generators": wrong_stages.Writer,
        "learners": wrong_stages.Teacher,
        "inference": wrong_stages.Answerer,
        "answers": wrong_forms.Colour,
        "benchmarks": wrong_data.Rows,
        "scorers": wrong_data.Scorer,
        "executors": wrong_workers.Runs,
    }
    for kind, plugin in sound.items():
        assert states(check_class(kind, plugin, name="fake"))["failed"] == set(), kind


IN_A_MODULE = {
    "import-cost": ("import jinja2\n", "importing its module imports jinja2"),
    "global-state": ("import random\nrandom.seed(3)\n", "importing its module changed the state"),
}


@pytest.mark.parametrize("check", IN_A_MODULE)
def test_what_importing_costs_and_changes_is_found(check: str, tmp_path: Path) -> None:
    code, message = IN_A_MODULE[check]
    write_dist(tmp_path, "acme", {"ttsi.estimators": "mine = acme_mine:Mine"},
               {"acme_mine": code + SOUND})  # fmt: skip
    with importable(tmp_path):
        outcomes = check_plugin("acme/mine")
    assert states(outcomes)["failed"] == {check}
    assert message in next(outcome.message for outcome in outcomes if not outcome.passed)


def test_every_check_has_a_plugin_that_it_fails() -> None:
    shown = {(wrong.kind, wrong.check) for wrong in WRONG}
    for kind in registry.KINDS:
        for check in checks_for(kind):
            # Those that all kinds, or all stages, have in common are shown on some stage.
            places = {(kind, check.name)}
            if check in checks_for("estimators"):
                places |= {(stage, check.name) for stage in STAGES}
            assert places & shown or check.name in IN_A_MODULE, (kind, check.name)


def test_a_method_with_other_arguments_is_told_of() -> None:
    class Unseeded(Sound):
        def estimate(self, tasks: Any, engine: Any) -> Any:  # type: ignore[override]
            return []

    outcomes = check_class("estimators", Unseeded)
    assert {"protocol", "parallel"} <= states(outcomes)["failed"]
    (told,) = [outcome.message for outcome in outcomes if outcome.check.name == "protocol"]
    assert "estimate() does not take (tasks, engine, seed): too many positional" in told


@pytest.mark.parametrize("kind", registry.KINDS)
def test_checks_are_named_once_and_say_why_in_a_sentence(kind: str) -> None:
    names = [check.name for check in checks_for(kind)]
    assert len(set(names)) == len(names)
    assert all(check.why.endswith(".") and len(check.why) > 20 for check in checks_for(kind))


# ---------------------------------------------------------------- by name, and in pytest


test_contract_here = contract("rss_margin", threshold=0.5)
test_contract_of_its_kind = contract("direct", "inference", decoding="greedy")


def test_names_are_found_in_their_kind_or_told_of() -> None:
    assert kind_of("rss_margin") == "estimators"
    with pytest.raises(UsageError, match='Did you mean "rss_margin"'):
        kind_of("rss_margn")
    with pytest.raises(UsageError, match='no plugin "direct" among the estimators'):
        check_plugin("direct", kind="estimators")
    with pytest.raises(UsageError, match="threshold: 5 is greater than the maximum"):
        check_plugin("rss_margin", {"threshold": 5})
    with pytest.raises(UsageError, match="'treshold' was unexpected"):
        check_plugin("rss_margin", {"treshold": 5})
    with pytest.raises(UsageError, match='Did you mean "engines"'):
        checks_for("engine")


def test_a_name_in_two_kinds_needs_the_kind(tmp_path: Path) -> None:
    groups = dict.fromkeys(("ttsi.estimators", "ttsi.learners"), "mine = acme_mine:Mine")
    write_dist(tmp_path, "acme", groups, {"acme_mine": SOUND})
    with importable(tmp_path):
        with pytest.raises(UsageError, match="of several kinds: estimators, learners"):
            kind_of("acme/mine")
        assert kind_of("acme/mine", "learners") == "learners"
        with pytest.raises(PluginError, match="lacks the method learn"):
            check_plugin("acme/mine", kind="learners")


def test_the_pytest_plugin_imports_next_to_nothing() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import ttsi.testing.pytest_plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version = ["ttsi._common", "ttsi._common.version"]
    wanted = ["ttsi", *version, "ttsi.testing", "ttsi.testing.pytest_plugin"]
    assert done.stdout.split() == wanted


def run_pytest(folder: Path) -> str:
    """Return what pytest prints for the tests in `folder`, whose packages it can import."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    if not any(entry.name == "ttsi" for entry in entry_points(group="pytest11")):
        argv += ["-p", "ttsi.testing.pytest_plugin"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_a_strangers_test_file_says_what_is_broken_and_why(tmp_path: Path) -> None:
    write_dist(tmp_path, "acme", {"ttsi.estimators": "mine = acme_mine:Mine"}, {"acme_mine": LOSSY})
    (tmp_path / "test_acme.py").write_text(
        'from ttsi.testing import contract\n\ntest_contract = contract("acme/mine", depth=3)\n'
    )
    told = run_pytest(tmp_path)
    assert f"1 failed, {len(checks_for('estimators')) - 4} passed, 3 skipped" in told
    assert "acme_mine:Mine: 0 results for 1 tasks" in told
    assert "parallel: Results are matched to tasks by their place in the list." in told


def test_the_test_file_on_the_page_passes(tmp_path: Path) -> None:
    (package,) = re.findall(r"^```toml\n(.*?acme-doubt.*?)^```", PLUGINS, flags=re.M | re.S)
    module, *_ = re.findall(r"^```python\n(.*?)^```", PLUGINS, flags=re.M | re.S)
    test, _ = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.M | re.S)
    groups = tomllib.loads(package)["project"]["entry-points"]
    lines = {
        group: "\n".join(f"{name} = {origin}" for name, origin in given.items())
        for group, given in groups.items()
    }
    write_dist(tmp_path, "acme-doubt", lines, {"acme_doubt": module, "test_acme_doubt": test})
    assert f"{len(checks_for('estimators')) + 1} passed" in run_pytest(tmp_path)


def test_the_tables_on_the_page_are_those_of_the_checks() -> None:
    tables = re.findall(r"^### (.+)\n\n((?:\|.*\n)+)", PAGE, flags=re.M)
    rows = {
        title: re.findall(r"^\| `(.+?)` \| (.+) \|$", table, flags=re.M) for title, table in tables
    }
    common = [check for check in checks_for("executors") if check in checks_for("benchmarks")]
    assert rows.pop("Every plugin") == [(check.name, check.why) for check in common]
    kinds = [kind for title in rows for kind in title.lower().split(", ")]
    assert sorted(kinds) == sorted(registry.KINDS)
    for title, told in rows.items():
        for kind in title.lower().split(", "):
            own = [check for check in checks_for(kind) if check not in common]
            assert told == [(check.name, check.why) for check in own]


# ---------------------------------------------------------------- a real engine


@pytest.mark.slow
def test_the_transformers_engine_keeps_its_contract(tmp_path: Path) -> None:
    """Checked on a tiny model in the fast mode; tests/test_native_mode.py has the other one."""
    folder = write_folder(tmp_path / "model")
    outcomes = check_plugin("transformers", {"model": str(folder), "device": "cpu"})
    assert [(o.check.name, o.message) for o in outcomes if not o.passed] == []
    assert states(outcomes)["skipped"] == {"refusals"}
