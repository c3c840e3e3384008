"""Markdown by program: tables, and text between markers."""

from __future__ import annotations

import re


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def between(text: str, name: str, inside: str) -> str:
    """`text` with what stands between the markers of `name` replaced."""
    opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
    pattern = re.compile(re.escape(opening) + r".*?" + re.escape(closing), re.DOTALL)
    replaced, count = pattern.subn(lambda _: f"{opening}\n{inside}\n{closing}", text)
    if count != 1:
        raise SystemExit(f"the markers {opening} ... {closing} stand {count} times, not once")
    return replaced
