"""`ttsi judge`: label accuracy of a run's synthetic examples, by a stronger model."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ttsi.cli import add_settings, settings

if TYPE_CHECKING:
    from ttsi.results.judged import Judgement

EPILOG = """\
The judge gets the request of a synthetic example with the same instruction and tools, and answers
it, constrained to the answer form. The label counts as right where it scores as equal to that
answer; so the judge's own mistakes count against the label. What it found is kept in RUN/judged and
shown by `ttsi report`. The same command resumes, and with a larger --sample asks only for the rest.

An endpoint gets the key that you have configured for it (docs/teacher.md), and no other.

examples:
  ttsi judge runs/tt-si-HASH --model qwen2.5-coder-1.5b --sample 100
  ttsi judge runs/tt-si-HASH --model gpt-5-mini --endpoint https://api.openai.com/v1 --sample 50
  ttsi judge runs/tt-si-HASH --model big --endpoint http://127.0.0.1:8000/v1 \\
    --set generator.format=free --set generator.concurrency=2
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "judge",
        help="label accuracy of synthetic examples, by a stronger model",
        description="Ask a stronger model the requests of a run's synthetic examples, and count "
        "how many of their labels it agrees with.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="RUN", help="the folder of a run")
    parser.add_argument("--model", required=True, metavar="M", help="the judge")
    parser.add_argument("--endpoint", metavar="URL", help="ask it there, by OpenAI's protocol")
    parser.add_argument(
        "--sample", type=int, default=50, metavar="N", help="this many examples (default: 50)"
    )
    add_settings(
        parser, "change the judge's spec, such as model.thinking=on or generator.timeout=20"
    )
    parser.add_argument("--json", action="store_true", help="print it as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ttsi._common import console
    from ttsi.cli.calibrate import reporter_of
    from ttsi.errors import UsageError
    from ttsi.results.runs import open_run
    from ttsi.running.judging import judge

    if args.sample < 1:
        raise UsageError("--sample takes 1 or more.", cure="--sample 50")
    reporter = reporter_of(args)
    try:
        found = judge(
            open_run(args.path),
            model=args.model,
            endpoint=args.endpoint,
            most=args.sample,
            overrides=settings(args.settings, example="--set model.thinking=on"),
            reporter=reporter,
        )
    finally:
        reporter.stop()
    if args.json:
        console.print_json(found.as_json())
    else:
        _show(found)
    return 3 if any(record.error for record in found.records) else 0


def _show(found: Judgement) -> None:
    from ttsi._common import console

    outcome: dict[str, Any] = found.as_json()
    low, high = (100 * end for end in outcome["accuracy_interval"])
    console.say(
        f"{found.judge} agrees with {outcome['correct']} of {outcome['samples']} labels: "
        f"{100 * outcome['accuracy']:.1f} % [{low:.1f}, {high:.1f}]"
    )
    reasons = sorted(outcome["reasons"].items(), key=lambda each: -each[1])
    if reasons:
        console.say("its answers differ by: " + ", ".join(f"{name} {n}" for name, n in reasons))
