"""A spec run to its end: cells, seeds, and how far they are."""
