"""A teacher's answers, so that none is paid for twice: one file each, for all runs and processes.

CACHE/teacher/ab/abcdef....json, named by a digest of all that shapes the answer. The files hold the
answer and what it cost, and no key.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from ttsi import EngineError, StorageError


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request came to, and the tokens that were paid for it just now: none if it was kept.

    `sound` is False for what is no chat completion; its text is empty.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    sound: bool = True


class Answers:
    """Outcomes by digest: of this run in memory, the sound ones of all runs under `folder`.

    Failures are in memory so that a wave which is halved for one does not try it all again.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._known: dict[str, Answer | EngineError] = {}

    def get(self, key: str) -> Answer | EngineError | None:
        """A kept outcome, which costs nothing."""
        return self._known.get(key) or self._read(key)

    def put(self, key: str, outcome: Answer | EngineError, model: str) -> None:
        """Raises StorageError where the folder cannot be written."""
        if isinstance(outcome, EngineError):
            self._known[key] = outcome
            return
        self._known[key] = replace(outcome, prompt_tokens=0, completion_tokens=0)
        if self._folder is not None and outcome.sound:
            self._write(self._path(key), outcome, model)

    def _path(self, key: str) -> Path:
        assert self._folder is not None
        digest = key.removeprefix("sha256:")
        return self._folder / digest[:2] / f"{digest}.json"

    def _read(self, key: str) -> Answer | None:
        """None where there is no file, or a damaged one: the answer to come replaces it."""
        if self._folder is None:
            return None
        try:
            kept = json.loads(self._path(key).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        text = kept.get("text") if isinstance(kept, dict) else None
        return Answer(text) if isinstance(text, str) else None

    def _write(self, path: Path, answer: Answer, model: str) -> None:
        content = {
            "model": model,
            "text": answer.text,
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A name of its own: another process may be writing the same answer.
            handle, partial = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(content, file)
                os.replace(partial, path)
            except BaseException:
                os.unlink(partial)
                raise
        except OSError as error:
            raise StorageError(
                f"A teacher's answer cannot be kept: {error.strerror or error}.",
                where=str(path.parent),
                cure="Free some space, set TTSI_CACHE_DIR to a folder that can be written, or set "
                '"cache": false for the generator.',
            ) from error
