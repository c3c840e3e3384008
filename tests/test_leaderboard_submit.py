"""Submitting: which files are included, what is refused, and what a board shows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import reports
from jsonschema import Draft202012Validator
from submissions import edit, entry, faults, read, submit_run, submitted, write

import ttsi
import ttsi_fakes
from ttsi.cli.main import main
from ttsi.errors import UsageError, VerificationError
from ttsi.leaderboard.boards import boards
from ttsi.leaderboard.comparable import board_options, method_settings, scorer_options, selection
from ttsi.leaderboard.publishing import error_kind
from ttsi.leaderboard.submission import CONTENT, slug
from ttsi.records import provenance
from ttsi.results.comparison import compare
from ttsi.results.runs import open_run
from ttsi.spec import load_spec, resolved
from ttsi.types import Request

SCHEMAS = Path(ttsi.__file__).parent / "schemas"
ROWS = {"name": "ttsi-fakes/rows", "rows": 6}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(root: Path) -> Path:
    return reports.made(root, benchmark=ROWS, seeds=[1, 2]).folder


def of_entry(value: Any) -> list[str]:
    schema = json.loads((SCHEMAS / "board.schema.json").read_text())
    ground = {key: value[key] for key in ("benchmark", "options", "scorer", "revision")}
    board = {"schema": "ttsi.board/1", **ground, "entries": [value], "partial": []}
    return [error.message for error in Draft202012Validator(schema).iter_errors(board)]


def test_a_submission_lies_where_it_belongs_and_holds_no_more(run: Path, tmp_path: Path) -> None:
    made = submit_run(run, tmp_path)
    assert made.folder.parts[-5:-1] == (
        "leaderboards",
        "submissions",
        "ttsi-fakes-rows",
        "acme__tt-si__scripted",
    )
    files = {*CONTENT, "manifest.json"}
    assert set(made.files) == {
        "submission.json",
        *(f"seed-{seed}/{name}" for seed in (1, 2) for name in files),
    }
    for name in made.files:
        assert (made.folder / name).stat().st_size == made.files[name]
    submissions = tmp_path / "leaderboards" / "submissions"
    assert [path.name for path in submissions.iterdir()] == ["ttsi-fakes-rows"]
    schema = json.loads((SCHEMAS / "submission.schema.json").read_text())
    assert Draft202012Validator(schema).is_valid(read(made.folder / "submission.json"))
    assert of_entry(made.entry) == []
    assert entry(made.folder) == made.entry
    assert set(made.entry["files"]) == set(made.files)
    assert made.folder == tmp_path / "leaderboards" / made.entry["path"]


def test_an_entry_s_numbers_are_those_of_the_run(run: Path, tmp_path: Path) -> None:
    found = submit_run(run, tmp_path).entry
    opened = open_run(run)
    shares = [seed.results["accuracy"] for seed in opened.seeds]
    bases = [seed.results["base"]["accuracy"] for seed in opened.seeds]
    assert found["accuracy"]["mean"] == pytest.approx(sum(shares) / 2)
    assert found["base_accuracy"]["mean"] == pytest.approx(sum(bases) / 2)
    assert found["difference"]["mean"] == pytest.approx((sum(shares) - sum(bases)) / 2)
    assert found["seconds_per_sample"] * 12 == pytest.approx(
        sum(seed.results["stages"]["seconds"] for seed in opened.seeds)
    )
    assert (found["seeds"], found["samples"], found["errors"]) == (2, 6, 0)
    assert found["settings"] == {"inference.decoding": "greedy"}
    for key in ("accuracy", "base_accuracy"):
        assert 0 <= found[key]["low"] <= found[key]["mean"] <= found[key]["high"] <= 1


@pytest.mark.parametrize(
    "changed",
    [
        {"estimator": "never"},
        {"estimator": "always", "seeds": [1, 2, 3]},
    ],
    ids=json.dumps,
)
def test_entries_of_other_runs_fit_the_schema(changed: dict[str, Any], tmp_path: Path) -> None:
    found = entry(submitted(tmp_path, benchmark=ROWS, **changed))
    assert of_entry(found) == []
    if changed["estimator"] == "never":
        assert found["difference"] == {"mean": 0, "low": 0, "high": 0}
        assert found["p"] == 1


def test_settings_are_what_is_not_the_default() -> None:
    (spec,) = load_spec(
        {
            "benchmark": "quickstart",
            "estimator": {"name": "always"},
            "learner": {"name": "lora_sft", "rank": 16, "alpha": 16.0, "epochs": 3},
        }
    )
    assert method_settings(resolved(spec)) == {"estimator": "always", "learner.rank": 16}


def test_a_submission_can_be_compared_with_a_run(run: Path, tmp_path: Path) -> None:
    """Whoever repeats a run can compare it sample by sample."""
    again = reports.made(tmp_path, benchmark=ROWS, seeds=[1, 2])
    found = compare(open_run(submit_run(run, tmp_path).folder), again)
    assert (found["fixed"], found["broken"]) == (0, 0)
    assert found["a"]["complete"]


def test_a_submission_can_be_reported_on(run: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert main(["report", str(submit_run(run, tmp_path).folder), "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert ttsi.__version__ in text
    assert open_run(run).seeds[0].results["spec_digest"] in text


def test_no_reference_and_no_message_goes_in(tmp_path: Path) -> None:
    (failed,) = reports.some_errors(tmp_path / "runs")
    wrong = reports.made(tmp_path / "runs", estimator="never")
    details = [r.final_score.detail for r in wrong.seeds[0].records if r.final_score]
    assert any("get_weather" in detail for detail in details)
    text = (submit_run(wrong.folder, tmp_path).folder / "seed-0/samples.jsonl").read_text()
    assert "expected" not in text
    made = submit_run(failed.folder, tmp_path)
    text = (made.folder / "seed-0/samples.jsonl").read_text()
    assert "broke" not in text
    assert '"error": "answer: ValueError"' in text
    assert made.entry["errors"] == 1
    assert made.entry["accuracy"]["mean"] == failed.seeds[0].results["accuracy"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("", ""),
        ("learn: ValueError: /home/jane/x", "learn: ValueError"),
        (": EngineError: no", ": EngineError"),
        ("the worker died", "the"),
        ("!", "error"),
    ],
)
def test_of_an_error_stage_and_type_are_kept(error: str, kind: str) -> None:
    assert error_kind(error) == kind
    assert error_kind(kind) == kind


def test_examples_that_repeat_the_benchmark_are_withheld(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = ttsi_fakes.ScriptedEngine.generate

    def copies(engine: Any, requests: list[Request]) -> Any:
        made = generate(engine, requests)
        for at, request in enumerate(requests):
            text = request.prompt.messages[-1].content
            if ttsi_fakes.WRITING in text and "City3?" in text:
                call = {"name": "get_weather", "arguments": {"city": "City3"}}
                words = "Tell me: what is the weather in City3?"
                text = json.dumps({"input": words, "output": [call]})
                made[at] = type(made[at])(text, 10, 5, -1.0, "stop")
        return made

    monkeypatch.setattr(ttsi_fakes.ScriptedEngine, "generate", copies)
    run = reports.made(tmp_path / "runs", estimator="always", benchmark=ROWS)
    made = submit_run(run.folder, tmp_path)
    rows = read(made.folder / "seed-0/samples.jsonl")
    before = run.seeds[0].records[3].examples[0]
    (example,) = rows[3]["examples"]
    assert (example["input"], example["text"]) == ("", "")
    assert example["answer"] == {"status": "declined", "value": None, "work": ""}
    assert example["digest"] == before.digest == rows[3]["receipt"]["examples"][0]
    assert all(row["examples"][0]["text"] for row in rows if row is not rows[3])
    assert "1 of 6 examples withheld: they repeat benchmark text" in made.entry["notes"]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "who", ["acme", "a/b/c", "/x", "../x", "a/..", "a b/c", "a/" + "b" * 41, "a__b/c", "-a/b"]
)
def test_names_are_checked(who: str, run: Path, tmp_path: Path) -> None:
    code = ["leaderboard", "submit", str(run), "--to", str(tmp_path), "--as", who]
    assert main(code) == 2
    assert not list(tmp_path.iterdir())


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    (run,) = reports.unfinished(tmp_path / "runs")
    with pytest.raises(UsageError, match="not finished"):
        submit_run(run.folder, tmp_path)


def test_a_run_that_was_changed_is_refused(tmp_path: Path) -> None:
    run = reports.made(tmp_path / "runs", benchmark=ROWS).folder
    path = run / "seed-0" / "results.json"
    path.write_text(path.read_text().replace("scripted", "scripteD"))
    with pytest.raises(VerificationError, match="not as it was"):
        submit_run(run, tmp_path)


def test_a_faulty_run_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe = ttsi_fakes.ScriptedEngine.describe
    told = {"log": "/home/jane/engine.log", "versions": {"torch": "0"}}
    monkeypatch.setattr(ttsi_fakes.ScriptedEngine, "describe", lambda e: describe(e) | told)
    run = reports.made(tmp_path / "runs", benchmark=ROWS).folder
    with pytest.raises(VerificationError, match=r"no file was written") as caught:
        submit_run(run, tmp_path)
    assert "a path of one machine" in str(caught.value)
    assert not list((tmp_path / "leaderboards/submissions").iterdir())


def test_a_run_with_the_same_records_goes_in_once(run: Path, tmp_path: Path) -> None:
    submit_run(run, tmp_path)
    with pytest.raises(UsageError, match="submitted as this method before"):
        submit_run(run, tmp_path)


@pytest.mark.parametrize("model", ["mine", "./mine", "models/mine.gguf"])
def test_a_model_of_this_machine_is_refused(model: str, run: Path, tmp_path: Path) -> None:
    """It is refused even if the file no longer exists."""
    source = tmp_path / run.name
    shutil.copytree(run, source)
    for seed in source.glob("seed-*"):
        own = {"engine": {"name": "transformers"}, "model": {"id": model}}
        edit(seed, "spec.resolved.json", lambda spec, own=own: spec | own)
        write(seed / "manifest.json", provenance.manifest(seed))
    with pytest.raises(UsageError, match="nobody else"):
        submit_run(source, tmp_path)


def test_an_engine_of_a_third_party_may_name_models_as_it_likes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    run = reports.made(tmp_path / "runs", benchmark=ROWS, model={"id": "mine"})
    assert submit_run(run.folder, tmp_path).entry["model"] == "mine"


def test_a_benchmark_of_a_third_party_needs_a_flag(run: Path, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="third party") as caught:
        submit_run(run, tmp_path, third_party=False)
    assert "--third-party" in caught.value.cure


def test_a_dry_run_writes_nothing(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["leaderboard", "submit", str(run), "--to", str(tmp_path / "to"), "--as", "acme/x"]
    assert main([*words, "--dry-run", "--third-party"]) == 0
    assert "verified, not written" in capsys.readouterr().out
    assert main([*words, "--dry-run", "--third-party", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert of_entry(told["entry"]) == []
    assert not (tmp_path / "to").exists()
    assert main([*words, "--third-party"]) == 0
    assert Path(told["folder"]).parent.is_dir()
    assert faults(Path(told["folder"])) == []


def test_one_seed_of_a_run_can_be_submitted(run: Path, tmp_path: Path) -> None:
    assert submit_run(run / "seed-2", tmp_path).entry["seeds"] == 1


def test_the_schemas_are_published(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("submission", "board"):
        assert main(["schema", name]) == 0
        printed = json.loads(capsys.readouterr().out)
        Draft202012Validator.check_schema(printed)
        assert printed["$id"] == f"ttsi.{name}/1"


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"limit": None, "select": "even", "ids": None}, "all"),
        ({"limit": 50, "select": "even", "ids": None}, "limit=50, select=even"),
        ({"ids": ["b/1", "b/7"]}, 'ids=["b/1", "b/7"]'),
        ({"rows": 6}, "all"),
    ],
)
def test_a_selection_is_told(options: dict[str, Any], words: str) -> None:
    assert selection({"name": "b", **options}) == words


@pytest.mark.parametrize(
    ("benchmark", "made"),
    [
        ({"name": "quickstart", "limit": 5, "select": "first", "ids": None}, {}),
        (
            {"name": "sealtool_full", "distractors": 4, "kinds": ["nested", "single", "multiple"]},
            {},
        ),
        ({"name": "sealtool_full", "distractors": 8, "limit": 9}, {"distractors": 8}),
        ({"name": "sealtool_full", "split": "dev"}, {"split": "dev"}),
        ({"name": "apibank", "levels": [2, 1]}, {}),
        ({"name": "bfcl", "categories": ["irrelevance"]}, {"categories": ["irrelevance"]}),
        ({"name": "acme/rows", "rows": 6, "limit": 2}, {"rows": 6}),
        ({"name": "no-such-benchmark", "rows": 6}, {"rows": 6}),
    ],
    ids=json.dumps,
)
def test_options_that_change_what_is_asked_make_a_board(benchmark: Any, made: Any) -> None:
    assert board_options(benchmark) == made


def test_another_way_of_scoring_makes_a_board() -> None:
    (spec,) = load_spec({"benchmark": "bfcl"})
    given = resolved(spec)
    assert scorer_options(given) == {}
    assert scorer_options(given | {"scorer": given["scorer"] | {"trim": True}}) == {"trim": True}
    del given["scorer"]["fold_text"]
    assert scorer_options(given) == {"fold_text": None}
    assert scorer_options(given | {"scorer": {"name": "a/b", "x": 1}}) == {"name": "a/b", "x": 1}


def test_a_run_over_a_part_is_submitted_and_not_ranked(tmp_path: Path) -> None:
    part = submitted(tmp_path, benchmark={"name": "quickstart", "limit": 3}, estimator="never")
    (board,) = boards([entry(part)])
    assert (board.entries, len(board.partial)) == ((), 1)
    assert board.partial[0]["selection"] == "limit=3, select=even"


@pytest.mark.parametrize(
    ("model", "part"),
    [
        ("smollm2-135m", "smollm2-135m"),
        ("Qwen/Qwen2.5-1.5B-Instruct", "Qwen-Qwen2.5-1.5B-Instruct"),
        ("../../x__y", "x-y"),
        ("\N{SNOWMAN}", "x"),
        ("a" * 100, "a" * 80),
    ],
)
def test_a_model_s_name_becomes_a_part_of_a_path(model: str, part: str) -> None:
    assert slug(model) == part
