"""Side-by-side measurements: this engine and a strong reference, on the same real tasks.

Run `python -m perf` for everything, or `python -m perf.estimate` and its like for one stage.
"""
