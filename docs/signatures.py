"""docs/signatures.md: what plugins implement and are given, from the source of `ttsi` itself.

The source is read as text, so that the page shows annotations as they are written.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "ttsi"
PAGE = Path(__file__).resolve().parent / "signatures.md"
SECTIONS = {
    "protocols.py": "What a plugin has",
    "optional.py": "What a plugin may have",
    "types.py": "What it is given and returns",
}

HEAD = """\
# Signatures

The methods and attributes of each kind of plugin, and the types in them, as `ttsi` declares them.
All of these names come from `ttsi` itself: `from ttsi import Task, Estimate`.
[plugins.md](plugins.md) says how they are used; [testing.md](testing.md) has the contract of each
kind.
"""


def page() -> str:
    """Return docs/signatures.md as it should be."""
    lines = [HEAD]
    for name, title in SECTIONS.items():
        lines += [f"## {title}\n", *_classes(ast.parse((ROOT / name).read_text()))]
    return "\n".join(lines)


def _classes(module: ast.Module) -> Iterator[str]:
    for node in module.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield f"### {node.name}\n"
            told = ast.get_docstring(node)
            if told:
                yield f"{told}\n"
            body = "\n".join(_members(node))
            if body:
                yield f"```text\n{body}\n```\n"


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
    if any(isinstance(each, ast.Name) and each.id == "property" for each in node.decorator_list):
        yield f"{node.name}: {ast.unparse(node.returns) if node.returns else ''}" + _comment(told)
        return
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    yield f"def {node.name}({ast.unparse(node.args)}){returns}" + _comment(told)


def _comment(told: str) -> str:
    return f"  # {told}" if told else ""
