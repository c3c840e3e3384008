"""Python's search for cycles of objects that nobody holds any more."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def long_lived() -> Iterator[None]:
    """Leave all objects that there are after this context out of the search for cycles.

    It is for samples and records, of which there may be 100,000: the search walks over all of them
    again and again, and finds nothing. `collect` searches among all objects.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def collect() -> None:
    """Free all cycles that nobody holds, those of `long_lived` objects too; the rest stays apart.

    It takes a second where there are 100,000 records, and is for what holds a model.
    """
    apart = gc.get_freeze_count() > 0
    gc.unfreeze()
    gc.collect()
    if apart:
        gc.freeze()
