"""Compare the predictions of two commits for the same specs, byte for byte.

    python tests/same_predictions.py BEFORE [AFTER] [--limit 20] [--model smollm2-135m]

Each commit is checked out into its own folder and installed there over this Python's packages. The
five function-calling benchmarks are run greedily with the small model. Exits with 1 if a
predictions.jsonl differs, and names the samples. AFTER defaults to HEAD.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ("sealtool", "apibank", "nexusraven", "toolalpaca", "bfcl")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before")
    parser.add_argument("after", nargs="?", default="HEAD")
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--benchmarks", nargs="+", default=BENCHMARKS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        commits = {"before": asked.before, "after": asked.after}
        sides = [_Side(Path(name) / side, commit) for side, commit in commits.items()]
        different = 0
        for benchmark in asked.benchmarks:
            spec = spec_of(benchmark, asked.model, asked.limit)
            before, after = (side.predictions(spec) for side in sides)
            told = differing(before, after)
            different += bool(told) or not before
            print(f"{benchmark}: {told or f'the same {len(before.splitlines())} answers'}")
        for side in sides:
            side.remove()
    return 1 if different else 0


def spec_of(benchmark: str, model: str, limit: int) -> dict[str, object]:
    """Return a spec of TT-SI by LoRA, greedy, that adapts to every uncertain sample."""
    return {
        "name": benchmark,
        "model": {"id": model, "date": "2026-11-01"},
        "engine": "transformers",
        "benchmark": {"name": benchmark, "limit": limit},
        "estimator": "rss_margin",
        "generator": {
            "name": "self",
            "prompt": "seed_first",
            "format": "json",
            "attempts": 2,
            "at_once": 1,
            "max_tokens": 80,
        },
        "learner": {"name": "lora_sft", "target": "as_answered", "active_from": "user_turn"},
        "inference": {
            "name": "direct",
            "format": "tool_calls",
            "decoding": "greedy",
            "max_tokens": 64,
        },
    }


def differing(before: bytes, after: bytes) -> str:
    """Return the ids of the samples whose lines differ; empty if the files are the same."""
    if before == after:
        return ""
    one, other = (
        {json.loads(line)["id"]: line for line in text.splitlines()} for text in (before, after)
    )
    ids = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return f"{len(ids)} answers differ: {', '.join(ids)}"


class _Side:
    """One commit, installed in its own folder."""

    def __init__(self, folder: Path, commit: str) -> None:
        self._folder, self._tree = folder, folder / "tree"
        folder.mkdir()
        _run(["git", "-C", str(ROOT), "worktree", "add", "--detach", str(self._tree), commit])
        _run([sys.executable, "-m", "venv", str(folder / "venv")])
        self._python = folder / "venv" / "bin" / "python"
        packages = _run([str(self._python), "-c", _PACKAGES]).strip()
        # The commit's own ttsi precedes this Python's packages.
        below = [each for each in sys.path if each.endswith("site-packages")]
        Path(packages, "below.pth").write_text("\n".join([*below, sysconfig.get_path("purelib")]))
        install = "-m pip install --quiet --no-deps --no-build-isolation -e"
        _run([str(self._python), *install.split(), str(self._tree)])

    def predictions(self, spec: dict[str, object]) -> bytes:
        """Return the content of predictions.jsonl after `ttsi eval`."""
        path, out = self._folder / "spec.json", self._folder / "runs"
        path.write_text(json.dumps(spec))
        command = [str(self._python), "-m", "ttsi", "-q", "eval", str(path), "--out", str(out)]
        _run([*command, "--progress", "none"], cwd=self._tree)
        (found,) = out.glob(f"{spec['name']}-*/seed-0/predictions.jsonl")
        return found.read_bytes()

    def remove(self) -> None:
        _run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(self._tree)])


_PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"


def _run(command: list[str], cwd: Path | None = None) -> str:
    data = os.environ.get("TTSI_DATA_DIR", str(ROOT.parent / "shared" / "data"))
    done = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TTSI_DATA_DIR": data},
    )
    if done.returncode not in (0, 3):
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
