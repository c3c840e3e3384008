"""Boards from submissions: `BENCHMARK-DIGEST.json`, the tables in README.md, and index.html.

Reads `leaderboards/submissions` through `ttsi.leaderboard.entries` and executes nothing in it. The
same submissions always give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from ttsi._common.files import storage, write_atomically
from ttsi.errors import UsageError, VerificationError
from ttsi.leaderboard.boards import Board, Entry, boards
from ttsi.leaderboard.entries import entry
from ttsi.leaderboard.readme import with_tables
from ttsi.leaderboard.view import view

SCHEMA = "ttsi.board/1"
README = "README.md"
PAGE = "index.html"


def render(leaderboards: Path) -> list[Path]:
    """Write every board in `leaderboards` anew and return the files written.

    The file (schema `ttsi.board/1`) of a board without submissions is removed. Submissions are not
    verified here. Raises UsageError where there is no such folder or its README.md has no place for
    the tables, VerificationError for a submission that cannot be read, StorageError where a file
    cannot be written.
    """
    if not leaderboards.is_dir():
        what = "There is no such folder to render boards in."
        raise UsageError(what, where=str(leaderboards), cure="Name it with --to FOLDER.")
    return publish(leaderboards, [entry(folder) for folder in submissions(leaderboards)])


def submissions(leaderboards: Path) -> list[Path]:
    """Return the folders submissions/BENCHMARK/ORG__METHOD__MODEL/HASH, sorted by name.

    Raises VerificationError for a symbolic link among them, which may lead anywhere.
    """
    found = sorted((leaderboards / "submissions").glob("*/*/*"))
    for path in found:
        for each in (path, *path.parents[:2]):
            if each.is_symlink():
                what = "A symbolic link lies among the submissions."
                raise VerificationError(what, where=str(each), cure="Put the files there instead.")
    return [path for path in found if path.is_dir() and not path.name.startswith(".")]


def publish(leaderboards: Path, entries: Iterable[Entry]) -> list[Path]:
    """Do as `render`, with entries that have been read."""
    from ttsi.pages.shell import fill

    found = boards(entries)
    readme = leaderboards / README
    texts = {leaderboards / f"{board.key}.json": _as_json(board) for board in found}
    with storage(readme):
        before = readme.read_text(encoding="utf-8") if readme.exists() else None
    texts[readme] = with_tables(before, found, where=readme)
    texts[leaderboards / PAGE] = fill(Path(__file__).parent / "page", view(found))
    for path, text in texts.items():
        write_atomically(path, text)
    for path in _boards_written(leaderboards):
        if path not in texts:
            with storage(path):
                path.unlink()
    return list(texts)


def _as_json(board: Board) -> str:
    content = {
        "schema": SCHEMA,
        **asdict(board.ground),
        "entries": board.entries,
        "partial": board.partial,
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _boards_written(leaderboards: Path) -> list[Path]:
    """Return the files of boards that an earlier render wrote, and no other JSON file."""
    return [path for path in sorted(leaderboards.glob("*.json")) if _is_board(path)]


def _is_board(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("schema") == SCHEMA
