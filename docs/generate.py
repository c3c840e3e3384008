"""Writes the generated parts of the documentation.

docs/cli.md       what the commands' own help prints
docs/export.md    the columns of `ttsi export`
docs/method.md    why answers are wrong, and why outputs of G are no examples
docs/results.md   tables between its markers, from docs/results/*/ (files that runs left)
README.md         tables between its markers, of the study and from perf/results/*.json
docs/performance.md   what stands between its markers, from perf/results/*.json
docs/signatures.md   what plugins implement and are given, from ttsi's source
docs/findings.md  tables between its markers, from the study's runs in leaderboards/
docs/paper.md     the table between its markers, from docs/results/
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import paper
import performance
import seeds
import signatures
import study
from markup import between, table
from stored import NOT_YET, OLD, RESULTS, Stored, accuracy, named, read

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
STAGES = ("estimate", "answer", "generate", "learn", "adapted")


def pages() -> dict[Path, str]:
    """Every generated page and what it should hold."""
    stored, old = stored_runs(RESULTS), stored_runs(OLD)
    bases = [run for run in stored if not _adapts(run)]
    runs = [run for run in stored if _adapts(run)]
    readme, results = ROOT / "README.md", DOCS / "results.md"
    measured, studied = performance.stored(), study.studies()
    told = study.methods_table(studied)
    speed = between((DOCS / "performance.md").read_text(), "accuracy", variants_table(old))
    for name, text in performance.sections(measured).items():
        speed = between(speed, name, text)
    claims = (DOCS / "paper.md").read_text()
    for name, text in paper.sections().items():
        claims = between(claims, name, text)
    results_text = results.read_text()
    for name, text in (
        ("study", told),
        ("accuracy", accuracy_table(runs)),
        ("estimator", estimator_table(runs)),
        ("seconds", seconds_table(runs)),
        ("asked", asked_table(bases)),
        ("accuracy-0.1.0", accuracy_table(old)),
        ("estimator-0.1.0", estimator_table(old)),
        ("seconds-0.1.0", seconds_table(old)),
        ("seeds", seeds.seeds_table()),
    ):
        results_text = between(results_text, name, text)
    method = (DOCS / "method.md").read_text()
    for name, text in (("reasons", reasons_table()), ("rejected", rejected_table())):
        method = between(method, name, text)
    return {
        DOCS / "cli.md": command_reference(),
        DOCS / "method.md": method,
        DOCS / "export.md": between((DOCS / "export.md").read_text(), "columns", columns_table()),
        study.PAGE: study.page(studied),
        signatures.PAGE: signatures.page(),
        DOCS / "paper.md": claims,
        DOCS / "performance.md": speed,
        readme: between(
            between(readme.read_text(), "study", told),
            "speed",
            performance.headline(measured),
        ),
        results: results_text,
    }


def reasons_table() -> str:
    """Why answers are wrong, in the words of reports."""
    from ttsi.answers.reasons import MEANINGS

    return table(["reason", "means"], [[f"`{name}`", told] for name, told in MEANINGS.items()])


def rejected_table() -> str:
    """Why outputs of G are no examples, in the words of records."""
    from ttsi_plugins.generators._contract import WHY

    return table(
        ["reason", "what is wrong with the output"],
        [[f"`{name}`", told] for name, told in WHY.items()],
    )


def columns_table() -> str:
    """The columns of `ttsi export`, in their order."""
    from ttsi.results.table import COLUMNS

    rows = [[f"`{each.name}`", each.kind, each.unit, each.help] for each in COLUMNS]
    return table(["column", "kind", "unit", "is"], rows)


def command_reference() -> str:
    """docs/cli.md: what `ttsi --help` and `ttsi VERB --help` print."""
    from ttsi.cli.main import VERBS

    parts = [
        "# The command line",
        "What `ttsi --help` and `ttsi VERB --help` print. This page is generated: `make docs`.",
    ]
    boards = [f"leaderboard {action}" for action in ("submit", "verify", "render")]
    for verb in ("", *VERBS, *boards):
        title = f"ttsi {verb}".strip()
        parts.append(f"## {title}\n\n```text\n{_help(verb)}\n```")
    return "\n\n".join(parts) + "\n"


def stored_runs(where: Path) -> list[Stored]:
    """Each run of one seed in a folder, by name."""
    return [read(each.parent) for each in sorted(where.glob("*/results.json"))]


def accuracy_table(runs: list[Stored]) -> str:
    rows = []
    for (results, spec), method in zip(runs, distinct_methods(runs), strict=True):
        change = results["change"]
        rows.append(
            [
                _model(spec),
                f"`{results['benchmark']}`",
                method,
                str(results["samples"]),
                accuracy(results["base"]),
                accuracy(results) if results["adapted"] else "–",
                f"{change['fixed']} / {change['broken']}" if results["adapted"] else "–",
                f"{change['mcnemar_p']:.2g}" if results["adapted"] else "–",
            ]
        )
    head = [
        "model",
        "benchmark",
        "method",
        "samples",
        "base model",
        "adapted",
        "fixed / broken",
        "p",
    ]
    return table(head, rows) if rows else NOT_YET


def distinct_methods(runs: list[Stored]) -> list[str]:
    """The method of each run; of runs that would be told by the same words, what differs too."""
    told = [_told(run) for run in runs]
    alike = [[each for each in runs if _told(each) == own] for own in told]
    return [
        method + _differing(spec, [other for _, other in some])
        for (_, spec), (*_, method), some in zip(runs, told, alike, strict=True)
    ]


def _told(run: Stored) -> tuple[str, str, str]:
    results, spec = run
    return _model(spec), results["benchmark"], _method(spec)


_SHAPES = ("benchmark", "estimator", "generator", "learner", "inference")


def _differing(spec: dict[str, Any], others: list[dict[str, Any]]) -> str:
    """The options in which a spec is not as others; its limit is in another column."""
    from ttsi.results.differences import differing

    settings = differing([{part: each[part] for part in _SHAPES} for each in others])
    at = others.index(spec)
    varying = {key: values[at] for key, values in settings.items() if key != "benchmark.limit"}
    told = [f"`{k}` {'unset' if v is None else json.dumps(v)}" for k, v in varying.items()]
    return f"; {', '.join(told)}" if told else ""


def asked_table(runs: list[Stored]) -> str:
    """Runs of a base model alone, by who writes the tools into its prompt."""
    rows = []
    for results, spec in runs:
        answers = results["stages"]["by_stage"]["answer"]
        reasons = sorted(results["reasons"].items(), key=lambda each: -each[1])
        rows.append(
            [
                _model(spec),
                results["engines"][0]["dtype"],
                f"`{spec['benchmark']['prompt']}`",
                str(results["samples"]),
                accuracy(results["base"]),
                ", ".join(f"{name} {count}" for name, count in reasons),
                f"{answers['prompt_tokens'] / results['samples']:.0f}",
                f"{answers['completion_tokens'] / results['samples']:.0f}",
            ]
        )
    head = ["model", "dtype", "prompt", "samples", "right", "why wrong"]
    return table([*head, "tokens of a prompt", "of an answer"], rows) if rows else NOT_YET


def variants_table(runs: list[Stored]) -> str:
    """The runs that answer the same 100 samples of Seal-Tools with and without activation."""
    rows = []
    first_seeds = [next(iter(each.values())) for each in seeds.stored().values()]
    for results, spec in [*runs, *first_seeds]:
        if (results["benchmark"], results["samples"]) != ("sealtool", 100):
            continue
        if paper.method_of(spec) != "TT-SI":
            continue
        change = results["change"]
        rows.append(
            [
                _active_from(spec),
                spec["generator"]["prompt"],
                accuracy(results["base"]),
                accuracy(results),
                f"{change['fixed']} / {change['broken']}",
                f"{change['mcnemar_p']:.2g}",
                f"{results['uncertain']}, {results['adapted']}",
            ]
        )
    head = ["adapter active from", "G's prompt", "base model", "TT-SI", "fixed / broken", "p"]
    return table([*head, "uncertain, adapted"], rows) if rows else NOT_YET


def estimator_table(runs: list[Stored]) -> str:
    rows = []
    for results, spec in filter(_adapts, runs):
        quality = results["estimator"]
        rows.append(
            [
                _model(spec),
                f"`{results['benchmark']}`",
                spec["estimator"]["name"],
                str(spec["estimator"]["threshold"]),
                f"{results['uncertain']} of {results['samples']}",
                str(results["adapted"]),
                *(_rate(quality[key]) for key in ("tpr", "fpr", "j", "auroc")),
            ]
        )
    head = ["model", "benchmark", "estimator", "threshold", "uncertain", "adapted"]
    return table([*head, "TPR", "FPR", "J", "AUROC"], rows) if rows else NOT_YET


def seconds_table(runs: list[Stored]) -> str:
    rows = []
    for results, spec in filter(_adapts, runs):
        stages = results["stages"]["by_stage"]
        each = results["stages"]["seconds_per_uncertain_sample"]
        cells = [f"{stages[s]['seconds_per_sample']:.1f}" if s in stages else "–" for s in STAGES]
        whole = f"{each:.1f}" if each else "–"
        rows.append([_model(spec), f"`{results['benchmark']}`", *cells, whole])
    head = ["model", "benchmark", "H", "answer", "G", "T", "adapted answer", "G + T + answer"]
    return table(head, rows) if rows else NOT_YET


def _adapts(run: Stored) -> bool:
    """Whether the run is not of a base model alone."""
    _, spec = run
    return bool(spec["estimator"]["name"] != "never")


def _model(spec: dict[str, Any]) -> str:
    return named(spec["model"]["id"])


def _method(spec: dict[str, Any]) -> str:
    return (paper.method_of(spec) or "base model alone") + paper.settings_of(spec)


def _active_from(spec: dict[str, Any]) -> str:
    """Runs from before there was a choice are the paper's."""
    return str(spec["learner"].get("active_from", "start")).replace("_", " ")


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _help(verb: str) -> str:
    words = [*verb.split(), "--help"]
    done = subprocess.run(
        [sys.executable, "-m", "ttsi", *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "96", "NO_COLOR": "1"},
    )
    return done.stdout.rstrip()


def main() -> None:
    for page, text in pages().items():
        page.write_text(text)
        print(f"{page.relative_to(ROOT)} written")


if __name__ == "__main__":
    main()
