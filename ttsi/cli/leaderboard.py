"""`ttsi leaderboard submit | verify | render`: submit runs, verify submissions, render boards."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttsi._common import console
from ttsi.cli import add_common

if TYPE_CHECKING:
    from ttsi.leaderboard.submit import Submitted
    from ttsi.leaderboard.verify import Verdict

EPILOG = """\
  submit RUN --to leaderboards --as ORG/METHOD    a finished run becomes a submission
  verify PATH...                                  is every submission there what it claims?
  render                                          boards, tables and page from the submissions;
                                                  for who runs the board, after a merge

A submission lies in leaderboards/submissions/BENCHMARK/ORG__METHOD__MODEL/HASH/. Nothing in one is
ever executed; what is asked and what is right come from the benchmarks that are installed here.

examples:
  ttsi leaderboard submit runs/tt-si-sealtool-HASH --as acme/tt-si --dry-run
  ttsi leaderboard verify leaderboards/submissions
  ttsi leaderboard render
"""

SUBMIT = """\
What goes in: of each seed spec.resolved.json, identity.json, results.json, and sessions.json and
samples.jsonl without what must not be published (references, errors' messages, examples that repeat
the benchmark). All is verified before it is put in place. A run that does not prove its weights, or
has no base answers, is refused. leaderboards/CONTRIBUTING.md tells more.
"""

VERIFY = """\
Answers are parsed and scored again, metrics made again from the records; digests, receipts,
schemas, names, dates and the run's identity are checked. Submissions are compared with each other:
of two that are alike the earlier one stays. Exit code: 0 all as they claim, or none there; 4 any is
FAULTY; 5 none is, and some are unverifiable here, for want of data or a plugin.
"""

RENDER = """\
All submissions are verified first; unless every one is as it claims, no board is written.
"""

STATES = ("verified", "faulty", "unverifiable")

_THIRD_PARTY = "let benchmarks and scorers of installed third-party packages be loaded"


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "leaderboard",
        help="submit runs, verify submissions, render boards",
        description="Leaderboards that strangers can submit to and check.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    submit = _action(actions, "submit", "a finished run becomes a submission", SUBMIT, _submit)
    submit.add_argument("run_folder", metavar="RUN", help="what `ttsi eval` left: runs/NAME-HASH")
    _add_to(submit)
    submit.add_argument(
        "--as", dest="who", required=True, metavar="ORG/METHOD", help="who submits, and what"
    )
    submit.add_argument(
        "--dry-run", action="store_true", help="make and verify the submission without writing it"
    )
    submit.add_argument("--third-party", action="store_true", help=_THIRD_PARTY)
    submit.add_argument("--json", action="store_true", help="print what was made as JSON")
    verify = _action(actions, "verify", "is every submission what it claims?", VERIFY, _verify)
    verify.add_argument(
        "paths", nargs="+", metavar="PATH", help="a submission, or a folder above some"
    )
    verify.add_argument("--third-party", action="store_true", help=_THIRD_PARTY)
    verify.add_argument("--json", action="store_true", help="print all findings as JSON")
    render = _action(actions, "render", "boards, tables and page anew", RENDER, _render)
    _add_to(render)
    render.add_argument("--third-party", action="store_true", help=_THIRD_PARTY)


def _action(actions: Any, name: str, text: str, epilog: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        help=text,
        description=f"{text[:1].upper()}{text[1:]}",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_common(parser, default=argparse.SUPPRESS)
    parser.set_defaults(run=run)
    return parser


def _add_to(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to", default="leaderboards", metavar="FOLDER", help="default: leaderboards"
    )


def _submit(args: argparse.Namespace) -> int:
    from ttsi.leaderboard.submit import submit

    made = submit(
        Path(args.run_folder),
        Path(args.to),
        args.who,
        third_party=args.third_party,
        dry_run=args.dry_run,
    )
    if args.json:
        console.print_json(
            {"folder": made.folder.as_posix(), "files": made.files, "entry": made.entry}
        )
    elif args.dry_run or not args.quiet:
        for line in _told(made, dry_run=args.dry_run):
            console.say(line)
        if not args.dry_run:
            render = f"ttsi leaderboard render --to {shlex.quote(args.to)}"
            console.say("next: commit this folder and nothing else")
            console.say(f"      who runs the board renders it, as you may to see it: {render}")
    return 0


def _told(made: Submitted, *, dry_run: bool) -> Iterator[str]:
    from ttsi.leaderboard.comparable import is_ranked

    entry: Any = made.entry
    yield f"{'verified, not written:' if dry_run else 'verified and written:'} {made.folder}"
    for name, size in made.files.items():
        yield f"  {size:>9,}  {name}"
    accuracy = entry["accuracy"]
    yield (
        f"{entry['benchmark']}: {_counts(entry['seeds'], entry['samples'])} "
        f"({entry['selection']}), accuracy {100 * accuracy['mean']:.1f} % "
        f"[{100 * accuracy['low']:.1f}, {100 * accuracy['high']:.1f}]"
    )
    if not is_ranked(entry):
        yield "not ranked: it answered a part of the samples; run without a limit for a rank"
    if entry["errors"]:
        yield f"{entry['errors']} samples ended in an error; they count as not correct"
    for note in entry["notes"]:
        yield f"note: {note}"


def _verify(args: argparse.Namespace) -> int:
    from ttsi.leaderboard.verify import verify

    verdicts = verify(map(Path, args.paths), third_party=args.third_party)
    for verdict in verdicts:
        if not args.json and not (verdict.ok and args.quiet):
            console.say(_line(verdict))
    codes = {verdict.exit_code for verdict in verdicts}
    code = next((each for each in (4, 5) if each in codes), 0)
    if args.json:
        console.print_json({"ok": code == 0, "submissions": [each.as_json() for each in verdicts]})
    else:
        console.note(_summary(verdicts))
    return code


def _line(verdict: Verdict) -> str:
    path = ascii(verdict.path.as_posix())[1:-1]
    if verdict.ok and verdict.head is not None:
        counts = _counts(len(verdict.head["manifests"]), verdict.head["samples"])
        return f"ok      {path}  {counts}"
    word = verdict.state if verdict.state == "unverifiable" else "FAULTY "
    return "\n".join([f"{word} {path}", *(f"  {fault}" for fault in verdict.faults)])


def _counts(seeds: int, samples: int) -> str:
    return f"{seeds} seed{'s' if seeds > 1 else ''} x {samples} samples"


def _summary(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return "no submission there: nothing to verify"
    states = [verdict.state for verdict in verdicts]
    counts = [f"{states.count(state)} {state}" for state in STATES if state in states]
    return f"{len(verdicts)} looked at, {', '.join(counts)}"


def _render(args: argparse.Namespace) -> int:
    from ttsi.leaderboard.render import render

    for path in render(Path(args.to), third_party=args.third_party):
        if not args.quiet:
            console.say(str(path))
    return 0
