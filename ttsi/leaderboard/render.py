"""Boards from submissions: `BENCHMARK-DIGEST.json`, the tables in README.md, and index.html.

Boards show what `ttsi.leaderboard.verify` finds to be as it claims, and nothing else. The same
submissions always give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from ttsi._common.files import storage, write_atomically
from ttsi.errors import MissingAsset, UsageError, VerificationError
from ttsi.leaderboard.boards import Board, Entry, boards
from ttsi.leaderboard.faults import shown
from ttsi.leaderboard.readme import with_tables
from ttsi.leaderboard.verify import verify
from ttsi.leaderboard.view import view

SCHEMA = "ttsi.board/1"
README = "README.md"
PAGE = "index.html"


def render(leaderboards: Path, *, third_party: bool = False) -> list[Path]:
    """Write every board in `leaderboards` anew and return the files written.

    The submissions are verified first, with `third_party` as `ttsi.leaderboard.verify` has it. The
    file (schema `ttsi.board/1`) of a board without submissions is removed. Raises UsageError where
    there is no such folder or its README.md has no place for the tables, VerificationError for a
    submission that is not as it claims, MissingAsset for one that cannot be verified here, and
    StorageError where a file cannot be written. In each case no board is written.
    """
    if not leaderboards.is_dir():
        what = "There is no such folder to render boards in."
        raise UsageError(what, where=str(leaderboards), cure="Name it with --to FOLDER.")
    where = leaderboards / "submissions"
    verdicts = verify([where], third_party=third_party, entries=True)
    for state, kind in (("faulty", VerificationError), ("unverifiable", MissingAsset)):
        refused = [verdict for verdict in verdicts if verdict.state == state]
        if refused:
            lines = [f"\n  {shown(str(each.path))}: {each.faults[0].what}" for each in refused]
            what = f"{len(refused)} of {len(verdicts)} submissions are {state}, so that no board "
            cure = "`ttsi leaderboard verify` tells all that is wrong, and what to do."
            raise kind(f"{what}is written.{''.join(lines)}", where=str(where), cure=cure)
    return publish(leaderboards, [each.entry for each in verdicts if each.entry is not None])


def publish(leaderboards: Path, entries: Iterable[Entry]) -> list[Path]:
    """Do as `render`, with entries of submissions that have been verified."""
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
