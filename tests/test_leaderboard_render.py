"""Boards from entries: order, files, identical bytes every time, and harmless text."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import reports
from boards import HOSTILE, entry, hostile, many, partial
from edits import put
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from reports import Page
from submissions import edit, submit_run, submitted

import ttsi
from ttsi.errors import UsageError, VerificationError
from ttsi.leaderboard.boards import boards, titles
from ttsi.leaderboard.readme import BEGIN, END, plain
from ttsi.leaderboard.render import publish, render

SCHEMA = Path(ttsi.__file__).parent / "schemas" / "board.schema.json"


def published(folder: Path, entries: list[dict[str, Any]]) -> Page:
    publish(folder, entries)
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def accurate(number: int, mean: float, **changed: Any) -> dict[str, Any]:
    low, high = mean - 0.02, mean + 0.02
    return entry(number, accuracy={"mean": mean, "low": low, "high": high}, **changed)


# ---------------------------------------------------------------- the boards


def test_entries_are_sorted_by_accuracy_and_level_ones_share_a_rank() -> None:
    entries = [accurate(n, mean) for n, mean in enumerate([0.3, 0.5, 0.4, 0.5])]
    (board,) = boards(entries)
    assert [each["accuracy"]["mean"] for each in board.entries] == [0.5, 0.5, 0.4, 0.3]
    assert board.ranks() == [1, 1, 3, 4]


def test_each_benchmark_has_a_board_of_its_schema(tmp_path: Path) -> None:
    entries = [*many(12), partial(50)]
    written = publish(tmp_path, entries)
    names = {each["benchmark"] for each in entries}
    assert {path.name for path in written} == {
        "README.md",
        "index.html",
        *(f"{board.key}.json" for board in boards(entries)),
    }
    schema = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    for name in names:
        (path,) = tmp_path.glob(f"{name}-*.json")
        board = json.loads(path.read_text(encoding="utf-8"))
        schema.validate(board)
        assert (board["benchmark"], board["schema"]) == (name, "ttsi.board/1")
        assert {each["path"] for each in board["entries"] + board["partial"]} == {
            each["path"] for each in entries if each["benchmark"] == name
        }


def test_the_board_of_another_package_is_named_by_its_folder(tmp_path: Path) -> None:
    third = entry(benchmark="acme/rows", path="submissions/acme-rows/o__m__m/abc")
    page = published(tmp_path, [third])
    (path,) = tmp_path.glob("acme-rows-*.json")
    assert json.loads(path.read_text())["benchmark"] == "acme/rows"
    assert page.all("section", id=path.stem)


# ---------------------------------------------------------------- what can be compared


@pytest.mark.parametrize(
    "changed",
    [
        {"benchmark": "apibank"},
        {"revision": "sha256:" + "2" * 64},
        {"options": {"distractors": 8}},
        {"scorer": {"coerce": False}},
    ],
    ids=json.dumps,
)
def test_only_what_can_be_compared_shares_a_board(changed: dict[str, Any], tmp_path: Path) -> None:
    entries = [accurate(1, 0.5), accurate(2, 0.9, **changed), accurate(3, 0.4)]
    found = boards(entries)
    assert sorted(board.ranks() for board in found) == [[1], [1, 2]]
    assert len(set(titles(found))) == len({board.key for board in found}) == 2
    page = published(tmp_path, entries)
    assert len(page.of_class("board")) == 2
    assert {path.stem for path in tmp_path.glob("*.json")} == {board.key for board in found}


def test_a_part_of_the_samples_has_no_rank(tmp_path: Path) -> None:
    whole, part = accurate(1, 0.3, method="whole"), accurate(2, 0.9, method="part")
    part |= {"samples": 50, "selection": "limit=50, select=even"}
    (board,) = boards([part, whole])
    assert (board.entries, board.partial) == ((whole,), (part,))
    page = published(tmp_path, [part, whole])
    assert [attrs["data-v"] for attrs in page.of_class("c-rank")[1:]] == ["1"]
    assert len(page.all("tbody")) == 1
    assert "Not ranked" in page.text
    for words in ("50 samples (", "limit=50, select=even", "accuracy 90.0 [88.0, 92.0]"):
        assert words in page.text
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert [line for line in readme.splitlines() if line.startswith("| 1 | whole ")]
    assert "| part |" not in readme
    (line,) = [line for line in readme.splitlines() if line.startswith("- part by ")]
    assert "50\u00a0samples (limit=50, select=even), accuracy 90.0 [88.0, 92.0], base" in line


def test_a_board_of_parts_only_is_a_list(tmp_path: Path) -> None:
    page = published(tmp_path, [partial(number) for number in range(12)])
    assert not page.all("tbody")
    assert len([attrs for attrs in page.all("li") if attrs.get("id")]) == 12
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| # |" not in readme
    assert "And 2 more in [index.html](index.html)." in readme


def test_the_most_samples_come_first_among_those_without_a_rank() -> None:
    """Eight lucky samples are not above a hundred."""
    few = partial(1, samples=8, accuracy={"mean": 1.0, "low": 0.6, "high": 1.0})
    many_more = partial(2, samples=100, accuracy={"mean": 0.3, "low": 0.2, "high": 0.4})
    (board,) = boards([few, many_more])
    assert board.partial == (many_more, few)
    assert board.entries == ()


def test_tables_show_how_many_samples_there_were(tmp_path: Path) -> None:
    publish(tmp_path, [entry(1, seeds=1), entry(2, seeds=3)])
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    head, _, *rows = [line for line in readme.splitlines() if line.startswith("| ")]
    at = [cell.strip() for cell in head.split("|")].index("samples")
    assert sorted(row.split("|")[at].strip() for row in rows) == ["294", "294 x 3 seeds"]


def test_entries_that_are_alike_say_how_they_differ(tmp_path: Path) -> None:
    who = {"org": "acme", "method": "tt-si", "model": "m"}
    one = entry(1, **who, settings={"learner.rank": 16, "inference.decoding": "greedy"})
    two = entry(2, **who, settings={"inference.decoding": "greedy"})
    other = entry(3, **who | {"org": "zeta"}, settings={"budget": 0.5})
    (board,) = boards([one, two, other])
    told = [board.apart(each) for each in (one, two, other)]
    assert told == ["learner.rank=16", "learner.rank=default", ""]
    page = published(tmp_path, [one, two, other])
    assert "learner.rank=16" in page.text
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "tt-si, learner.rank=default |" in readme


def test_the_same_entries_give_the_same_bytes(tmp_path: Path) -> None:
    entries = many(30)
    first = {path.name: path.read_bytes() for path in publish(tmp_path, entries)}
    random.Random(1).shuffle(entries)
    again = {path.name: path.read_bytes() for path in publish(tmp_path, entries)}
    assert again == first


def test_a_board_without_submissions_goes_and_other_files_stay(tmp_path: Path) -> None:
    publish(tmp_path, [entry(benchmark="apibank"), entry(benchmark="sealtool")])
    others = {"mine.json": '{"schema": "mine"}', "list.json": "[]", "broken.json": "{"}
    others["deep.json"] = "[" * 10**6
    for name, text in others.items():
        (tmp_path / name).write_text(text)
    publish(tmp_path, [entry(benchmark="sealtool")])
    found = {path.name for path in tmp_path.iterdir()}
    (board,) = boards([entry(benchmark="sealtool")])
    assert found == {"README.md", "index.html", f"{board.key}.json", *others}
    page = published(tmp_path, [])
    assert not (tmp_path / f"{board.key}.json").exists()
    assert "There is no submission yet under these rules." in page.text
    assert "No submission yet under these rules." in (tmp_path / "README.md").read_text()


# ---------------------------------------------------------------- from the folders


def test_render_reads_every_submission(tmp_path: Path) -> None:
    for seed in (0, 1):
        run = reports.made(tmp_path / "runs", seeds=[seed])
        submit_run(run.folder / f"seed-{seed}", tmp_path)
    leaderboards = tmp_path / "leaderboards"
    (leaderboards / "submissions" / "README.md").write_text("beside them")
    render(leaderboards, third_party=True)
    (board,) = leaderboards.glob("*.json")
    assert len(json.loads(board.read_text())["entries"]) == 2


def test_what_verify_refuses_is_not_rendered(tmp_path: Path) -> None:
    folder = submitted(tmp_path)
    leaderboards = tmp_path / "leaderboards"
    edit(folder, "seed-0/results.json", put("accuracy", 1.0))
    with pytest.raises(VerificationError, match="1 of 1 submissions are faulty") as caught:
        render(leaderboards, third_party=True)
    assert "`ttsi leaderboard verify`" in caught.value.cure
    assert [path.name for path in leaderboards.iterdir()] == ["submissions"]


def test_a_submission_becomes_an_entry_whose_links_lead_to_its_files(tmp_path: Path) -> None:
    folder = submitted(tmp_path, seeds=[0, 1])
    leaderboards = tmp_path / "leaderboards"
    render(leaderboards, third_party=True)
    (board,) = leaderboards.glob("*.json")
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(json.loads(board.read_text()))
    page = Page((leaderboards / "index.html").read_text(encoding="utf-8"))
    links = [attrs["href"] or "" for attrs in page.all("a")]
    files = {(leaderboards / unquote(link)) for link in links if link.startswith("submissions/")}
    assert files == {path for path in folder.rglob("*") if path.is_file()}


def test_a_link_among_submissions_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "submissions" / "sealtool"
    folder.mkdir(parents=True)
    (tmp_path / "elsewhere" / "hash").mkdir(parents=True)
    (folder / "o__m__m").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VerificationError, match="symbolic link"):
        render(tmp_path)


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        render(tmp_path / "gone")


# ---------------------------------------------------------------- README.md


def test_the_readme_keeps_what_stands_around_its_tables(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Mine\n\nbefore\n\n{BEGIN}\nold tables\n{END}\n\nafter\n")
    publish(tmp_path, many(12))
    text = readme.read_text()
    assert text.startswith(f"# Mine\n\nbefore\n\n{BEGIN}\n")
    assert text.endswith(f"{END}\n\nafter\n")
    assert "old tables" not in text


@pytest.mark.parametrize("text", ["", "# Mine\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n"])
def test_a_readme_without_a_place_stops_all_before_anything_is_written(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(UsageError, match="no place"):
        publish(tmp_path, [entry()])
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_the_readme_has_the_first_ten_of_a_board(tmp_path: Path) -> None:
    entries = [entry(number) for number in range(13)]
    publish(tmp_path, entries)
    lines = (tmp_path / "README.md").read_text().splitlines()
    rows = [line for line in lines if re.match(r"\| \d", line)]
    assert [row.split(" | ")[0] for row in rows] == [f"| {rank}" for rank in range(1, 11)]
    assert "And 3 more in [index.html](index.html)." in lines
    (best, *_) = boards(entries)[0].entries
    mean, low, high = (100 * best["accuracy"][end] for end in ("mean", "low", "high"))
    assert f"{mean:.1f} [{low:.1f}, {high:.1f}]" in rows[0]
    assert best["path"] in rows[0]


@given(st.text())
def test_a_strangers_text_is_one_plain_cell_of_markdown(text: str) -> None:
    shown = plain(text)
    assert not re.search(r"(?<!\\)[`*_\[\]|~:@#!$<>]|\n|www\.(?<!\\\.)", shown)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x1f]", shown)
    shown.encode("utf-8")


# ---------------------------------------------------------------- the page


def test_the_page_shows_every_entry_without_script(tmp_path: Path) -> None:
    entries = many(150)
    page = published(tmp_path, entries)
    assert len(page.all("tbody")) == 150
    ids = [attrs["id"] for _, attrs in page.elements if attrs.get("id")]
    assert len(set(ids)) == len(ids)
    links = {attrs["href"] for attrs in page.all("a")}
    text = page.text
    for each in entries:
        assert any((id or "").endswith(each["path"].removeprefix("submissions")) for id in ids)
        assert f"{100 * each['accuracy']['mean']:.1f}" in text
        assert {f"{each['path']}/{file}" for file in each["files"]} <= links
    for word in ("nan", "None", "Undefined", "inf"):
        assert not re.search(rf"\b{word}\b", text), word


def test_a_difference_is_bold_only_where_its_interval_leaves_out_zero(tmp_path: Path) -> None:
    for low, sure in ((0.01, True), (0.0, False), (-0.01, False)):
        page = published(tmp_path, [entry(difference={"mean": 0.02, "low": low, "high": 0.03})])
        assert bool(page.of_class("sure")) == sure


def test_the_plots_of_a_board_lie_within_it(tmp_path: Path) -> None:
    full = {"mean": 1.0, "low": 1.0, "high": 1.0}
    none = {"mean": 0.0, "low": 0.0, "high": 0.0}
    for some in ([entry(accuracy=full, base_accuracy=none)], [entry(accuracy=none)], many(40)):
        page = published(tmp_path, some)
        places = [
            float((attrs[key] or "").rstrip("%"))
            for tag, key in (("circle", "cx"), ("line", "x1"), ("line", "x2"))
            for attrs in page.all(tag)
        ]
        assert places
        assert all(0 < place < 100 for place in places)


# ---------------------------------------------------------------- hostile entries


def test_hostile_text_is_only_text(tmp_path: Path) -> None:
    page = published(tmp_path, hostile())
    assert len(page.all("script")) == 1
    assert not page.all("img")
    for tag, attrs in page.elements:
        assert not any(key.startswith("on") for key in attrs), (tag, attrs)
    assert "</script><script>window.hacked=1</script>" in page.text
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00]", page.text)


@pytest.mark.parametrize("entries", [hostile(), many(20), []], ids=["hostile", "many", "none"])
def test_the_page_links_to_this_folder_only(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    page = published(tmp_path, entries)
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert (policy["content"] or "").startswith("default-src 'none';")
    ids = {attrs.get("id") for _, attrs in page.elements}
    for tag, attrs in page.elements:
        for key in ("src", "action", "data", "poster", "srcset"):
            assert attrs.get(key) is None, (tag, key)
        link = attrs.get("href")
        if link is None or link == "data:,":
            continue
        parts = urlsplit(link)
        assert (parts.scheme, parts.netloc) == ("", ""), link
        if link.startswith("#"):
            assert unquote(link[1:]) in ids


def test_hostile_text_is_harmless_in_the_readme(tmp_path: Path) -> None:
    publish(tmp_path, hostile())
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text.count(END) == 1
    tables = text.partition(BEGIN)[2].partition(END)[0]
    assert not re.search(r"<(?!!--)", tables)
    assert "](javascript" not in tables
    assert "www.evil" not in tables
    rows = [line for line in tables.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {11}


def test_hostile_text_survives_in_the_json(tmp_path: Path) -> None:
    publish(tmp_path, hostile())
    texts = [path.read_text(encoding="utf-8") for path in tmp_path.glob("sealtool-*.json")]
    assert all(text.isascii() for text in texts)
    orgs = [each["org"] for text in texts for each in json.loads(text)["entries"]]
    assert orgs.count(HOSTILE) == 1
    assert any(json.loads(text)["revision"] == HOSTILE for text in texts)
