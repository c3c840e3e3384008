"""`ttsi plugins`: the list of plugins, and `ttsi plugins check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from _dists import LOSSY, SOUND, importable, write_dist

from ttsi.cli import main as cli
from ttsi.testing import checks_for


def test_the_verb_prints_a_table_and_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plugins", "check", "rss_margin", "--set", "threshold=0.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["check", "state", "why"]
    assert [line.split()[:2] for line in lines[1:-1]] == [
        [check.name, "passed"] for check in checks_for("estimators")
    ]
    assert lines[-1] == f"{len(checks_for('estimators'))} passed, 0 failed, 0 skipped"


def test_the_verb_fails_with_what_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dist(tmp_path, "acme", {"ttsi.estimators": "mine = acme_mine:Mine"}, {"acme_mine": LOSSY})
    with importable(tmp_path):
        assert cli.main(["plugins", "check", "acme/mine", "--json", "--set", "depth=4"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["plugin"], told["options"]) == (
        "estimators",
        "acme/mine",
        {"depth": 4},
    )
    failed = [check for check in told["checks"] if check["state"] == "failed"]
    assert [check["check"] for check in failed] == ["parallel"]
    assert failed[0]["message"] == "acme_mine:Mine: 0 results for 1 tasks"


def test_the_verb_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert cli.main(["plugins", "check", "teacher"]) == 5
    out = capsys.readouterr().out
    assert "0 failed" in out
    assert "wave skipped The teacher's" in " ".join(out.split())


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["check"], 2, "Name the plugin to check."),
        (["check", "rss_margn"], 2, 'Did you mean "rss_margin"?'),
        (["check", "rss_margin", "--set", "threshold"], 2, "is not KEY=VALUE"),
        (["check", "rss_margin", "--set", "threshold=9"], 2, "greater than the maximum"),
        (["check", "rss_margin", "--kind", "learner"], 2, "among the learners"),
        (["estimators", "rss_margin", "--set", "a=1"], 2, "belong to `ttsi plugins check`"),
        (["--set", "a=1"], 2, "belong to `ttsi plugins check`"),
    ],
)
def test_the_verb_refuses_what_cannot_be_meant(
    argv: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plugins", *argv]) == code
    assert message in capsys.readouterr().err


def test_json_tells_options_and_where_the_code_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dist(tmp_path, "acme", {"ttsi.estimators": "mine = acme_mine:Mine\nlost = gone_mod:X"},
               {"acme_mine": SOUND})  # fmt: skip
    with importable(tmp_path):
        assert cli.main(["plugins", "estimators", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["plugins"]}
    assert rows["acme/mine"]["path"] == str(tmp_path)
    assert rows["acme/mine"]["options"]["properties"]["depth"]["default"] == 2
    assert rows["acme/lost"]["path"] == ""
    assert (Path(rows["rss_margin"]["path"]) / "ttsi_plugins").is_dir()
