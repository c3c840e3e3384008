"""`ttsi validate SPEC...`: check specs, and print what they would run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ttsi._common import console
from ttsi.cli import add_settings, settings

if TYPE_CHECKING:
    from ttsi.spec import Spec


EPILOG = """\
examples:
  ttsi validate specs/*.json
  ttsi validate specs/quickstart.json --set estimator.threshold=0.5 --set learner=icl

A spec without a benchmark is one for `ttsi serve` and `ttsi.Solver`, and this says so.
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "validate",
        help="check specs and tell all their problems at once",
        description="Check specs and tell all their problems at once, loading no model and no "
        "data. Exit code: 0 all sound, 2 a spec has problems, 5 a plugin it names does not load.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("specs", nargs="+", metavar="SPEC", help="a spec file")
    add_settings(parser, "change any key of the specs, as `ttsi eval` does")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    changed = settings(args.settings, example="--set estimator.threshold=0.5")
    reports = [_report(path, changed) for path in args.specs]
    if args.json:
        for report in reports:
            del report["text"]
        console.print_json({"specs": reports})
    else:
        for report in reports:
            if not (report["ok"] and args.quiet):
                console.say(report["text"])
    codes = {report["exit_code"] for report in reports}
    return next((code for code in (2, 5) if code in codes), max(codes))


def _report(path: str, changed: dict[str, Any]) -> dict[str, Any]:
    from ttsi._common.inputs import shown
    from ttsi.errors import SpecError, TtsiError

    report: dict[str, Any] = {"path": path, "ok": True, "exit_code": 0, "problems": []}
    try:
        specs = _load(path, changed)
        _check_together(specs)
    except TtsiError as error:
        problems = getattr(error, "problems", None) if isinstance(error, SpecError) else None
        report["problems"] = [
            {"pointer": p.pointer, "message": p.message, "cure": p.cure} for p in problems or []
        ] or [{"pointer": "", "message": error.what, "cure": error.cure}]
        report |= {
            "ok": False,
            "exit_code": error.exit_code,
            "text": f"FAULTY  {shown(path)}\n{error}",
        }
        return report
    report |= {"name": specs[0].name, "seeds": list(specs[0].seeds)}
    report["cells"] = [{"values": dict(spec.cell), "digest": spec.digest} for spec in specs]
    return report | {"text": _summary(path, specs)}


def _load(path: str, changed: dict[str, Any]) -> list[Spec]:
    """Return the cells of a spec, which may lack a benchmark only where it can be served so."""
    from pathlib import Path

    from ttsi.spec import NO_BENCHMARK, load_spec

    specs = load_spec(Path(path), changed, benchmark=False)
    servable = len(specs) == 1 and specs[0].budget is None
    if servable or all(spec.benchmark != NO_BENCHMARK for spec in specs):
        return specs
    return load_spec(Path(path), changed)


def _check_together(specs: list[Spec]) -> None:
    """Raise the error of the only cell with one, or SpecError with the problems of all cells."""
    from ttsi.errors import MissingAsset, SpecError, UsageError
    from ttsi.solving import assemble

    faults: dict[str, SpecError | UsageError] = {}
    for spec in specs:
        try:
            assemble.check(spec)
        except (SpecError, UsageError) as error:
            faults.setdefault(str(error), error)
        except MissingAsset:
            # That this machine lacks a key or a package is no fault of the spec.
            continue
    if len(faults) > 1:
        every = [each for fault in faults.values() for each in assemble.problems("", fault)]
        raise SpecError(list(dict.fromkeys(every)))
    for fault in faults.values():
        raise fault


def _summary(path: str, specs: list[Spec]) -> str:
    from ttsi.spec import NO_BENCHMARK
    from ttsi.spec.schema import COMPONENTS

    first = specs[0]
    cells = f"{len(specs)} cells x " if len(specs) > 1 else ""
    seeds = f"{len(first.seeds)} seed{'s' if len(first.seeds) > 1 else ''}"
    lines = [f"OK  {path}: {first.name}, {cells}{seeds}", f"  model      {first.model['id']}"]
    for key in COMPONENTS:
        component = getattr(first, key)
        if component == NO_BENCHMARK:
            lines.append(f"  {key:<10} none: a spec to serve; `ttsi eval` would need one")
            continue
        options = ", ".join(f"{k}={v!r}" for k, v in component.options.items())
        lines.append(f"  {key:<10} {component.name}" + (f"  {options}" if options else ""))
    if len(specs) > 1:
        lines.append(f"  matrix     {', '.join(first.cell)} (the first cell is shown)")
    return "\n".join(lines)
