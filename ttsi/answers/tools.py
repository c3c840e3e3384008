"""Check that answers can be constrained to the tools on offer."""

from __future__ import annotations

from collections.abc import Iterable

from ttsi.types import Sample


def with_sound_tools(samples: Iterable[Sample]) -> list[Sample]:
    """Return the samples after checking that the parameters of all their tools can be used.

    Raises PluginError for the first tool whose parameters cannot.
    """
    checked = list(samples)
    for tool in {id(tool): tool for sample in checked for tool in sample.task.tools}.values():
        _ = tool.schema
    return checked
