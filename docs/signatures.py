"""docs/signatures.md: what plugins implement, are given and may call, from the source of `ttsi`.

The source is read as text, so that the page shows annotations as they are written. Only names that
`ttsi` exports are shown.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import ttsi

ROOT = Path(__file__).resolve().parent.parent / "ttsi"
PAGE = Path(__file__).resolve().parent / "signatures.md"
SECTIONS = {
    "What a plugin has": ("protocols.py",),
    "What a plugin may have": ("optional.py",),
    "Tasks, answers, results": ("types.py", "answers/calls/values.py"),
    "What stages and engines exchange": ("exchange.py", "settings.py"),
    "Functions": (
        "options.py",
        "digests.py",
        "answers/__init__.py",
        "answers/completions.py",
        "answers/objects.py",
        "answers/calls/parse.py",
        "answers/calls/match.py",
        "answers/calls/validation.py",
        "solving/metering.py",
        "solving/rejecting.py",
        "assets.py",
    ),
    "Errors": ("errors.py",),
}

HEAD = """\
# Signatures

The methods and attributes of each kind of plugin, the types in them, and the functions that plugins
call, as `ttsi` declares them. All names that have a heading or stand in a block come from `ttsi`
itself: `from ttsi import Task, Estimate`. [plugins.md](plugins.md) says how they are used;
[testing.md](testing.md) has the contract of each kind.
"""


def page() -> str:
    """Return docs/signatures.md as it should be."""
    lines = [HEAD]
    for title, files in SECTIONS.items():
        modules = [ast.parse((ROOT / name).read_text()) for name in files]
        nodes = [node for module in modules for node in module.body]
        lines += [f"## {title}\n", *_section([n for n in nodes if _name(n) in ttsi.__all__])]
    return "\n".join(lines)


def _name(node: ast.stmt) -> str:
    """Return what a statement defines, or ""."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return node.name
    if isinstance(node, ast.AnnAssign | ast.Assign):
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        return ast.unparse(target)
    return ""


def _section(nodes: list[ast.stmt]) -> Iterator[str]:
    """Yield aliases and constants in one block, then each class, then each function."""
    aliases = [ast.unparse(n) for n in nodes if isinstance(n, ast.AnnAssign | ast.Assign)]
    if aliases:
        yield _block(aliases)
    for kind in (ast.ClassDef, ast.FunctionDef):
        for node in nodes:
            if isinstance(node, kind):
                yield f"### {node.name}\n"
                yield from _class(node) if isinstance(node, ast.ClassDef) else _function(node)


def _class(node: ast.ClassDef) -> Iterator[str]:
    yield from _docstring(node)
    members = list(_members(node))
    if members:
        yield _block(members)


def _function(node: ast.FunctionDef) -> Iterator[str]:
    yield _block([_signature(node)])
    yield from _docstring(node)


def _docstring(node: ast.ClassDef | ast.FunctionDef) -> Iterator[str]:
    told = ast.get_docstring(node)
    if told:
        yield f"{told}\n"


def _block(lines: list[str]) -> str:
    return "```text\n" + "\n".join(lines) + "\n```\n"


def _members(node: ast.ClassDef) -> Iterator[str]:
    """Yield the class's public attributes and methods, without their bodies."""
    for each in node.body:
        if isinstance(each, ast.AnnAssign | ast.Assign):
            yield ast.unparse(each)
        elif isinstance(each, ast.FunctionDef) and _is_public(each.name):
            yield from _method(each)


def _is_public(name: str) -> bool:
    return name == "__call__" or not name.startswith("_")


def _method(node: ast.FunctionDef) -> Iterator[str]:
    told = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
    said = f"  # {told}" if told else ""
    decorators = {ast.unparse(each) for each in node.decorator_list}
    if decorators & {"property", "cached_property"}:
        yield f"{node.name}: {ast.unparse(node.returns) if node.returns else ''}{said}"
    else:
        yield _signature(node) + said


def _signature(node: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"def {node.name}({ast.unparse(node.args)}){returns}"
