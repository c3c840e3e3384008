"""Names of models that mean the same everywhere."""

from __future__ import annotations

import re

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_FILES = (".gguf", ".safetensors")


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form ORG/NAME of a model on the Hub, and is not that of a file."""
    return _HUB_ID.fullmatch(name) is not None and not name.lower().endswith(_FILES)
