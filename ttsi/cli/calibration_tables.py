"""What `ttsi calibrate` prints for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def show_estimators(found: dict[str, Any], console: Console) -> None:
    """Print the estimators as a table, and below what selection lacks."""
    from rich.table import Table

    seeds = ", ".join(map(str, found["seeds"]))
    title = f"{found['model']} on {found['benchmark']}, {found['samples']} samples, seed {seeds}"
    console.print(title, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("estimator", overflow="fold")
    for column in ("AUROC", "PRR", "ECE", "J", "threshold", "s", "selection"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in found["rows"]:
        table.add_row(
            row["label"],
            *(_rate(row[key]) for key in ("auroc", "prr", "ece", "j")),
            "–" if row["threshold"] is None else str(row["threshold"]),
            "–" if row["seconds"] is None else f"{row['seconds']:.3f}",
            _percent(row["selection"]),
        )
    console.print(table)
    share = f"{100 * found['share']:g} %"
    console.print(
        f"J at the threshold with the largest; s: of H for a sample; selection: accuracy if the "
        f"least confident {share} were adapted to",
        soft_wrap=True,
    )
    lacking = max(row["lacking"] for row in found["rows"])
    if lacking:
        console.print(
            f"selection lacks adapted answers (of up to {lacking} samples): add a run with the "
            "estimator always",
            soft_wrap=True,
        )
    errors = max(row["errors"] for row in found["rows"])
    if errors:
        console.print(f"up to {errors} samples have no estimate or base answer: not correct")


def show(found: dict[str, Any], console: Console) -> None:
    """Print the numbers over all seeds: the sweep as a table, and remarks and suggestions below."""
    from rich.table import Table

    numbers, seeds = found["all"], list(found["by_seed"])
    title = (
        f"{found['name']}: {found['estimator']['name']} of {found['model']} on "
        f"{found['benchmark']}, {numbers['samples']} samples"
    )
    if len(seeds) > 1:
        title += f" (seeds {', '.join(seeds)} together)"
    console.print(title, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("threshold", "uncertain", "TPR", "FPR", "J", "F1", "accuracy"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    marks = _marks(found)
    for row in numbers["sweep"]:
        table.add_row(
            str(row["threshold"]),
            _share(row["uncertain"], numbers["samples"]),
            *(_rate(row[key]) for key in ("tpr", "fpr", "j", "f1")),
            _percent(row["accuracy"]),
            ", ".join(marks.get(row["threshold"], [])),
        )
    console.print(table)
    for line in _remarks(numbers):
        console.print(line, soft_wrap=True)


def _marks(found: dict[str, Any]) -> dict[float, list[str]]:
    """Return the remarks beside each threshold in the table."""
    suggested = found["all"]["suggested"]
    marks: dict[float, list[str]] = {}
    for label, threshold in (
        ("this run", found["threshold"]),
        ("largest J", (suggested["by_j"] or {}).get("threshold")),
        ("most accurate", (suggested["by_accuracy"] or {}).get("threshold")),
        ("budget", (found["all"]["budget"] or {}).get("threshold")),
    ):
        if threshold is not None:
            marks.setdefault(float(threshold), []).append(label)
    return marks


def _remarks(numbers: dict[str, Any]) -> list[str]:
    samples, lines = numbers["samples"], []
    if numbers["errors"]:
        count = f"{numbers['errors']} sample{'s' if numbers['errors'] > 1 else ''}"
        lines.append(f"{count} ended in an error: not correct at any threshold")
    if numbers["labelled"]:
        risks = numbers["risk_at_coverage"]
        lines += [
            f"AUROC {_rate(numbers['auroc'])}; the base model is wrong on {numbers['wrong']}",
            f"risk at coverage {'/'.join(risks)} %: "
            + " / ".join(_percent(risk) for risk in risks.values()),
        ]
        lines += _suggestions(numbers)
    else:
        lines.append("not every base answer was made or scored, so no rate is known (--budget)")
    budget = numbers["budget"]
    if budget:
        lines.append(
            f"budget {budget['fraction']:g}: threshold {budget['threshold']} makes "
            f"{_share(budget['uncertain'], samples)} uncertain"
        )
    return lines


def _suggestions(numbers: dict[str, Any]) -> list[str]:
    by_j, by_accuracy = numbers["suggested"]["by_j"], numbers["suggested"]["by_accuracy"]
    lines = []
    if by_j is None:
        lines.append("suggested: none, as the base model is right on all, or wrong on all")
    elif by_j["j"] <= 0:
        lines.append("suggested: none; no threshold flags wrong answers more often than right ones")
    else:
        lines.append(
            f"suggested: threshold {by_j['threshold']} (J {by_j['j']:.2f}), "
            f"--set estimator.threshold={by_j['threshold']}"
        )
    if by_accuracy is not None:
        nothing = "" if by_accuracy["uncertain"] else ", adapting to none"
        lines.append(
            f"most accurate of those known: threshold {by_accuracy['threshold']} "
            f"({_percent(by_accuracy['accuracy'])}{nothing})"
        )
    return lines


def _share(count: int, samples: int) -> str:
    return f"{count} ({_percent(count / samples)})"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
