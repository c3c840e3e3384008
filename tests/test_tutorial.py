"""docs/tutorial.md, executed: its files and commands in order, and the output that it shows."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from _environments import make_environment

PAGE = Path(__file__).parent.parent / "docs" / "tutorial.md"
_FENCE = re.compile(
    r"^(?:`(?P<path>[^`\n]+)`[^\n]*:\n\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)
_CHANGING = re.compile(r"\b[0-9a-f]{8,}\b|(?:(?<!\S)[+-])?\d+(?:[.,]\d+)*")
"""Digests and numbers: of another machine, another day, another number of checks."""


@dataclass(frozen=True)
class Block:
    path: str | None
    language: str
    text: str


def blocks() -> list[Block]:
    found = _FENCE.finditer(PAGE.read_text())
    return [Block(each["path"], each["language"], each["text"]) for each in found]


def script() -> Iterator[str]:
    """Yield one shell for all blocks, as readers have; each block's output ends with its number."""
    yield "set -euo pipefail\n"
    for number, block in enumerate(blocks()):
        if block.language == "bash":
            yield block.text
        elif block.path is not None:
            yield f"cat > {block.path} <<'END OF FILE'\n{block.text}END OF FILE\n"
        yield f"echo '{_end(number)}'\n"


def _end(number: int) -> str:
    return f"--- end of block {number} ---"


def lines(text: str) -> list[str]:
    """Return lines without what changes from run to run, and without table widths."""
    plain = [_CHANGING.sub("#", line).replace("─", "") for line in text.splitlines()]
    return [" ".join(line.split()) for line in plain if line.strip()]


def is_printed(shown: str, printed: list[str]) -> bool:
    """Whether a line of the page was printed; dots at its end stand for the rest of the line."""
    if shown.endswith("..."):
        return any(line.startswith(shown.removesuffix("...")) for line in printed)
    return shown in printed


def test_every_block_has_a_part() -> None:
    """Bash is run, a named file is written, and text is the output of the block before it."""
    all_of_them = blocks()
    assert PAGE.read_text().count("\n```") == 2 * len(all_of_them)
    for before, block in zip([None, *all_of_them], all_of_them, strict=False):
        if block.language == "text":
            assert before is not None
            assert before.language == "bash"
        else:
            assert (block.path is None) == (block.language == "bash"), block


@pytest.mark.model
def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    env = make_environment(tmp_path / "env")
    place = tmp_path / "a new user"
    place.mkdir()
    done = subprocess.run(
        ["bash", "-c", "".join(script())],
        env=env | {"TTSI_DATA_DIR": str(tmp_path), "COLUMNS": "100"},
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0
    printed: list[str] = []
    rest = done.stdout
    for number, block in enumerate(blocks()):
        output, _, rest = rest.partition(_end(number) + "\n")
        if block.language == "bash":
            printed = lines(output)
        elif block.language == "text":
            assert [line for line in lines(block.text) if not is_printed(line, printed)] == []
