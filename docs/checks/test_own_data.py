"""docs/own-data.md: what it has readers paste is sound, and what it claims of numbers is so."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from ttsi import AnyOf, calls_in, load_spec
from ttsi.options import options_schema
from ttsi.results.metrics import mcnemar
from ttsi.rows import reading
from ttsi.solving import assemble
from ttsi_benchmarks.file import File

PAGE = Path(__file__).resolve().parents[1] / "own-data.md"
HEREDOC = re.compile(r"^cat > (\S+) <<'END'\n(.*?)^END$", re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    return PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def table(text: str) -> list[list[str]]:
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def fences(text: str) -> list[Any]:
    return [json.loads(each) for each in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]


@pytest.fixture
def pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the page's first files were written."""
    monkeypatch.chdir(tmp_path)
    for name, text in HEREDOC.findall(PAGE.read_text()):
        (tmp_path / name).write_text(text)
    return tmp_path


def test_what_is_pasted_is_a_spec_over_two_sound_rows(pasted: Path) -> None:
    assert sorted(path.name for path in pasted.iterdir()) == ["my.json", "my.jsonl"]
    assert len((pasted / "my.json").read_text().splitlines()) == 10
    (spec,) = load_spec("my.json")
    assemble.check(spec)
    samples = list(assemble.benchmark(spec).samples())
    assert [each.id for each in samples] == ["file/a", "file/b"]
    (other,) = load_spec("my.json", {"learner": "icl", "name": "my-icl"})
    assemble.check(other)


def test_the_notations_of_calls_are_read(pasted: Path) -> None:
    (calls,) = fences(section("A row"))
    row = json.loads((pasted / "my.jsonl").read_text().splitlines()[1])
    row["tools"][1]["parameters"]["properties"]["unit"] = {"type": "string"}
    (pasted / "own.jsonl").write_text(json.dumps(row | {"reference": calls}))
    (sample,) = File(path="own.jsonl").samples()
    plain, openai, any_of = calls_in(sample.reference)
    assert plain == openai
    assert isinstance(any_of, AnyOf)


def test_keys_and_options_are_all_told_of() -> None:
    assert {row[0] for row in table(section("A row"))} == {f"`{key}`" for key in reading.KEYS}
    told = {name for row in table(section("Options")) for name in re.findall(r"`(\w+)`", row[0])}
    assert told == set(options_schema(File)["properties"])


def test_the_numbers_of_rows_are_those_of_the_test() -> None:
    for fixed, broken, told in table(section("How many rows")):
        share, gain = (int(fixed) + int(broken)) / 100, (int(fixed) - int(broken)) / 100
        rows = ((1.960 * math.sqrt(share) + 0.842 * math.sqrt(share - gain**2)) / gain) ** 2
        assert int(told.replace(",", "")) == round(rows, -1)
    assert [round(mcnemar(fixed, 0), 2) for fixed in (5, 6)] == [0.06, 0.03]
