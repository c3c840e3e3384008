"""Are the tools on offer such that answers can be held to them?"""

from __future__ import annotations

from collections.abc import Iterable

from ttsi.types import Sample


def with_sound_tools(samples: Iterable[Sample]) -> list[Sample]:
    """The samples, once it is sure that all their tools' parameters can be used.

    Raises PluginError for the first that cannot.
    """
    checked = list(samples)
    for tool in {id(tool): tool for sample in checked for tool in sample.task.tools}.values():
        _ = tool.schema
    return checked
