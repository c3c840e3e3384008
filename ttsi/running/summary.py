"""Results as a table for people."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ttsi.running.advice import advice, cut_advice
from ttsi.running.cell_result import CellResult
from ttsi.running.progress import stage_name

if TYPE_CHECKING:
    from rich.console import Console


def show(cell: CellResult, console: Console) -> None:
    """Print accuracy before and after, flips, uncertainty, seconds per stage, and the files."""
    from rich.table import Table

    for seed, results in cell.seeds.items():
        title = f"{cell.spec.name}, seed {seed}"
        table = Table(title=title, title_justify="left", show_header=False)
        table.add_column(style="bold")
        table.add_column()
        for label, value in _rows(results):
            table.add_row(label, value)
        console.print(table)
        cut = cut_advice(cell.spec, results, cell.folder / f"seed-{seed}")
        for line in (*_remarks(results), *advice(cell.spec, results), *cut):
            console.print(line, soft_wrap=True, highlight=False)
    if len(cell.summary["seeds"]) > 1:
        console.print(_over_seeds(cell.summary))
    _tell_unfinished(cell, console)
    names = "samples.jsonl predictions.jsonl results.json manifest.json"
    for seed in cell.seeds:
        folder = cell.folder / f"seed-{seed}"
        console.print(f"{folder}/  {names}", soft_wrap=True, highlight=False)
    shown = f"ttsi report {shlex.quote(str(cell.folder))}"
    console.print(f"{shown}  writes a page with every sample", soft_wrap=True, highlight=False)


def engine_remarks(engine: Mapping[str, Any]) -> list[str]:
    """Return how the engine runs the model and its prompts, where that is not the ordinary way."""
    remarks = []
    if engine.get("mode") == "native":
        remarks.append(
            "The model ran in native mode, by transformers' own passes, without shared prefixes: "
            f"{engine.get('why_native')}"
        )
    if engine.get("not_adapted"):
        remarks.append(f"No adapter acts on {', '.join(engine['not_adapted'])}.")
    if engine.get("system_turn") == "folded":
        remarks.append(
            "The model's chat template has no system turn: the instruction stands in the user's."
        )
    if engine.get("content") == "parts":
        remarks.append("The model's chat template takes contents as parts, and was given them so.")
    return remarks


def _remarks(results: Mapping[str, Any]) -> list[str]:
    """Return the remarks of all engines, each once."""
    said = [remark for engine in results["engines"] for remark in engine_remarks(engine)]
    return list(dict.fromkeys(said))


def show_grid(cells: Sequence[CellResult], console: Console) -> None:
    """Print the cells of a matrix, one line each: accuracy over the seeds, change, cost."""
    from rich.table import Table

    table = Table(title=f"{cells[0].spec.name}, {len(cells)} cells", title_justify="left")
    table.add_column("cell")
    for head in ("samples", "base", "final", "change", "uncertain", "adapted", "errors", "seconds"):
        table.add_column(head, justify="right")
    for cell in cells:
        summary = cell.summary
        values = ", ".join(f"{_last(place)} {value}" for place, value in cell.spec.cell.items())
        table.add_row(
            values,
            str(cell.samples),
            _spread(summary.get("base_accuracy")),
            _spread(summary["accuracy"]),
            _spread(summary.get("difference"), sign="+"),
            *(str(summary[key]) for key in ("uncertain", "adapted", "errors")),
            f"{summary['seconds']:.0f}",
        )
    console.print(table)
    console.print("Accuracies in %, mean ± sd over the seeds; the folders' results.json have more.")
    for cell in cells:
        console.print(f"{cell.folder}/", soft_wrap=True, highlight=False)
        _tell_unfinished(cell, console)


def _tell_unfinished(cell: CellResult, console: Console) -> None:
    """Print which seeds of other commands are unfinished, and so not in any number here."""
    if cell.summary["unfinished"]:
        seeds = ", ".join(map(str, cell.summary["unfinished"]))
        console.print(f"Not finished, and so in none of these numbers: seed {seeds}")


def _last(place: str) -> str:
    return place.rsplit("/", 1)[-1]


def _spread(spread: Mapping[str, Any] | None, sign: str = "") -> str:
    if spread is None or spread["mean"] is None:
        return "–"
    sd = "" if spread["sd"] is None else f" ± {100 * spread['sd']:.1f}"
    return f"{100 * spread['mean']:{sign}.1f}{sd}"


def _rows(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    base, change = results["base"], results["change"]
    if base is not None:
        rows.append(("base model", _accuracy(base)))
    rows.append(("with adaptation" if base is not None else "accuracy", _accuracy(results)))
    if base is not None and change is not None:
        rows.append(
            (
                "change",
                f"{change['accuracy_points']:+.1f} points: {change['fixed']} fixed, "
                f"{change['broken']} broken (McNemar's exact p = {change['mcnemar_p']:.2g})",
            )
        )
    rows.append(("uncertain", _uncertain(results, results["samples"])))
    if "steps" in results:
        steps = results["steps"]
        said = f"{steps['steps']}; uncertain {_uncertain(steps, steps['estimated'])}"
        rows.append(("steps", said))
    if results.get("rejected"):
        rows.append(("rejected", _counted(results["rejected"])))
    if results.get("synthetic"):  # results of older versions have none
        rows.append(("examples", _examples(results["synthetic"])))
    quality = results["estimator"]
    if quality is not None:
        figures = [("TPR", "tpr"), ("FPR", "fpr"), ("J", "j"), ("AUROC", "auroc")]
        found = [f"{n} {quality[k]:.2f}" for n, k in figures if quality[k] is not None]
        rows.append(("estimator", ", ".join(found) or "nothing to tell apart"))
    if results["reasons"]:
        rows.append(("why wrong", _counted(results["reasons"])))
    rows += _seconds(results["stages"])
    return rows


def _uncertain(counts: Mapping[str, Any], of: int) -> str:
    said = f"{counts['uncertain']} of {of}, {counts['adapted']} adapted"
    lacking = counts["not_generated"]
    return said + (f", {lacking} without a valid example" if lacking else "")


def _counted(counts: Mapping[str, int]) -> str:
    """Return counts by name in short, the largest first."""
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count}" for name, count in ranked)


def _examples(found: Mapping[str, Any]) -> str:
    """Return the quality of the synthetic examples in short."""
    first = found["attempts"].get("1", 0) / found["examples"]
    said = [f"{found['examples']} for {found['tasks']}, {100 * first:.0f} % at the first attempt"]
    distance, loss = found["distance"], found["loss"]
    if distance is not None:
        said.append(f"{distance['copies'] + distance['near_copies']} near-copies of the request")
    said += [f"{name} {each['mean']:.2f}" for name, each in found["evidence"].items()]
    if loss is not None:
        said.append(f"loss {loss['first']:.2f} to {loss['last']:.2f}")
    return ", ".join(said)


def _accuracy(outcome: Mapping[str, Any]) -> str:
    low, high = outcome["accuracy_interval"]
    errors = f", {outcome['errors']} errors" if outcome["errors"] else ""
    turns = f"; of the turns {100 * outcome['credit']:.1f} %" if "credit" in outcome else ""
    return (
        f"{100 * outcome['accuracy']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]  "
        f"({outcome['correct']} of {outcome['samples']}{errors}){turns}"
    )


def _seconds(stages: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for stage, sums in stages["by_stage"].items():
        rows.append(
            (
                stage_name(stage),
                f"{sums['seconds']:.1f} s for {sums['samples']} samples, "
                f"{sums['seconds_per_sample']:.2f} s each",
            )
        )
    each = stages["seconds_per_uncertain_sample"]
    if each is not None:
        rows.append(("adapting", f"{each:.2f} s for each uncertain sample (G, T and answer)"))
    return rows


def _over_seeds(summary: Mapping[str, Any]) -> str:
    lines = [f"Over {len(summary['seeds'])} seeds, mean ± sd [95 % t-interval]:"]
    for key, label in (
        ("base_accuracy", "base model"),
        ("accuracy", "with adaptation"),
        ("difference", "difference"),
    ):
        spread = summary[key]
        if spread is not None:
            low, high = spread["interval"]
            lines.append(
                f"  {label}: {100 * spread['mean']:.1f} ± {100 * spread['sd']:.1f} % "
                f"[{100 * low:.1f}, {100 * high:.1f}]"
            )
    return "\n".join(lines)
