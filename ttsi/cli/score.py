"""`ttsi score`: score existing predictions, without a model."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ttsi.cli import settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttsi.types import JSON, Score

EPILOG = """\
PREDICTIONS is a file of JSON lines, plain or packed by gzip, one for each sample:
  {"id": "sealtool/17", "text": "<tool_call>..."}                     what a model wrote
  {"id": "sealtool/18", "calls": [{"name": "f", "arguments": {}}]}    calls, parsed already
  {"id": "gsm8k/20", "answer": 72}                                    a value, read already
  {"id": "sealtool/19", "message": {"content": null, "tool_calls": [...]}}    OpenAI's message

`calls` is for benchmarks of calls; the others are for all. An answer that cannot be read is wrong
(unparsable), and the rest is scored: null for a text, or calls that are cut short. A line without
an id, or that is not JSON, is an error.

Every sample of the benchmark counts: one without a prediction is not correct. samples = correct +
wrong + missing, and the reasons add up to wrong.

examples:
  ttsi score predictions.jsonl --benchmark sealtool
  ttsi score predictions.jsonl --benchmark sealtool --subset --json
  ttsi score predictions.jsonl --benchmark toolalpaca --scorer-option ordered=true
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "score",
        help="score predictions that you already have, without a model",
        description="Score a file of predictions against a benchmark's references. No model is "
        "loaded and nothing in the file is executed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("predictions", metavar="PREDICTIONS", help="a file of JSON lines")
    parser.add_argument(
        "--benchmark", required=True, metavar="NAME", help="see `ttsi plugins benchmarks`"
    )
    parser.add_argument("--scorer", default="exact", metavar="NAME", help="default: exact")
    parser.add_argument(
        "--subset", action="store_true", help="count only the samples that the file has"
    )
    for flag, what in (
        ("--scorer-option", "of the scorer, such as ordered=true; goes before the benchmark's own"),
        ("--benchmark-option", "of the benchmark, such as limit=50"),
    ):
        parser.add_argument(
            flag, action="append", default=[], metavar="KEY=VALUE", help=f"an option {what}"
        )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ttsi import optional, registry
    from ttsi._common import console
    from ttsi.answers.tools import with_sound_tools
    from ttsi.errors import UsageError
    from ttsi.protocols import Benchmark, Scorer
    from ttsi.results.predictions import read_predictions, rescore

    kind: Any = registry.load("benchmarks", args.benchmark)
    benchmark: Benchmark = kind(**_options(args.benchmark_option, "benchmarks", args.benchmark))
    preset = registry.scoring_preset(args.benchmark, args.scorer)
    chosen: Any = registry.load("scorers", args.scorer)
    scorer: Scorer = chosen(**{**preset, **_options(args.scorer_option, "scorers", args.scorer)})
    samples = with_sound_tools(benchmark.samples())
    if any(sample.episode for sample in samples):
        what = f"Samples of {args.benchmark!r} are episodes, which one answer does not end."
        cure = "Run them by `ttsi eval`, which plays them."
        raise UsageError(what, where="--benchmark", cure=cure)
    tasks = {sample.id: sample.task for sample in samples}
    answers = read_predictions(Path(args.predictions), tasks)
    if args.subset:
        samples = [sample for sample in samples if sample.id in answers]
        if not samples:
            what = "There are no predictions to score."
            raise UsageError(what, where=args.predictions, cure="Leave --subset out.")
    results = {
        "benchmark": args.benchmark,
        "revision": benchmark.revision(),
        "scorer": optional.chosen(chosen, optional.Versioned, "version") or args.scorer,
        **tally(rescore(samples, answers, scorer)),
    }
    if args.json:
        console.print_json(results)
    else:
        _show(results)
    return 0


def tally(scores: Mapping[str, Score | None]) -> dict[str, JSON]:
    """Count scores by sample id, None for a missing prediction.

    samples = correct + wrong + missing, and wrong is the sum of the reasons.
    """
    from collections import Counter

    from ttsi.results.metrics import wilson

    missing = [id for id, score in scores.items() if score is None]
    given = [score for score in scores.values() if score is not None]
    correct = sum(score.correct for score in given)
    reasons = Counter(score.reason for score in given if score.reason is not None)
    return {
        "samples": len(scores),
        "correct": correct,
        "wrong": len(given) - correct,
        "missing": len(missing),
        "missing_ids": missing,
        "accuracy": correct / len(scores) if scores else None,
        "accuracy_interval": wilson(correct, len(scores)),
        "reasons": dict(sorted(reasons.items())),
    }


def _options(texts: list[str], kind: str, name: str) -> dict[str, JSON]:
    """Return KEY=VALUE texts as options, checked against the plugin's schema.

    Raises UsageError for a setting that the schema forbids, or a required option that is missing.
    """
    from jsonschema import Draft202012Validator

    from ttsi import registry
    from ttsi._common.suggest import did_you_mean
    from ttsi.errors import UsageError

    schema = registry.options_schema(kind, name)
    properties = schema.get("properties", {})
    options: dict[str, JSON] = settings(texts, example="ordered=true", what="The option")
    for key, value in options.items():
        if key not in properties:
            what = f'{name} has no option "{key}".'
            raise UsageError(what, cure=did_you_mean(key, properties, noun="options"))
        for error in Draft202012Validator(properties[key]).iter_errors(value):
            what = f'The option "{key}" of {name} is not allowed: {error.message}.'
            raise UsageError(what, cure=str(properties[key].get("description", "")))
    for key in schema.get("required", ()):
        if key not in options:
            what = f'{name} needs the option "{key}".'
            raise UsageError(what, cure=str(properties[key].get("description", "")))
    return options


def _show(results: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key in ("benchmark", "revision", "scorer", "samples", "correct", "wrong"):
        table.add_row(key, str(results[key]))
    for reason, count in results["reasons"].items():
        table.add_row(f"  {reason}", str(count))
    table.add_row("missing", str(results["missing"]))
    for id in results["missing_ids"][:5]:
        table.add_row("", id)
    if results["missing"] > 5:
        table.add_row("", f"and {results['missing'] - 5} more (--json lists them all)")
    low, high = results["accuracy_interval"] or (0.0, 1.0)
    accuracy = f"{100 * (results['accuracy'] or 0.0):.1f} %"
    table.add_row("accuracy", f"{accuracy} (95 % interval {100 * low:.1f} to {100 * high:.1f})")
    Console(highlight=False, markup=False).print(table)
