"""Runs every spec of the paper to its end, cut down, with a small model: does each of them work?

    python specs/paper/try.py --limit 2 --out runs/try
    python specs/paper/try.py --out runs/try --teacher-url http://127.0.0.1:8000/v1

What is cut: one seed, `--limit` samples, the first `--values` of every axis that is a list (named
variants all run), two attempts of G, short outputs, two votes, one training row. Decoding is held
to calls and G's to an example's JSON, since a very small model gives neither freely. Stages,
estimators and training recipe are the specs' own. Its numbers say nothing about the paper's claims.

It takes minutes; the same command again resumes. Without `--teacher-url` the model itself stands in
for the teacher, and the table says so.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PAPER = Path(__file__).resolve().parent
SHORT_EXAMPLE = {
    "attempts": 2,
    "at_once": 1,
    "prompt": "seed_first",
    "format": "json",
    "max_calls": 1,
    "max_tokens": 96,
}
SHORT_ANSWER = {"format": "tool_calls", "max_calls": 1, "max_tokens": 48}
SHORT: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("estimator", "perplexity"): {"max_tokens": 32},
    ("generator", "self"): SHORT_EXAMPLE,
    ("generator", "teacher"): {"attempts": 2},
    ("learner", "sft"): {"limit": 1},
    ("inference", "direct"): SHORT_ANSWER,
    ("inference", "best_of"): SHORT_ANSWER | {"samples": 2},
}
ROLES = ("estimator", "generator", "learner", "inference")
HEAD = {
    "spec": 24,
    "cell": 24,
    "samples": 7,
    "adapted": 7,
    "base": 6,
    "final": 6,
    "seconds": 7,
    "": 0,
}
"""The table's columns and their widths."""

FAILED = "FAILED"


def specs(names: list[str]) -> list[Path]:
    """The paper's specs, or those of these names (with or without .json). Raises SystemExit."""
    found = {path.stem: path for path in sorted(PAPER.glob("*.json"))}
    wanted = [Path(name).stem for name in names] or list(found)
    unknown = [name for name in wanted if name not in found]
    if unknown:
        raise SystemExit(f"no spec {', '.join(unknown)} here; there are: {', '.join(found)}")
    return [found[name] for name in wanted]


def cut(document: Mapping[str, Any], values: int, teacher: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with less to do. `teacher`: its options; empty: the model itself stands in."""
    made: dict[str, Any] = copy.deepcopy(dict(document))
    made["seeds"] = made["seeds"][:1]
    axes = made.get("matrix", {})
    for axis in axes:
        if axis.startswith("/"):
            axes[axis] = axes[axis][:values]
    for role, holder, key in components(made):
        holder[key] = shortened(role, holder[key], teacher)
    return made


def components(document: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(role, holder, key) of every component that is written in the spec, its matrix included."""
    yield from ((role, document, role) for role in ROLES if role in document)
    for axis, steps in document.get("matrix", {}).items():
        if axis[1:] in ROLES:
            yield from ((axis[1:], steps, place) for place in range(len(steps)))
        elif not axis.startswith("/"):
            for changes in steps.values():
                yield from ((t[1:], changes, t) for t in changes if t[1:] in ROLES)


def shortened(role: str, component: Any, teacher: Mapping[str, Any]) -> dict[str, Any]:
    made = {"name": component} if isinstance(component, str) else dict(component)
    if (role, made["name"]) == ("generator", "teacher"):
        made = made | teacher if teacher else {"name": "self", "samples": made.get("samples", 1)}
    return made | SHORT.get((role, made["name"]), {})


def asks_teacher(document: dict[str, Any]) -> bool:
    written = (holder[key] for _, holder, key in components(document))
    return any((c if isinstance(c, str) else c["name"]) == "teacher" for c in written)


def run(path: Path, args: argparse.Namespace, teacher: Mapping[str, Any]) -> Iterator[list[str]]:
    """The table's rows for one spec."""
    from ttsi import evaluate
    from ttsi.errors import TtsiError

    document = json.loads(path.read_text())
    note = "self is the teacher" if asks_teacher(document) and not teacher else ""
    overrides = {"model.id": args.model, "benchmark.limit": args.limit, "executor.wave": args.limit}
    try:
        cells = evaluate(cut(document, args.values, teacher), out=args.out, overrides=overrides)
    except TtsiError as error:
        yield [path.stem, *[""] * (len(HEAD) - 2), f"{FAILED}: {error.what}"]
        return
    for cell in cells:
        (results,) = cell.seeds.values()
        errors = f"{FAILED}: {results['errors']} samples in error" if results["errors"] else note
        yield [path.stem, named(cell.spec.cell), *numbers(results), errors]


def named(cell: Mapping[str, Any]) -> str:
    return ", ".join(f"{axis.rsplit('/', 1)[-1]} {value}" for axis, value in cell.items())


def numbers(results: Mapping[str, Any]) -> list[str]:
    base = results["base"]
    return [
        str(results["samples"]),
        str(results["adapted"]),
        f"{100 * base['accuracy']:.0f} %" if base else "–",
        f"{100 * results['accuracy']:.0f} %",
        f"{results['stages']['seconds']:.1f}",
    ]


def show(row: Sequence[str]) -> None:
    # A row at a time: a run that is stopped has said what it did.
    cells = (text.ljust(width) for text, width in zip(row, HEAD.values(), strict=True))
    print(" ".join(cells).rstrip(), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="specs to try (default: all)")
    parser.add_argument("--out", required=True, help="where run folders go")
    parser.add_argument("--limit", type=int, default=2, help="samples of each cell (default: 2)")
    parser.add_argument("--model", default="smollm2-135m", metavar="ID")
    parser.add_argument("--values", type=int, default=2, help="steps of a listed axis (default: 2)")
    parser.add_argument("--teacher-url", metavar="URL", help="an OpenAI-compatible endpoint")
    parser.add_argument("--teacher-model", metavar="NAME", help="the model to ask for there")
    args = parser.parse_args()
    teacher = {"base_url": args.teacher_url} if args.teacher_url else {}
    if args.teacher_url and args.teacher_model:
        teacher["model"] = args.teacher_model
    show(list(HEAD))
    done = failed = 0
    for path in specs(args.names):
        for row in run(path, args, teacher):
            show(row)
            done += 1
            failed += row[-1].startswith(FAILED)
    print(f"\n{done} cells, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
