"""The report: every edge case makes a valid page, and its numbers are those of results.json."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from reports import (
    CASES,
    HOSTILE,
    LONG,
    Page,
    cells,
    document,
    hostile,
    made,
    plain,
    seeds,
    some_errors,
)

from ttsi.answers.calls.values import calls_in
from ttsi.cli.main import main
from ttsi.errors import StorageError, UsageError
from ttsi.pages import text as shown
from ttsi.records import provenance
from ttsi.report import html, write_report
from ttsi.report.facts import Facts
from ttsi.report.labels import labels
from ttsi.results.runs import Run, open_run
from ttsi.spec import load_spec, resolved

ELSEWHERE = re.compile(r"url\(|@import|https?:|//", re.IGNORECASE)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Run]]:
    return {name: case(tmp_path_factory.mktemp(name)) for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_every_run_makes_a_sound_page(runs: dict[str, list[Run]], name: str) -> None:
    page = Page(html(runs[name]))
    ids = [attrs["id"] for _, attrs in page.elements if attrs.get("id")]
    assert len(set(ids)) == len(ids)
    links = [attrs["href"] or "" for attrs in page.all("a")]
    assert len(links) > 5
    assert {unquote(link.removeprefix("#")) for link in links} <= set(ids)
    records = sum(len(seed.records) for run in runs[name] for seed in run.seeds)
    assert len(page.of_class("sample")) == records
    for word in ("nan", "None", "Undefined", "inf"):
        assert not re.search(rf"\b{word}\b", page.text), word


@pytest.mark.parametrize("name", CASES)
def test_a_page_refers_to_nothing_outside(runs: dict[str, list[Run]], name: str) -> None:
    text = html(runs[name])
    page = Page(text)
    for tag, attrs in page.elements:
        for key in ("src", "href", "action", "data", "poster", "srcset"):
            value = attrs.get(key)
            assert value is None or value.startswith(("#", "data:")), (tag, key, value)
        assert not any(key.startswith("on") for key in attrs), (tag, attrs)
    for style in re.findall(r"<style>(.*?)</style>", text, re.DOTALL):
        assert not ELSEWHERE.search(style)
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert (policy["content"] or "").startswith("default-src 'none';")


def test_the_headline_is_that_of_results_json(runs: dict[str, list[Run]]) -> None:
    (run,) = runs["all_uncertain"]
    results = json.loads((run.folder / "seed-0" / "results.json").read_text())
    page = Page(html([run]))
    values = [float(data["value"] or "") for data in page.all("data")]
    base, final = results["base"]["accuracy"], results["accuracy"]
    assert values == [base, final, pytest.approx(final - base)]
    low, high = (100 * bound for bound in results["accuracy_interval"])
    change = results["change"]
    for part in (
        f"{100 * final:.1f} %",
        f"[{low:.1f}, {high:.1f}]",
        f"{change['fixed']} fixed, {change['broken']} broken",
        f"p = {change['mcnemar_p']:.2g} (McNemar, exact)",
        f"+{100 * (final - base):.1f} points",
        results["spec_digest"],
        results["revision"],
        results["finished"],
    ):
        assert part in page.text, part


def test_rates_and_seconds_are_those_of_results_json(runs: dict[str, list[Run]]) -> None:
    (run,) = runs["plain"]
    results, page = run.seeds[0].results, Page(html([run]))
    for name in ("tpr", "fpr", "j", "auroc"):
        assert f"{name.upper()} {shown.rate(results['estimator'][name])}" in page.text
    assert f"rss_margin below 0.95: {results['uncertain']} of 12 samples." in page.text
    for sums in results["stages"]["by_stage"].values():
        assert f"{sums['prompt_tokens']:,}" in page.text


def test_several_seeds_have_mean_sd_and_interval(runs: dict[str, list[Run]]) -> None:
    (run,) = runs["seeds"]
    summary = json.loads((run.folder / "results.json").read_text())
    page = Page(html([run]))
    assert f"{100 * summary['difference']['mean']:+.1f} points" in page.text
    assert "mean of 3 seeds" in page.text
    sd = 100 * summary["difference"]["sd"]
    low, high = (100 * bound for bound in summary["difference"]["interval"])
    assert f"over seeds sd {sd:.1f}, t-interval [{low:.1f}, {high:.1f}]" in page.text
    assert {f"run-{part}" for part in ("answers", "samples")} <= {
        a.get("id") for _, a in page.elements
    }
    assert "sample/seed-4/rows/7" in {attrs.get("id") for _, attrs in page.elements}


def test_seeds_are_no_independent_samples(tmp_path: Path) -> None:
    one = Facts(made(tmp_path / "one", estimator="always", seeds=[0]))
    three = Facts(seeds(tmp_path / "three")[0])
    assert one.p == pytest.approx(one.pooled["change"]["mcnemar_p"])
    # The scripted engine answers alike under every seed, so more seeds add no information.
    assert three.p == pytest.approx(one.p)
    assert one.difference is not None
    assert three.difference is not None
    assert three.difference.interval == pytest.approx(one.difference.interval)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("none_uncertain", "No sample was uncertain, so both accuracies are the base model’s."),
        ("none_uncertain", "Every sample has the same confidence"),
        ("all_errors", "Every sample ended in an error."),
        ("all_errors", "12 of 12 samples ended in an error, which counts as not right."),
        ("all_errors", "ValueError: the engine broke <b>down</b>"),
        ("some_errors", "1 of 12 samples ended in an error"),
        ("unfinished", "This run is unfinished"),
        ("unfinished", "7 samples of the benchmark still to come."),
        ("nothing_yet", "No sample has finished yet."),
        ("nothing_yet", "No sample has an estimate."),
        ("no_baseline", "(baseline: false)"),
        ("no_benchmark", "the benchmark could not be loaded"),
        ("other_data", "12 records shown without request and reference"),
        ("in_context", "By demonstrations in the prompt"),
        ("budget", "under a budget of 0.25"),
    ],
)
def test_what_is_unusual_is_said(runs: dict[str, list[Run]], name: str, part: str) -> None:
    assert part in Page(html(runs[name])).text


def test_a_sample_tells_its_whole_story(runs: dict[str, list[Run]]) -> None:
    (run,) = runs["all_uncertain"]
    record = next(r for r in run.seeds[0].records if r.id == "rows/3")
    sample, page = run.samples["rows/3"], Page(html([run]))
    for part in (
        sample.task.input,
        "get_weather",
        "Local time",
        "city string, required",
        record.examples[0].task.input,
        "1.0000",
        "5e-05",
        "wrong name",
        str(record.receipt and record.receipt["digest"]),
        *[call.arguments["city"] for call in calls_in(sample.reference)],
    ):
        assert " ".join(part.split()) in page.text, part


def test_candidates_are_shown_with_their_scores(runs: dict[str, list[Run]]) -> None:
    (run,) = runs["plain"]
    record = run.seeds[0].records[0]
    assert record.estimate
    page = Page(html([run]))
    for name, score in record.estimate.scores.items():
        assert re.search(rf"{name} [\d.]+ % −?{abs(score):.2f}", page.text), name


def test_hostile_text_is_text(tmp_path: Path) -> None:
    text = html(hostile(tmp_path), sections=[(HOSTILE, "<p>a plugin's own</p>")])
    page = Page(text)
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert page.text.count("window.hacked=1</script>") > 12 * 8
    assert LONG in page.text
    assert "<p>a plugin's own</p>" in text
    assert "\x00" not in text
    text.encode()


def test_runs_are_compared_first(runs: dict[str, list[Run]]) -> None:
    page = Page(html(runs["cells"]))
    assert page.text.index("2 runs compared") < page.text.index("estimator never")
    rows = [a["href"] for a in page.all("a") if (a["href"] or "").startswith("#run-")]
    assert rows[:2] == ["#run-1", "#run-2"]
    assert "estimator always" in page.text
    assert {"sample/run-1/rows/0", "sample/run-2/rows/0"} <= {a.get("id") for _, a in page.elements}


def test_runs_of_other_samples_are_compared_with_a_mark(tmp_path: Path) -> None:
    fewer = {"benchmark": {"name": "ttsi-fakes/rows", "rows": 3}, "name": "fewer"}
    found = [made(tmp_path, estimator="never", **changed) for changed in ({}, fewer)]
    mark = "These runs did not answer the same samples"
    assert mark in Page(html(found)).text
    assert mark not in Page(html([found[0], found[0]])).text


def test_runs_that_do_not_differ_go_by_their_folders(tmp_path: Path) -> None:
    one, other = plain(tmp_path / "a"), plain(tmp_path / "b")
    (again,) = other
    page = Page(html([*one, again]))
    assert f"scripted (a/{again.folder.name})" in page.text
    assert f"scripted (b/{again.folder.name})" in page.text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([{"name": "one"}, {"name": "two"}], ["one", "two"]),
        ([{"budget": 0.25}, {"budget": 0.5}], ["budget 0.25", "budget 0.5"]),
        (
            [{"estimator": {"name": "random", "rate": 0.5}}, {"estimator": "always"}],
            ["estimator random", "estimator always"],
        ),
        (
            [{"name": "one"}, {"name": "one", "model": {"id": "other"}}, {"name": "two"}],
            ["one, model scripted", "one, model other", "two, model scripted"],
        ),
    ],
)
def test_runs_are_called_by_what_differs(
    runs: dict[str, list[Run]], changes: list[dict[str, Any]], expected: list[str]
) -> None:
    (run,) = runs["plain"]
    several = []
    for change in changes:
        (spec,) = load_spec(document(**change))
        several.append(replace(run, spec=resolved(spec)))
    assert labels(several) == expected


@pytest.mark.parametrize("limit", [0, 1, 4, 12])
def test_flips_and_errors_are_kept_first(tmp_path: Path, limit: int) -> None:
    (run,) = some_errors(tmp_path)
    page = Page(html([run], limit_samples=limit))
    samples = [attrs["data-tags"] or "" for attrs in page.of_class("sample")]
    assert len(samples) == limit
    assert ("more samples are not in this file" in page.text) == (limit < 12)
    notable = sum("fixed" in tags or "error" in tags for tags in samples)
    assert notable == min(limit, 6)


def test_a_report_is_the_same_twice(runs: dict[str, list[Run]]) -> None:
    (run,) = runs["plain"]
    assert html([run]) == html([open_run(run.folder)])


def test_filters_count_what_they_show(runs: dict[str, list[Run]]) -> None:
    page = Page(html(runs["some_errors"]))
    tagged = [(attrs["data-tags"] or "").split() for attrs in page.of_class("sample")]
    for tag, label in (("fixed", "fixed"), ("wrong", "wrong"), ("error", "errored")):
        count = sum(tag in tags for tags in tagged)
        assert f" {label} {count} " in page.text
    (flips,) = re.findall(r"Fixed: .*? \((\d+)\)", page.text)
    assert int(flips) == sum("fixed" in tags for tags in tagged)


# ---------------------------------------------------------------- the command


def report(*arguments: str | Path) -> int:
    return main(["report", *map(str, arguments)])


def test_the_command_writes_beside_the_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = plain(tmp_path)
    assert report(run.folder) == 0
    assert capsys.readouterr().out.strip() == str(run.folder / "report.html")
    written = (run.folder / "report.html").read_text()
    assert report(run.folder / "seed-0") == 0
    assert (run.folder / "report.html").read_text() != ""
    assert Page(written).of_class("sample")
    assert provenance.intact(run.folder / "seed-0")


def test_the_command_says_what_is_amiss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = plain(tmp_path)
    for arguments, part in (
        ((run.folder, run.folder), "-o FILE"),
        ((run.folder, "-o", tmp_path), "report.html"),
        ((run.folder, "--limit-samples", "-1"), "negative"),
        ((tmp_path,), f"The runs in {tmp_path} are: {run.folder}"),
        ((str(run.folder)[:-2],), f'Did you mean "{run.folder}"?'),
        ((tmp_path / "no" / "run",), "no run here"),
    ):
        assert report(*arguments) == 2
        assert part in capsys.readouterr().err
    assert report(run.folder, "-o", tmp_path / "no" / "such.html") == 1
    assert "-o FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value"), [("TTSI_LIMIT", "1"), ("TTSI_SEEDS", "x"), ("TTSI_MODEL", "other")]
)
@pytest.mark.parametrize(
    "benchmark", [{"name": "quickstart", "limit": 4}, {"name": "ttsi-fakes/rows", "rows": 4}]
)
def test_the_environment_does_not_change_a_run_that_is_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    benchmark: dict[str, Any],
    variable: str,
    value: str,
) -> None:
    run = made(tmp_path, benchmark=benchmark)
    before = html([run])
    monkeypatch.setenv(variable, value)
    again = open_run(run.folder)
    assert len(again.samples) == 4
    assert html([again]) == before


def test_several_runs_go_where_they_are_told(tmp_path: Path) -> None:
    one, other = cells(tmp_path)
    assert report(one.folder, other.folder, "-o", tmp_path / "both.html", "--limit-samples", 2) == 0
    page = Page((tmp_path / "both.html").read_text())
    assert len(page.of_class("sample")) == 4


def test_without_a_run_there_is_nothing_to_write(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_report([], tmp_path / "report.html")
    with pytest.raises(StorageError):
        write_report(plain(tmp_path), tmp_path)
