"""Run specs: cells, seeds, and their progress."""
