"""Optional members of plugins: used by name, and reported if misspelt."""

from __future__ import annotations

from pathlib import Path

import pytest
from _dists import importable, write_dist

from ttsi import optional, registry
from ttsi._common.suggest import slip
from ttsi.cli.main import main
from ttsi.errors import PluginError

LEARNER = """
from typing import ClassVar

class Mine:
    needs: ClassVar[frozenset[str]] = frozenset()
    needs_base = False
    {line}

    def learn(self, tasks, examples, base, engine, seed):
        return []
"""


def misspelt(folder: Path, line: str) -> Path:
    points = {"ttsi.learners": "mine = acme_learner:Mine"}
    return write_dist(folder, "acme", points, {"acme_learner": LEARNER.format(line=line)})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("need_examples = False", "need_examples (did you mean needs_examples?)"),
        ("def teech(self, train): ...", "teech (did you mean teach?)"),
        ("needs_trian = True", "needs_trian (did you mean needs_train?)"),
    ],
)
def test_a_misspelt_member_is_an_error_wherever_the_plugin_is_named(
    line: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(
        '{"name": "x", "model": {"id": "m"}, "benchmark": "quickstart", "estimator": "always",'
        ' "generator": "self", "learner": "acme/mine", "inference": "direct"}'
    )
    with importable(misspelt(tmp_path, line)):
        with pytest.raises(PluginError) as refused:
            registry.load("learners", "acme/mine")
        assert told in str(refused.value)
        assert main(["plugins", "check", "acme/mine"]) != 0
        assert told in capsys.readouterr().err
        assert main(["validate", str(spec)]) != 0
        assert told in "".join(capsys.readouterr())


@pytest.mark.parametrize("line", ["needs_examples = False", "sauce = 1", "def search(self): ..."])
def test_members_of_its_own_are_a_plugins_own_matter(line: str, tmp_path: Path) -> None:
    with importable(misspelt(tmp_path, line)):
        registry.load("learners", "acme/mine")


def test_what_is_not_chosen_is_what_the_protocol_says() -> None:
    class Plain: ...

    class Rows:
        needs_examples = False

    asked = optional.LearnsFromRows
    assert optional.chosen(Plain(), asked, "needs_examples") is True
    assert optional.chosen(Rows(), asked, "needs_examples") is False
    with pytest.raises(AttributeError, match="need_examples"):
        optional.chosen(Rows(), asked, "need_examples")


def test_a_slip_is_a_letter() -> None:
    names = ["needs_examples", "needs_train", "source", "teach", "train", "version"]
    slips = {"need_example": "needs_examples", "teech": "teach", "verison": "version"}
    assert {word: slip(word, names) for word in slips} == slips
    others = ("search", "trained", "resource", "samples")
    assert {slip(word, names) for word in others} == {None}
